package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"tenement.dev/internal/api/apitest"
	"tenement.dev/internal/tenant"
)

// leakTest is m, and fails where goroutines are left at the end.
type leakTest struct{ m *testing.M }

func (l leakTest) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestMain makes this binary the program ten for the scripts.
func TestMain(m *testing.M) {
	testscript.Main(leakTest{m}, map[string]func(){"ten": main})
}

// daemonKey is the key of a script's daemon.
type daemonKey struct{}

// TestScripts runs testdata/script against the real API. The commands that they have
// beside testscript's own:
//
//	daemon                      start a daemon at $SOCKET
//	stop-daemon                 stop it
//	put ID STATE [REASON]       have an instance in a state
//	because ID                  have it held by requests, a lease and the CPU
//	print ID TEXT               have an instance print a line, \n and such unescaped
//	tell ID KIND TEXT           have something happen to an instance
//	exits CODE PROGRAM ARG...   run a program that must exit with a code
//	take NAME EXPRESSION        set a variable to what the expression has found in stdout
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("SOCKET", filepath.Join(env.WorkDir, "api.sock"))
			env.Setenv("TENEMENT_SERVER", filepath.Join(env.WorkDir, "api.sock"))
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // or each program takes a second more
			env.Values[daemonKey{}] = new(*apitest.Daemon)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"daemon": func(ts *testscript.TestScript, _ bool, _ []string) {
				d, err := apitest.Run(ts.Getenv("SOCKET"))
				ts.Check(err)
				ts.Setenv("API", "http://"+d.TCP)
				ts.Defer(func() { ts.Check(d.Stop()) })
				*scriptDaemonPlace(ts) = d
			},
			"stop-daemon": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(scriptDaemon(ts).Stop()) },
			"put": func(ts *testscript.TestScript, _ bool, args []string) {
				now := time.Now()
				s := tenant.Snapshot{Created: now, Since: now.Add(-3*time.Minute - time.Second)}
				ts.Check(s.ID.UnmarshalText([]byte(args[0])))
				ts.Check(s.State.UnmarshalText([]byte(args[1])))
				if len(args) > 2 {
					s.Reason = unescape(ts, args[2])
				}
				if s.State == tenant.Awake {
					s.Port, s.Wakes, s.LastActive = 30001, 7, now.Add(-2*time.Hour-time.Second)
				}
				scriptDaemon(ts).Instances.Put(s)
			},
			"many": func(ts *testscript.TestScript, _ bool, args []string) {
				n, err := strconv.Atoi(args[1])
				ts.Check(err)
				for i := range n {
					scriptDaemon(ts).Instances.Put(tenant.Snapshot{ID: tenant.ID{Service: args[0], Name: fmt.Sprintf("n%d", i)}, State: tenant.Asleep})
				}
			},
			"because": func(ts *testscript.TestScript, _ bool, args []string) {
				now := time.Now()
				w := tenant.Why{
					Holds: []tenant.Hold{
						{Kind: tenant.HoldRequests, Count: 2},
						{Kind: tenant.HoldLease, Holder: tenant.HolderApp, Until: now.Add(time.Hour)},
						{Kind: tenant.HoldCPU, Cores: 0.42, Until: now.Add(time.Minute)},
					},
					DozeAt: now.Add(time.Hour), SleepAt: now.Add(2 * time.Hour),
					WokenBy: tenant.CauseRequest("GET"), WokenAt: now.Add(-time.Hour),
					ScheduledAt: now.Add(time.Hour), Entry: "hourly",
				}
				ts.Check(w.ID.UnmarshalText([]byte(args[0])))
				scriptDaemon(ts).Instances.PutWhy(w)
			},
			"print": func(ts *testscript.TestScript, _ bool, args []string) {
				var id tenant.ID
				ts.Check(id.UnmarshalText([]byte(args[0])))
				scriptDaemon(ts).Logs.Add("tenement-"+id.Service+"@"+id.Name+".service", unescape(ts, args[1]), false)
			},
			"tell": func(ts *testscript.TestScript, _ bool, args []string) {
				var id tenant.ID
				ts.Check(id.UnmarshalText([]byte(args[0])))
				scriptDaemon(ts).Logs.Tell(id, args[1], args[2])
			},
			"take": func(ts *testscript.TestScript, _ bool, args []string) {
				found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
				if len(found) < 2 {
					ts.Fatalf("no %s in stdout", args[1])
				}
				ts.Setenv(args[0], found[1])
			},
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				got := 0
				var exit *exec.ExitError
				if errors.As(err, &exit) {
					got = exit.ExitCode()
				} else {
					ts.Check(err)
				}
				if strconv.Itoa(got) != args[0] {
					ts.Fatalf("exit code %d, want %s", got, args[0])
				}
			},
		},
	})
}

func scriptDaemon(ts *testscript.TestScript) *apitest.Daemon {
	d := *scriptDaemonPlace(ts)
	if d == nil {
		ts.Fatalf("no daemon yet")
	}
	return d
}

func scriptDaemonPlace(ts *testscript.TestScript) **apitest.Daemon {
	place, ok := ts.Value(daemonKey{}).(**apitest.Daemon)
	if !ok {
		ts.Fatalf("Setup did not run")
	}
	return place
}

func unescape(ts *testscript.TestScript, s string) string {
	text, err := strconv.Unquote(`"` + s + `"`)
	ts.Check(err)
	return text
}

// result is what a run of the program in this process gave.
type result struct {
	code     int
	out, err string
}

// runIn runs the program in a world of the test's own.
func runIn(t *testing.T, change func(*world), args ...string) result {
	t.Helper()
	var out, errs strings.Builder
	w := world{
		in: strings.NewReader(""), out: &out, err: &errs,
		getenv: func(string) string { return "" }, euid: 0, now: time.Now, run: t.TempDir(),
	}
	if change != nil {
		change(&w)
	}
	code := run(t.Context(), args, w)
	return result{code, out.String(), errs.String()}
}
