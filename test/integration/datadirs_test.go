package integration

import (
	"net/http"
	"strings"
	"syscall"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// Instances outlive their daemon, and the next one may have another data directory and
// instances of the same names: what runs with the data of the first is not touched.
func TestAnotherDataDirectory(t *testing.T) {
	for name, rootless := range map[string]bool{"root": false, "rootless": true} {
		t.Run(name, func(t *testing.T) {
			second := harness.Start(t, harness.Options{Config: app, Rootless: rootless})
			second.Spawn("app:alice")
			second.Ten("stop", "app:alice")
			second.Signal(syscall.SIGTERM)

			// One that sleeps needs no name: its next wake makes its units anew.
			first := harness.Start(t, harness.Options{Config: app, Rootless: rootless})
			first.Spawn("app:alice", "app:carol")
			for range 2 {
				first.Text("app:alice", "/count")
			}
			pid := appPID(t, first, "app:alice")
			first.Signal(syscall.SIGTERM)

			second.Run()
			if got := second.Get("app:alice").State; got != tenant.Asleep {
				t.Errorf("got %v, want it asleep", got)
			}
			resp, err := second.Do(t.Context(), http.MethodGet, "app:alice", "/", "")
			if err != nil || resp.Status != http.StatusServiceUnavailable || resp.Header.Get("Tenement-Error") != string(tenant.CodeConflict) {
				t.Errorf("got %d %s, %v, want 503 for a conflict", resp.Status, resp.Body, err)
			}
			for _, id := range []string{"app:alice", "app:carol"} {
				r := second.Ten("spawn", id)
				if r.Code == 0 || !strings.Contains(r.Stderr, first.Dir+"/data") || !strings.Contains(r.Stderr, second.Dir+"/data") {
					t.Errorf("spawn %s: got %s, want to be told of both directories", id, r)
				}
			}
			if got := len(second.List()); got != 1 {
				t.Errorf("got %d instances, want 1: none whose name is taken is made", got)
			}
			second.Spawn("app:bob")
			for _, args := range [][]string{{"stop", "app:alice"}, {"destroy", "--yes", "app:alice"}} {
				if r := second.Ten(args...); r.Code != 0 {
					t.Errorf("%v: %s", args, r)
				}
			}
			second.Ten("destroy", "--yes", "app:bob")
			second.Signal(syscall.SIGTERM)

			first.Run()
			if got := first.Text("app:alice", "/count"); got != "3" {
				t.Errorf("got count %s, want 3 of the same process", got)
			}
			if got := appPID(t, first, "app:alice"); got != pid {
				t.Errorf("process: got %d, want still %d", got, pid)
			}
		})
	}
}
