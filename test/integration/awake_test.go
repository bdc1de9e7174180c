package integration

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
	"tenement.dev/test/harness"
)

// why gives what `ten why --json` says.
func why(t *testing.T, s *harness.Server, id string) wire.Why {
	t.Helper()
	r := s.Ten("why", "--json", id)
	var w wire.Why
	if err := json.Unmarshal([]byte(r.Stdout), &w); err != nil {
		t.Fatalf("ten why --json %s: %v: %s", id, err, r)
	}
	return w
}

// holds gives the kinds of what keeps an instance awake.
func holds(t *testing.T, s *harness.Server, id string) string {
	t.Helper()
	var kinds []string
	for _, h := range why(t, s, id).Holds {
		kinds = append(kinds, string(h.Kind))
	}
	return strings.Join(kinds, " ")
}

// A job in the background keeps its instance awake, and does so for busy_max at most.
func TestJobKeepsItsInstanceAwake(t *testing.T) {
	for _, rootless := range []bool{false, true} {
		t.Run(map[bool]string{false: "system", true: "rootless"}[rootless], func(t *testing.T) {
			s := harness.Start(t, harness.Options{Rootless: rootless, Config: `
[service.my-app]
command = "{bin}/testapp"
doze_timeout = 1
busy_max = 4
`})
			s.Spawn("my-app:ends", "my-app:goes-on")
			begun := time.Now()
			s.Text("my-app:ends", "/burn?ms=2500")
			s.Text("my-app:goes-on", "/burn?ms=30000")
			// One after the other: each look takes its time, and what is looked for passes.
			eventually(t, "the CPU holds the one", func() bool { return holds(t, s, "my-app:ends") == "cpu" })
			eventually(t, "the CPU holds the other", func() bool {
				return strings.Contains(s.Ten("why", "my-app:goes-on").Stdout, "held by: it uses ")
			})
			s.Await("my-app:ends", tenant.Dozing)
			if took := time.Since(begun); took < 2400*time.Millisecond {
				t.Errorf("the one whose job takes 2.5 s dozes after %v", took)
			}
			s.Await("my-app:goes-on", tenant.Dozing) // before its 30 s are over
			if took := time.Since(begun); took < 4500*time.Millisecond {
				t.Errorf("the one whose job goes on dozes after %v, want about 5 s", took)
			}
		})
	}
}

// Runtimes that do nothing use next to nothing of the CPU, and rest: what seems to be at work
// does not for the ten minutes of busy_max.
func TestIdleRuntimesRest(t *testing.T) {
	s := harness.Start(t, harness.Options{
		Config: `
[service.go]
command = "{bin}/testapp"
isolation = "process"
doze_timeout = 2
[service.node]
command = "node app.js"
isolation = "process"
doze_timeout = 2
[service.python]
command = "python3 app.py"
isolation = "process"
doze_timeout = 2
[service.awake-go]
command = "{bin}/testapp"
isolation = "process"
[service.awake-node]
command = "node app.js"
isolation = "process"
[service.awake-python]
command = "python3 app.py"
isolation = "process"
`,
		Files: map[string]string{
			"app.js": `require("http").createServer((q, a) => a.end("ok")).listen(process.env.PORT, "127.0.0.1")`,
			"app.py": `import os
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), SimpleHTTPRequestHandler).serve_forever()
`,
		},
	})
	for _, runtime := range []string{"go", "node", "python"} {
		id := runtime + ":a"
		s.Spawn(id, "awake-"+id)
		s.Fetch(id, "/")
		s.Await(id, tenant.Dozing)
	}
	before := map[string]time.Duration{}
	for _, runtime := range []string{"go", "node", "python"} {
		before[runtime] = cpuTime(t, s, "awake-"+runtime+":a")
	}
	const span = 3 * time.Second
	time.Sleep(span) // what is measured is the time
	for runtime, used := range before {
		share := float64(cpuTime(t, s, "awake-"+runtime+":a")-used) / float64(span)
		t.Logf("%s, idle: %.3f %% of a core", runtime, 100*share)
		if share > 0.02 {
			t.Errorf("%s, idle, uses %.1f %% of a core: too close to the 5 %% that count as work", runtime, 100*share)
		}
	}
}

func cpuTime(t *testing.T, s *harness.Server, id string) time.Duration {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(cgroupDir(t, s, id), "cpu.stat"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "usage_usec "); ok {
			usec, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			return time.Duration(usec) * time.Microsecond
		}
	}
	t.Fatalf("no usage_usec in %q", text)
	return 0
}

func TestLeases(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "idle_timeout = 1\nkeep_awake_max = 60\n"})
	s.Spawn("app:header", "app:operator", "app:stopped")
	resp := s.Fetch("app:header", "/keep?for=4s")
	if _, ok := resp.Header["Tenement-Keep-Awake"]; ok || resp.Status != 200 {
		t.Errorf("got %d %v, want 200 without the header", resp.Status, resp.Header)
	}
	s.Fetch("app:stopped", "/keep?for=1h")
	if got := holds(t, s, "app:stopped"); got != "lease" {
		t.Errorf("got holds %q, want a lease", got)
	}
	s.Await("app:operator", tenant.Asleep)
	if r := s.Ten("keep-awake", "app:operator", "1h"); r.Code != 0 || !strings.Contains(r.Stdout, "app:operator is awake at ") {
		t.Errorf("keep-awake of a sleeper: %s", r)
	}
	// Not even a daemon that is killed forgets the operator's.
	s.Signal(syscall.SIGKILL)
	s.Run()
	if r := s.Ten("keep-awake"); !strings.Contains(r.Stdout, "operator") {
		t.Errorf("keep-awake: %s", r)
	}
	begun := time.Now() // the answer may take its time
	s.Fetch("app:header", "/keep?for=4s")
	s.Await("app:header", tenant.Asleep)
	if took := time.Since(begun); took < 3900*time.Millisecond {
		t.Errorf("asleep after %v, want 4 s", took)
	}
	if got := s.Get("app:operator").State; got != tenant.Awake {
		t.Errorf("with an operator's lease it is %v", got)
	}
	if r := s.Ten("keep-awake", "--revoke", "app:operator"); r.Code != 0 {
		t.Error(r)
	}
	s.Await("app:operator", tenant.Asleep)
	s.Fetch("app:stopped", "/keep?for=1h")
	if r := s.Ten("stop", "app:stopped"); r.Code != 0 || !strings.Contains(r.Stdout, "is asleep") {
		t.Errorf("stop against a lease: %s", r)
	}
	if got := s.Get("app:stopped").Leases; len(got) != 0 {
		t.Errorf("got leases %+v after a stop", got)
	}
	// What makes no sense is no error for the client.
	if resp := s.Fetch("app:header", "/keep?for=soon"); resp.Status != 200 || resp.Header.Get("Tenement-Keep-Awake") != "" {
		t.Errorf("got %d %v, want 200 without the header", resp.Status, resp.Header)
	}
}

func TestSchedule(t *testing.T) {
	s := harness.New(t, harness.Options{})
	entries := func(list ...string) {
		text, err := json.Marshal(list)
		if err != nil {
			t.Fatal(err)
		}
		s.WriteFile("tenement.toml", app+"idle_timeout = 1\nschedule_path = \"/cron\"\nschedule = "+string(text)+"\n")
	}
	marks := func(name string) []string {
		text, err := os.ReadFile(filepath.Join(s.Dir, "data/app", name, "marks"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.FieldsFunc(strings.ReplaceAll(string(text), "term\n", ""), func(r rune) bool { return r == '\n' })
	}
	entries("*:*:0/5")
	s.Run()
	s.Spawn("app:alice", "app:bob")
	for _, name := range []string{"alice", "bob"} {
		s.Ten("stop", "app:"+name)
	}
	eventually(t, "both have been woken", func() bool { return len(marks("alice")) > 0 && len(marks("bob")) > 0 })
	if got := marks("alice")[0]; got != "POST *:*:0/5" {
		t.Errorf("the app got %q, want a POST request with the entry", got)
	}
	if w := why(t, s, "app:alice"); w.WokenBy != "schedule *:*:0/5" || w.Entry != "*:*:0/5" || time.Until(w.ScheduledAt) > 5*time.Second {
		t.Errorf("got %+v, want it woken by the schedule, and the next time", w)
	}
	s.Await("app:alice", tenant.Asleep)

	// A reload replaces it; what comes in the daemon's absence is made up for, once.
	var at time.Time
	var once, then string
	for ahead := 4 * time.Second; ; ahead *= 2 {
		at = time.Now().Add(ahead).UTC().Truncate(time.Second)
		once, then = at.Format("2006-01-02 15:04:05 UTC"), at.Add(time.Second).Format("2006-01-02 15:04:05 UTC")
		entries(once, then)
		if err := syscall.Kill(s.PID(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		known := false
		eventually(t, "the new entry is known, or too late", func() bool {
			known = why(t, s, "app:alice").Entry == once
			return known || time.Now().After(at)
		})
		s.Signal(syscall.SIGKILL)
		if known && time.Now().Before(at) {
			break
		}
		if ahead > harness.Timeout {
			t.Fatal("the daemon could not be ended before the time comes")
		}
		s.Run()
	}
	made := func(name string) []string { // of the new entries; one of the old may have been under way
		return slices.DeleteFunc(marks(name), func(mark string) bool { return mark != "POST "+once && mark != "POST "+then })
	}
	time.Sleep(time.Until(at.Add(2 * time.Second))) // the daemon is away until then
	if got := made("alice"); len(got) != 0 {
		t.Errorf("got %q without a daemon", got)
	}
	s.Run()
	eventually(t, "both entries are made up for", func() bool { return len(made("alice")) >= 2 && len(made("bob")) >= 2 })
	s.Await("app:alice", tenant.Asleep)
	if got := made("alice"); len(got) != 2 {
		t.Errorf("got %q, want each entry once", got)
	}

	// What is no calendar time is refused, at its line.
	entries("hourly", "sometimes")
	s.Signal(syscall.SIGTERM)
	if err := s.TryRun(); err == nil {
		t.Fatal("the daemon started")
	}
	if said := s.Log.String(); !strings.Contains(said, `tenement.toml:6: service.app.schedule: "sometimes" is not a calendar time of systemd`) {
		t.Errorf("the daemon does not say what is wrong:\n%s", said)
	}
	entries("hourly")
	s.Run()
}

func TestWhy(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[settings]\nmax_restarts = 0\n" + app + `idle_timeout = 5
[service.broken]
command = "{bin}/testapp exit=7"
[service.dozes]
command = "{bin}/testapp"
doze_timeout = "300ms"
`})
	says := func(id string, want ...string) {
		t.Helper()
		// An app's last lines come through the journal, which may take its time.
		var r harness.Result
		missing := func() string {
			r = s.Ten("why", id)
			i := slices.IndexFunc(want, func(line string) bool { return !strings.Contains(r.Stdout, line) })
			if i < 0 {
				return ""
			}
			return want[i]
		}
		deadline := time.Now().Add(harness.Timeout)
		for line := missing(); line != ""; line = missing() {
			if time.Now().After(deadline) {
				t.Fatalf("ten why %s does not say %q: %s", id, line, r)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	s.Spawn("dozes:alice", "app:alice")
	says("app:alice", "app:alice is awake since ", "woken last at ", ": operator", "unit start ", "if nothing happens it sleeps at ")
	s.Ten("stop", "app:alice")
	says("app:alice", "is asleep since ", "because: asked to")
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = s.Do(ctx, "GET", "app:alice", "/slow?ms=60000", "")
	}()
	eventually(t, "a request holds it", func() bool { return holds(t, s, "app:alice") == "requests" })
	says("app:alice", "held by: 1 request in flight", ": GET request")
	leave()
	<-done
	s.Await("app:alice", tenant.Asleep)
	says("app:alice", "because: idle")
	s.Text("app:alice", "/log?out=the+last+line")
	if resp, err := s.Do(t.Context(), "POST", "app:alice", "/exit?code=3", ""); err != nil || resp.Status != 502 {
		t.Errorf("got %d, %v from an app that ends, want 502", resp.Status, err)
	}
	s.Await("app:alice", tenant.Failed)
	says("app:alice", "because: it ended by itself: the app ended: status 3", "last lines:", "the last line")
	s.Await("dozes:alice", tenant.Dozing)
	says("dozes:alice", "dozes:alice is dozing", "it stays like this until a request comes")
	s.Ten("spawn", "broken:x")
	says("broken:x", "broken:x is failed since ", "because: its start failed: the app ended with exit status 7",
		"it has failed once and is not tried again", "exiting as told")
	if r := s.Ten("why", "app:nobody"); r.Code != 4 {
		t.Errorf("why of nobody: %s", r)
	}
}
