package integration

import (
	"fmt"
	"net/url"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// What an instance prints is in systemd's journal and in `ten logs`, by level, text and
// time, over restarts of the daemon, whatever it is; and nobody else's is.
func TestLogs(t *testing.T) {
	for _, rootless := range []bool{false, true} {
		t.Run(fmt.Sprintf("rootless=%v", rootless), func(t *testing.T) {
			s := harness.Start(t, harness.Options{Config: app, Rootless: rootless})
			s.Spawn("app:alice", "app:bob")
			print := func(id, out, err string) {
				t.Helper()
				s.Text(id, "/log?out="+url.QueryEscape(out)+"&err="+url.QueryEscape(err))
			}
			logs := func(args ...string) string {
				t.Helper()
				r := s.Ten(append([]string{"logs"}, args...)...)
				if r.Code != 0 {
					t.Errorf("logs %q: %s", args, r)
				}
				return r.Stdout
			}
			sees := func(want string, args ...string) {
				t.Helper()
				eventually(t, fmt.Sprintf("ten logs %q shows %q", args, want), func() bool { return strings.Contains(logs(args...), want) })
			}
			print("app:alice", "to-stdout", "<3>Payment FAILED")
			print("app:bob", "of-bob", "payment of bob")
			sees("to-stdout", "app:alice")
			sees("Payment FAILED", "app:alice")
			sees("payment of bob", "app:bob")
			got := logs("app:alice")
			if strings.Contains(got, "bob") {
				t.Errorf("alice's logs have bob's line:\n%s", got)
			}
			if strings.Contains(got, "not our child") {
				t.Errorf("the logs have what systemd 257 says of each start with PrivatePIDs=:\n%s", got)
			}
			unit := []string{"--unit"}
			if rootless {
				unit = []string{"--user-unit"}
			}
			for _, want := range []string{"to-stdout", "Payment FAILED"} {
				out, err := s.Command(append(append([]string{"journalctl"}, unit...), "tenement-app@alice")...).Output()
				if err != nil || !strings.Contains(string(out), want) {
					t.Errorf("journalctl: %v, without %q:\n%s", err, want, out)
				}
			}
			middle := time.Now().Add(time.Millisecond).UTC().Format(time.RFC3339Nano)

			// The daemon restarts; the lines of before and after are one log.
			s.Signal(syscall.SIGKILL)
			s.Run()
			print("app:alice", "after the restart", "caf\xe9 noir")
			sees("after the restart", "app:alice")
			sees("caf\uFFFD noir", "app:alice")
			for _, c := range []struct {
				args []string
				want string // the lines of the app
			}{
				{[]string{"--level", "err"}, "Payment FAILED"},
				{[]string{"--search", "payment failed"}, "Payment FAILED"},
				{[]string{"--grep", "^(to|after)"}, "to-stdout|after the restart"},
				{[]string{"--grep", "^(to|after)", "-n", "1"}, "after the restart"},
				{[]string{"--search", "t", "--since", middle}, "after the restart"},
				{[]string{"--search", "to-std", "--until", middle}, "to-stdout"},
				{[]string{"--search", "to-std", "--since", "1h"}, "to-stdout"},
				{[]string{"--search", "caf\uFFFD noir"}, "caf\uFFFD noir"},
				{[]string{"--search", "nowhere"}, ""},
			} {
				var got []string
				for line := range strings.Lines(logs(append(c.args, "app:alice")...)) {
					if _, message, _ := strings.Cut(strings.TrimSpace(line), "  "); !strings.HasPrefix(message, "systemd: ") {
						got = append(got, message)
					}
				}
				if strings.Join(got, "|") != c.want {
					t.Errorf("%q: got %q, want %q", c.args, got, c.want)
				}
			}
			for _, whom := range []string{"app", "--json"} { // --json: of all services
				if got := logs("--search", "payment", whom); !strings.Contains(got, "app:alice") || !strings.Contains(got, "app:bob") {
					t.Errorf("%s: got %q", whom, got)
				}
			}

			// Ten million bytes without a newline harm nobody.
			s.Text("app:alice", "/log?pad=10000000")
			print("app:alice", "after the long line", "")
			sees("after the long line", "-n", "5", "app:alice")
			if got := logs("-n", "3", "app:alice"); len(got) > 1<<20 {
				t.Errorf("3 lines have %d bytes", len(got))
			}

			var out harness.Output
			follow := s.Command("ten", "logs", "-f", "-n", "0", "--search", "LIVE", "app:alice")
			follow.Stdout, follow.Stderr = &out, &out
			if err := follow.Start(); err != nil {
				t.Fatal(err)
			}
			i := 0
			eventually(t, "the follower sees a new line", func() bool {
				i++
				print("app:alice", "live-"+strconv.Itoa(i), "dead")
				return strings.Contains(out.String(), "live-")
			})
			if strings.Contains(out.String(), "dead") {
				t.Errorf("the follower got what it does not look for: %q", out.String())
			}
			_ = follow.Process.Signal(syscall.SIGINT)
			_ = follow.Wait()
			// The daemon's journalctl goes with it.
			eventually(t, "no journalctl is left", func() bool {
				out, _ := exec.Command("pgrep", "-P", strconv.Itoa(s.PID()), "journalctl").Output()
				return len(out) == 0
			})
		})
	}
}

// Who may not read the journal is told so, and what to do.
func TestLogsOfAnUnreadableJournal(t *testing.T) {
	s := harness.New(t, harness.Options{Config: app, Rootless: true, NoJournal: true})
	s.Run()
	s.Spawn("app:alice")
	const problem = "this machine keeps no journal of its own for this user"
	if r := s.Ten("logs", "app:alice"); r.Code != 1 || !strings.Contains(r.Stderr, problem) || !strings.Contains(r.Stderr, "usermod -aG systemd-journal dev") {
		t.Errorf("logs: %s", r)
	}
	if r := s.Ten("doctor"); r.Code != 0 || !strings.Contains(r.Stdout, "no  logs ") || !strings.Contains(r.Stdout, problem) {
		t.Errorf("doctor: %s", r)
	}
	if r := s.Ten("why", "app:alice"); r.Code != 0 {
		t.Errorf("why: %s", r)
	}
}
