package registry

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"tenement.dev/internal/tenant"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		writeForever(path)
	}
	goleak.VerifyTestMain(m)
}

// newPath is a place for a registry in a directory that does not exist yet. Its name
// holds what a URI would misunderstand.
func newPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "data 100%?#&", "registry.db")
}

func mustOpen(t *testing.T, path string) *Registry {
	t.Helper()
	r, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func mustList(t *testing.T, r *Registry) []Instance {
	t.Helper()
	list, err := r.Instances(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func mustAdd(t *testing.T, r *Registry, in Instance) {
	t.Helper()
	added, err := r.Add(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if !added {
		t.Fatalf("add %s: got added = false, want true", in.ID)
	}
}

func id(service, name string) tenant.ID { return tenant.ID{Service: service, Name: name} }
