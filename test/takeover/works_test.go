package takeover

import (
	"fmt"
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

// As the package installs it, the daemon has no privilege, and all works: instances come,
// sleep, wake and go, daemon and keeper are restarted and killed, and nobody notices.
func TestSeparated(t *testing.T) {
	s := harness.New(t, harness.Options{Installed: true, Dir: dir, Config: config})
	s.Run()
	daemon := s.PID()
	account, err := tenant.LookupAccount("tenement")
	if err != nil {
		t.Fatal(err)
	}
	own := fmt.Sprintf("%[1]d %[1]d %[1]d %[1]d", account.UID)
	for field, want := range map[string]string{
		"Uid": own, "CapEff": "0000000000000000", "CapBnd": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2",
	} {
		if got := status(t, daemon, field); got != want {
			t.Errorf("the daemon's %s: got %q, want %q", field, got, want)
		}
	}
	s.Spawn("app:alice", "app:bob", "boxed:carol")
	for _, id := range []string{"app:alice", "app:bob", "boxed:carol"} {
		if got := s.Fetch(id, "/").Status; got != 200 {
			t.Errorf("GET %s: got %d", id, got)
		}
	}
	s.Text("app:alice", "/write?path=/var/lib/tenement/data/app/alice/note")
	if r := s.Ten("stop", "app:alice"); r.Code != 0 {
		t.Fatalf("stop: %s", r)
	}
	if got := s.Fetch("app:alice", "/").Status; got != 200 {
		t.Errorf("the request that wakes: got %d", got)
	}
	for _, args := range [][]string{
		{"limit", "app:alice", "--nofile", "4096"}, {"logs", "app:alice"}, {"doctor"}, {"why", "app:alice"}, {"usage"}, {"ps"},
	} {
		if r := s.Ten(args...); r.Code != 0 {
			t.Errorf("ten %s: %s", strings.Join(args, " "), r)
		}
	}

	// Data comes and goes when root wants that, and only then.
	archive := filepath.Join(t.TempDir(), "alice.tar.zst")
	for _, args := range [][]string{
		{"backup", "app:alice", "-o", archive}, {"restore", "app:alice", archive, "--force"}, {"import", archive, "--as", "app:copy"},
	} {
		if r := s.Ten(args...); r.Code != 0 {
			t.Errorf("ten %s: %s", strings.Join(args, " "), r)
		}
	}
	if _, err := os.Stat("/var/lib/tenement/data/app/copy/note"); err != nil {
		t.Errorf("what was imported: %v", err)
	}
	if r := s.Ten("restore", "app:alice", archive); r.Code == 0 || !strings.Contains(r.Stderr, "--force") {
		t.Errorf("a restore over data: %s, want it refused", r) // which leaves nobody a grant
	}
	if out, err := run(t, "tenement", "", "ten", "backup", "app:alice", "-o", "-", "--server", "/run/tenement/api.sock"); err == nil || !strings.Contains(out, "as root") {
		t.Errorf("a backup that root has not asked for: %v: %s", err, out)
	}

	// Under load, all that is Tenement's own is restarted or killed.
	pid := s.Systemctl("show", "--property", "MainPID", "--value", "tenement-app@bob.service")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var served, failed atomic.Int64
	for _, id := range []string{"app:alice", "app:bob"} {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := s.Do(t.Context(), "GET", id, "/", "", "Connection", "close")
				if err != nil || resp.Status != 200 {
					if failed.Add(1) < 5 {
						t.Errorf("under load: GET %s: %d, %v", id, resp.Status, err)
					}
				}
				served.Add(1)
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	for i, disturb := range []func(){
		func() { s.Unit("restart", "tenement-keeper.service") },
		func() {
			ask(t, "root", `{"verb":"tend"}`) // there is one: no process is 0, which stands for our own group
			_ = syscall.Kill(mainPID(t, s, "tenement-keeper.service"), syscall.SIGKILL)
		},
		func() { s.Unit("restart", "tenement.service") },
	} {
		id := fmt.Sprintf("app:new-%d", i)
		wg.Go(func() {
			if r := s.Ten("spawn", "app:during"); r.Code != 0 && i < 2 {
				t.Errorf("spawn meanwhile: %s", r)
			}
		})
		disturb()
		s.Spawn(id)
		if r := s.Ten("destroy", "--yes", id); r.Code != 0 {
			t.Errorf("destroy %s: %s", id, r)
		}
	}
	close(stop)
	wg.Wait()
	if served.Load() < 20 {
		t.Errorf("got %d requests served meanwhile, want more", served.Load())
	}
	if got := s.Systemctl("show", "--property", "MainPID", "--value", "tenement-app@bob.service"); got != pid {
		t.Errorf("the process of app:bob: got %s, want still %s", got, pid)
	}

	// A configuration is taken by both, or by none.
	s.WriteFile("tenement.toml", config+"[service.more]\ncommand = \"{bin}/testapp\"\n")
	s.Unit("reload", "tenement.service")
	s.Spawn("more:dave")
	if err := os.Chmod(dir+"/tenement.toml", 0o666); err != nil {
		t.Fatal(err)
	}
	if r := s.Ten("reload"); r.Code == 0 || !strings.Contains(r.Stderr, "not for root alone to change") {
		t.Errorf("reload of a file that all can write: %s", r)
	}
	s.WriteFile("tenement.toml", config+"[service.more]\ncommand = \"{bin}/testapp\"\n")
	if err := os.Chmod(dir+"/tenement.toml", 0o640); err != nil {
		t.Fatal(err)
	}
}

// A keeper that was masked and is not any more: systemd has given up its socket. Who asks is told
// what to do, doctor tells the rest all the same, and doing it is enough.
func TestKeeperThatWasMasked(t *testing.T) {
	s := harness.New(t, harness.Options{Installed: true, Dir: dir, Config: config})
	s.Run()
	s.Spawn("app:alice")
	s.Unit("mask", "--runtime", "tenement-keeper.service")
	s.Unit("stop", "tenement-keeper.service")
	told := "hint: `systemctl start tenement-keeper.socket` opens it, after `systemctl unmask tenement-keeper.service` where that is masked"
	if r := s.Ten("spawn", "app:bob"); r.Code == 0 || !strings.Contains(r.Stderr, told) {
		t.Errorf("%s: want to be told what to do", r)
	}
	s.Unit("unmask", "--runtime", "tenement-keeper.service")
	r := s.Ten("doctor")
	if r.Code != 0 || !strings.Contains(r.Stdout, told) || !strings.Contains(r.Stdout, "no  keeper") || !strings.Contains(r.Stdout, "ok  logs") {
		t.Errorf("%s: want to be told what to do, and the rest", r)
	}
	s.Unit("start", "tenement-keeper.socket")
	s.Spawn("app:bob")
	if r := s.Ten("doctor"); strings.Contains(r.Stdout, "no  keeper") {
		t.Errorf("%s: want nothing said of the keeper", r)
	}
}
