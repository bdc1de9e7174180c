package harness

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

// Systemctl runs systemctl against the server's manager and gives what it prints.
func (s *Server) Systemctl(args ...string) string {
	out, _ := s.output(s.systemctl(args...))
	return strings.TrimSpace(out)
}

func (s *Server) systemctl(args ...string) *exec.Cmd {
	if s.rootless {
		args = append([]string{"--user"}, args...)
	}
	return s.Command(append([]string{"/usr/bin/systemctl"}, args...)...)
}

// Show gives a property of an instance's service unit.
func (s *Server) Show(id, property string) string {
	s.tb.Helper()
	service, name, _ := strings.Cut(id, ":")
	return s.Systemctl("show", "--property", property, "--value", "tenement-"+service+"@"+name+".service")
}

// List gives what `ten ps --json` says. It asks the daemon itself: who waits asks often, and a
// state may pass while a program starts.
func (s *Server) List() []tenant.Snapshot {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	daemon := client.New(filepath.Join(s.runtime, "api.sock"))
	defer daemon.Close()
	list, err := daemon.List(ctx, "")
	if err != nil {
		s.tb.Fatalf("list the instances: %v", err)
	}
	text, err := json.Marshal(list)
	var snapshots []tenant.Snapshot
	if err == nil {
		err = json.Unmarshal(text, &snapshots)
	}
	if err != nil {
		s.tb.Fatal(err)
	}
	return snapshots
}

// Get gives what List says of one instance.
func (s *Server) Get(id string) tenant.Snapshot {
	s.tb.Helper()
	for _, i := range s.List() {
		if i.ID.String() == id {
			return i
		}
	}
	s.tb.Fatalf("%s is not registered", id)
	return tenant.Snapshot{}
}

// Await waits until an instance is in the given state.
func (s *Server) Await(id string, state tenant.State) {
	s.tb.Helper()
	s.AwaitFor(id, state, Timeout)
}

// AwaitFor waits for a state at most for d.
func (s *Server) AwaitFor(id string, state tenant.State, d time.Duration) {
	s.tb.Helper()
	deadline := time.Now().Add(d)
	for {
		got := s.Get(id).State
		if got == state {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("%s is %v after %v, want %v", id, got, d, state)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Spawn spawns instances and fails the test if one does not come up.
func (s *Server) Spawn(ids ...string) {
	s.tb.Helper()
	for _, id := range ids {
		if r := s.Ten("spawn", id); r.Code != 0 {
			s.tb.Fatalf("spawn %s: %s", id, r)
		}
	}
}
