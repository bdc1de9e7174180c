package limits

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// Data that comes back counts for the instance's quota, as what was there did; what is kept
// of that counts for nobody's.
func TestRestoreWithinStorageQuota(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "storage_quota_mb = 20\n"})
	s.Spawn("app:alice")
	put := func(id, name string, mb int) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(s.Dir, "data/app", id, name), bytes.Repeat([]byte("x"), mb<<20), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fill := func(id, path, mb string, want int) {
		t.Helper()
		if resp := s.Fetch(id, "/fill?path="+path+"&mb="+mb); resp.Status != want {
			t.Errorf("%s writes %s MiB: got %d %s, want %d", id, mb, resp.Status, resp.Body, want)
		}
	}
	storage := func(id string, low, high int64) {
		t.Helper()
		l := limits(t, s, id)
		if l.Usage.Storage == nil || *l.Usage.Storage < low<<20 || *l.Usage.Storage > high<<20 || !l.StorageEnforced {
			t.Errorf("%s: got %+v, want %d to %d MiB, enforced", id, l.Usage, low, high)
		}
	}
	file := filepath.Join(s.Dir, "alice.tar.zst")
	put("alice", "a", 8)
	if r := s.Ten("backup", "app:alice", "-o", file); r.Code != 0 {
		t.Fatal(r)
	}
	put("alice", "b", 8)
	storage("app:alice", 16, 17)
	r := s.Ten("restore", "app:alice", file, "--force", "--keep-old", "--json")
	var done tenant.Restored
	if err := json.Unmarshal([]byte(r.Stdout), &done); err != nil || r.Code != 0 || done.Kept == "" {
		t.Fatalf("restore: %s, %v", r, err)
	}
	if _, err := os.Stat(filepath.Join(done.Kept, "b")); err != nil {
		t.Error(err)
	}
	storage("app:alice", 8, 9)
	fill("app:alice", "c", "9", http.StatusOK)
	fill("app:alice", "d", "9", http.StatusInsufficientStorage)

	// What is too much for another is refused before anything of his changes.
	if r := s.Ten("backup", "app:alice", "-o", file); r.Code != 0 {
		t.Fatal(r)
	}
	s.Spawn("app:bob")
	if r := s.Ten("limit", "app:bob", "--storage", "5M"); r.Code != 0 {
		t.Fatal(r)
	}
	if r := s.Ten("restore", "app:bob", file, "--force"); r.Code == 0 || !strings.Contains(r.Stderr, "more than the 5M that the instance's may be") {
		t.Errorf("restore into less: got %s", r)
	}
	storage("app:bob", 0, 1)
	if r := s.Ten("import", file, "--as", "app:carol"); r.Code != 0 {
		t.Fatal(r)
	}
	s.Spawn("app:carol")
	storage("app:carol", 8, 19)
	fill("app:carol", "e", "15", http.StatusInsufficientStorage)
}
