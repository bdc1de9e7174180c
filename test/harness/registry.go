package harness

import (
	"os"
	"path/filepath"
	"syscall"

	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
)

func (s *Server) registry() string { return filepath.Join(s.Dir, "data/.tenement/registry.db") }

// Register writes instances into the registry of a server that does not run.
func (s *Server) Register(ids ...string) {
	s.tb.Helper()
	store, err := registry.Open(s.tb.Context(), s.registry())
	if err != nil {
		s.tb.Fatal(err)
	}
	for _, text := range ids {
		id, err := tenant.ParseID(text)
		if err == nil {
			_, err = store.Add(s.tb.Context(), registry.Instance{ID: id})
		}
		if err != nil {
			s.tb.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		s.tb.Fatal(err)
	}
}

// End destroys instances, stops the server, and forgets those that it has besides and that
// have never been awake: to destroy each of very many would take too long.
func (s *Server) End(ids ...string) {
	s.tb.Helper()
	if r := s.Ten(append([]string{"destroy", "--yes"}, ids...)...); r.Code != 0 {
		s.tb.Errorf("destroy: %.500s", r)
	}
	s.Signal(syscall.SIGTERM)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(s.registry() + suffix)
	}
}
