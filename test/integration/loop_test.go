package integration

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// starts counts how often systemd begins to start an instance within a time, from now on.
func starts(t *testing.T, s *harness.Server, unit string, span time.Duration) (n int) {
	t.Helper()
	begun := time.Now()
	time.Sleep(span) // in which nothing may happen
	out, err := s.Command("/usr/bin/journalctl", "--no-pager", "-o", "json", "-u", unit).Output()
	if err != nil {
		t.Fatalf("journalctl: %v", err)
	}
	before := 0
	for line := range strings.Lines(string(out)) {
		var entry struct {
			Message string
			// Said is when that was, whenever the journal got it: microseconds since 1970.
			Said int64 `json:"_SOURCE_REALTIME_TIMESTAMP,string"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || !strings.HasPrefix(entry.Message, "Starting ") {
			continue
		}
		if time.UnixMicro(entry.Said).After(begun) {
			n++
		} else {
			before++
		}
	}
	if before == 0 {
		t.Errorf("the journal has no start of %s: the test proves nothing", unit)
	}
	return n
}

// TestUnitThatCannotStartIsNotStartedForEver: a call that nobody takes from the
// doorbell makes systemd start the unit again and again, with limits off.
func TestUnitThatCannotStartIsNotStartedForEver(t *testing.T) {
	s := harness.New(t, harness.Options{Config: "[settings]\nbackoff_base_ms = 100\nbackoff_max_ms = 100\n" + app + "workdir = \"w-{id}\"\n"})
	if err := os.Mkdir(filepath.Join(s.Dir, "w-alice"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.Run()
	s.Spawn("app:alice")
	if err := os.Rename(filepath.Join(s.Dir, "w-alice"), filepath.Join(s.Dir, "gone")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(appPID(t, s, "app:alice"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range 5 { // of clients that do not wait
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, _ = s.Do(ctx, http.MethodGet, "app:alice", "/", "")
		cancel()
	}
	const unit = "tenement-app@alice.service"
	s.Await("app:alice", tenant.Failed) // after max_restarts
	if got := starts(t, s, unit, 3*time.Second); got > 1 {
		t.Errorf("%d starts in 3 s without a request", got)
	}
	if err := os.Rename(filepath.Join(s.Dir, "gone"), filepath.Join(s.Dir, "w-alice")); err != nil {
		t.Fatal(err)
	}
	if r := s.Ten("restart", "app:alice"); r.Code != 0 {
		t.Error(r)
	}
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("after the fix: got count %s, want 1", got)
	}
}

// TestDaemonKilledDuringAWake leaves a call at the doorbell that nobody waits for.
func TestDaemonKilledDuringAWake(t *testing.T) {
	for _, broken := range []bool{false, true} {
		name := "slow start"
		if broken {
			name = "impossible start"
		}
		t.Run(name, func(t *testing.T) {
			s := harness.New(t, harness.Options{Config: strings.Replace(app, `testapp"`, `testapp delay=1s"`, 1) + "workdir = \"w-{id}\"\n"})
			if err := os.Mkdir(filepath.Join(s.Dir, "w-alice"), 0o755); err != nil {
				t.Fatal(err)
			}
			s.Run()
			s.Spawn("app:alice")
			s.Ten("stop", "app:alice")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = s.Do(ctx, http.MethodGet, "app:alice", "/", "")
			}()
			eventually(t, "it is waking", func() bool { return s.Get("app:alice").State == tenant.Waking })
			if broken {
				eventually(t, "its app has been started", func() bool {
					main := s.Show("app:alice", "MainPID")
					children, err := os.ReadFile(filepath.Join("/proc", main, "task", main, "children"))
					return err == nil && len(children) > 0
				})
				if err := os.Rename(filepath.Join(s.Dir, "w-alice"), filepath.Join(s.Dir, "gone")); err != nil {
					t.Fatal(err)
				}
			}
			s.Signal(syscall.SIGKILL)
			cancel()
			<-done
			if broken {
				// It started before its directory went: end it, with a call at its door.
				out, err := s.Command("python3", "-c", "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/tenement/ingress/app@alice.sock')").CombinedOutput()
				s.Systemctl("kill", "--signal=KILL", "tenement-app@alice.service")
				if err != nil {
					t.Fatalf("%v %s", err, out)
				}
			}
			s.Run()
			if broken {
				s.AwaitFor("app:alice", tenant.Asleep, harness.Timeout)
				if got := starts(t, s, "tenement-app@alice.service", 2*time.Second); got > 1 {
					t.Errorf("%d starts in 2 s without a request", got)
				}
				if err := os.Rename(filepath.Join(s.Dir, "gone"), filepath.Join(s.Dir, "w-alice")); err != nil {
					t.Fatal(err)
				}
				if r := s.Ten("restart", "app:alice"); r.Code != 0 {
					t.Error(r)
				}
			}
			if got := s.Text("app:alice", "/count"); got != "1" {
				t.Errorf("got count %s, want 1", got)
			}
		})
	}
}
