package integration

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

func TestKilledDaemonAdoptsItsInstances(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "doze_timeout = 3\n" + `
[service.other]
command = "{bin}/testapp"
`})
	s.Spawn("app:doze", "other:awake", "other:asleep")
	for _, id := range []string{"app:doze", "other:awake"} {
		s.Text(id, "/count")
	}
	s.Ten("stop", "other:asleep")
	s.Await("app:doze", tenant.Dozing)
	pids := map[string]int{"app:doze": appPID(t, s, "app:doze"), "other:awake": appPID(t, s, "other:awake")}

	s.Signal(syscall.SIGKILL)
	for id, pid := range pids {
		if !alive(pid) {
			t.Errorf("%s died with the daemon", id)
		}
	}
	s.Run()
	for id, want := range map[string]tenant.State{"app:doze": tenant.Dozing, "other:awake": tenant.Awake, "other:asleep": tenant.Asleep} {
		s.AwaitFor(id, want, 5*time.Second)
	}
	for id, pid := range pids {
		if got := s.Text(id, "/count"); got != "2" {
			t.Errorf("%s: got count %s, want 2 of the same process", id, got)
		}
		if got := appPID(t, s, id); got != pid {
			t.Errorf("%s: process is %d, want still %d", id, got, pid)
		}
	}
	if got := s.Text("other:asleep", "/count"); got != "1" {
		t.Errorf("other:asleep: got count %s, want 1", got)
	}
	if got := s.Get("other:asleep").Wakes; got < 1 {
		t.Errorf("wakes of an instance from before: got %d", got)
	}
}

// Since when an instance runs, and what woke it, outlasts the daemon, however that ends.
func TestSinceOutlastsTheDaemon(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	begun := s.Get("app:alice").Since
	s.Signal(syscall.SIGTERM)
	s.Run()
	s.Await("app:alice", tenant.Awake)
	if got := s.Get("app:alice").Since; got.Sub(begun).Abs() > time.Millisecond {
		t.Errorf("after a restart: got it awake since %v, want %v", got, begun)
	}
	if r := s.Ten("why", "app:alice"); !strings.Contains(r.Stdout, ": operator\n") || !strings.Contains(r.Stdout, "that took ") {
		t.Errorf("%s: want it woken by an operator, and how", r)
	}
	// A wake that nobody has saved: its ten-init knows.
	s.Spawn("app:bob")
	begun = s.Get("app:bob").Since
	s.Signal(syscall.SIGKILL)
	time.Sleep(time.Until(begun.Add(3 * time.Second))) // what is told apart from now
	s.Run()
	s.Await("app:bob", tenant.Awake)
	if got := s.Get("app:bob").Since; got.Sub(begun).Abs() > time.Second {
		t.Errorf("after kill -9: got it awake since %v, want about %v", got, begun)
	}
}

// TestRestartUnderLoad restarts the daemon behind a socket that systemd holds: no
// connection is refused, requests only fail where they were in flight at kill -9.
func TestRestartUnderLoad(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app, Unit: true})
	s.Spawn("app:a", "app:b")
	pid := appPID(t, s, "app:a")

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var ok, cut atomic.Int64
	var loading sync.WaitGroup
	for i := range 8 {
		loading.Go(func() {
			id := []string{"app:a", "app:b"}[i%2]
			for ctx.Err() == nil {
				// A connection of its own for each: a kept one may die with the daemon.
				resp, err := s.Do(ctx, http.MethodGet, id, "/", "", "Connection", "close")
				switch {
				case ctx.Err() != nil:
				case err != nil && strings.Contains(err.Error(), "refused"):
					t.Errorf("a connection was refused: %v", err)
				case err != nil:
					t.Logf("cut off: %v", err)
					cut.Add(1)
				case resp.Status != http.StatusOK:
					t.Errorf("got %d %s", resp.Status, resp.Body)
				default:
					ok.Add(1)
				}
			}
		})
	}
	for range 3 {
		before := ok.Load()
		eventually(t, "requests are answered", func() bool { return ok.Load() > before+50 })
		cutBefore := cut.Load()
		s.Unit("restart")
		if got := cut.Load(); got != cutBefore {
			t.Errorf("a restart cut off %d requests, want none", got-cutBefore)
		}
	}
	for range 3 {
		before := ok.Load()
		eventually(t, "requests are answered", func() bool { return ok.Load() > before+50 })
		s.Unit("kill", "--signal=KILL")
	}
	before := ok.Load()
	eventually(t, "requests are answered", func() bool { return ok.Load() > before+50 })
	stop()
	loading.Wait()
	t.Logf("%d requests answered, %d cut off by kill -9", ok.Load(), cut.Load())
	if cut.Load() > 3*8 {
		t.Errorf("%d requests cut off by three kills of a daemon with 8 in flight", cut.Load())
	}
	if got := appPID(t, s, "app:a"); got != pid {
		t.Errorf("process: got %d, want still %d", got, pid)
	}
}

// TestWatchdog stops the daemon's process, so that nothing in it goes on: systemd notices
// and starts it again.
func TestWatchdog(t *testing.T) {
	s := harness.New(t, harness.Options{Config: app})
	unit := func(args ...string) string {
		t.Helper()
		out, err := s.Command(append([]string{"/usr/bin/systemctl"}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("systemctl %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	ten, err := harness.Bin("ten")
	if err != nil {
		t.Fatal(err)
	}
	s.WriteFile("tenement-watched.service", fmt.Sprintf(`[Unit]
StartLimitIntervalSec=0
[Service]
Type=notify
WorkingDirectory=%s
ExecStart=%s serve --domain localhost --port %d
Restart=always
RestartSec=50ms
WatchdogSec=2
`, s.Dir, ten, s.Port))
	unit("link", "--runtime", s.Dir+"/tenement-watched.service")
	unit("start", "tenement-watched.service")
	defer func() {
		s.Ten("destroy", "--yes", "app:a")
		unit("stop", "tenement-watched.service")
		unit("disable", "--runtime", "tenement-watched.service")
	}()
	show := func(property string) string {
		return unit("show", "--property", property, "--value", "tenement-watched.service")
	}
	s.Spawn("app:a")
	pid := appPID(t, s, "app:a")
	// One that works is left alone.
	time.Sleep(3 * time.Second)
	if got := show("NRestarts"); got != "0" {
		t.Fatalf("got %s restarts of a daemon that works", got)
	}
	unit("kill", "--kill-whom=main", "--signal=STOP", "tenement-watched.service")
	eventually(t, "systemd has started it again", func() bool {
		return show("NRestarts") == "1" && show("ActiveState") == "active"
	})
	if got := s.Text("app:a", "/count"); got != "1" {
		t.Errorf("got count %s, want 1", got)
	}
	if got := appPID(t, s, "app:a"); got != pid {
		t.Errorf("process: got %d, want still %d", got, pid)
	}
}

// A registry that cannot be trusted is refused with what to do about it, and nothing is
// started on its account.
func TestDamagedRegistry(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	s.Signal(syscall.SIGTERM)
	path := filepath.Join(s.Dir, "data/.tenement/registry.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s.WriteFile("data/.tenement/registry.db", strings.Repeat("this is no registry\n", 1000))
	err = s.TryRun()
	if err == nil || !strings.Contains(s.Log.String(), "ten: the registry "+path+" is damaged; it was left as it is\nhint: stop ten and move the file away") {
		t.Errorf("got %v, want to be told\n%s", err, s.Log)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Run()
	s.Text("app:alice", "/count")
}

// A registry that is deleted under its daemon is back by itself; another one in its place is
// told of, and left.
func TestRegistryTakenAway(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	path := filepath.Join(s.Dir, "data/.tenement/registry.db")
	for _, suffix := range []string{"-shm", "-wal", ""} {
		if err := os.Remove(path + suffix); err != nil {
			t.Fatal(err)
		}
	}
	s.Spawn("app:bob")
	if r := s.Ten("doctor"); r.Code != 0 || strings.Contains(r.Stdout, "registry") {
		t.Errorf("%s: want nothing said of the registry, which is back", r)
	}
	s.Signal(syscall.SIGKILL)
	s.Run()
	for _, id := range []string{"app:alice", "app:bob"} {
		if got := s.Text(id, "/count"); got == "" {
			t.Errorf("%s: no answer", id)
		}
	}
	if err := os.Rename(path, path+".moved"); err != nil {
		t.Fatal(err)
	}
	s.WriteFile("data/.tenement/registry.db", "another file\n")
	if r := s.Ten("doctor"); !strings.Contains(r.Stdout, "no  registry") || !strings.Contains(r.Stdout, "hint: move that file away") {
		t.Errorf("%s: want to be told of the other file", r)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the registry is not back\n%s", s.Log)
		}
	}
}

func TestStateOfTheManagerIsFollowed(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	// Stopped behind our back, it is asleep; started, awake.
	s.Systemctl("stop", "tenement-app@alice.service")
	s.Await("app:alice", tenant.Asleep)
	s.Systemctl("start", "tenement-app@alice.service")
	s.Await("app:alice", tenant.Awake)
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("got count %s, want 1", got)
	}
	// Its doorbell taken away as well, a request has it loaded again.
	s.Systemctl("stop", "tenement-app@alice.socket", "tenement-app@alice.service")
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("without a doorbell: got count %s, want 1", got)
	}
	// daemon-reload and daemon-reexec lose nothing.
	for _, verb := range []string{"daemon-reload", "daemon-reexec"} {
		s.Systemctl(verb)
		s.Ten("stop", "app:alice")
		if got := s.Text("app:alice", "/count"); got != "1" {
			t.Errorf("after %s: got count %s, want 1", verb, got)
		}
	}
}

func TestDoorbellsAreFew(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[settings]\ndoorbells = 2\n" + app})
	for i := range 5 {
		id := fmt.Sprintf("app:t%d", i)
		s.Spawn(id)
		s.Ten("stop", id)
	}
	eventually(t, "two doorbells are left", func() bool {
		return strings.Count(s.Systemctl("list-units", "--plain", "--no-legend", "tenement-*@*.socket"), ".socket") == 2
	})
	for i := range 5 {
		if got := s.Text(fmt.Sprintf("app:t%d", i), "/count"); got != "1" {
			t.Errorf("t%d: got count %s, want 1", i, got)
		}
	}
}

func TestReload(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	pid := appPID(t, s, "app:alice")
	hangUp := func(word string) {
		t.Helper()
		said := s.Log.Watch(word)
		if err := syscall.Kill(s.PID(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		select {
		case <-said:
		case <-time.After(harness.Timeout):
			t.Fatalf("the daemon did not say %q", word)
		}
	}
	s.WriteFile("tenement.toml", app+"idel_timeout = 3\n")
	hangUp("configuration not reloaded")
	if !strings.Contains(s.Log.String(), "tenement.toml:4") {
		t.Errorf("the daemon named no line:\n%s", s.Log)
	}
	s.WriteFile("tenement.toml", app+"\n[service.other]\ncommand = \"{bin}/testapp\"\n")
	hangUp("msg=reloaded")
	s.Spawn("other:bob")
	if got := appPID(t, s, "app:alice"); got != pid {
		t.Errorf("process of app:alice: got %d, want still %d", got, pid)
	}
}

// A reload that fails is seen: by the exit code of `ten reload`, and so by systemctl's.
func TestReloadOfAUnit(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app, Unit: true})
	s.Spawn("app:alice")
	s.WriteFile("tenement.toml", app+"idel_timeout = 3\ncolour = 1\n")
	r := s.Ten("reload")
	for _, want := range []string{"tenement.toml was not taken", "tenement.toml:4: service.app.idel_timeout", "tenement.toml:5: service.app.colour"} {
		if r.Code != 6 || !strings.Contains(r.Stderr, want) {
			t.Errorf("got %s, want %q in it", r, want)
		}
	}
	if out, err := s.Command("/usr/bin/systemctl", "reload", "tenement-test.service").CombinedOutput(); err == nil {
		t.Errorf("systemctl reload succeeded: %s", out)
	}
	s.WriteFile("tenement.toml", app+"[instances]\napp = [\"alice\", \"bob\"]\n")
	s.Unit("reload")
	s.Await("app:bob", tenant.Awake) // it has come to the configuration
	s.WriteFile("tenement.toml", "")
	s.Unit("reload")
	eventually(t, "something is said of an empty configuration", func() bool { return strings.Contains(s.UnitLog(), "no service is configured") })
	const lost = "no service for app:alice, app:bob: their hosts are a 404"
	eventually(t, "and of its instances", func() bool { return strings.Contains(s.UnitLog(), lost) })
	if r := s.Ten("reload"); r.Code != 0 || !strings.Contains(r.Stderr, lost) {
		t.Errorf("ten reload: got %s, want %q in it", r, lost)
	}
	s.WriteFile("tenement.toml", app)
	s.Unit("reload")
}

func TestConfiguredInstancesComeUp(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[service.app]
command = "{bin}/testapp"
[service.broken]
command = "{bin}/testapp exit=1"
[instances]
broken = ["x"]
app = ["one", "two"]
`})
	s.Await("app:one", tenant.Awake)
	s.Await("app:two", tenant.Awake)
	eventually(t, "the broken one has a reason", func() bool { return s.Get("broken:x").Reason != "" })
}
