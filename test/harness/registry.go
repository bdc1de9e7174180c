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

// End destroys the instances that have data, of whom somebody has been awake or armed, stops
// the server, and forgets the rest: to destroy each of very many would take too long.
func (s *Server) End() {
	s.tb.Helper()
	dirs, err := filepath.Glob(filepath.Join(s.Dir, "data/[a-z0-9]*/*"))
	if err != nil {
		s.tb.Fatal(err)
	}
	args := []string{"destroy", "--yes"}
	for _, dir := range dirs {
		args = append(args, filepath.Base(filepath.Dir(dir))+":"+filepath.Base(dir))
	}
	if r := s.Ten(args...); len(dirs) > 0 && r.Code != 0 {
		s.tb.Errorf("destroy: %.500s", r)
	}
	s.Signal(syscall.SIGTERM)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(s.registry() + suffix)
	}
}
