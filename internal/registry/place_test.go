package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tenement.dev/internal/tenant"
)

// take removes what the daemon's directory has of the registry.
func take(t *testing.T, path string, suffixes ...string) {
	t.Helper()
	for _, suffix := range suffixes {
		if err := os.Remove(path + suffix); err != nil {
			t.Fatal(err)
		}
	}
}

// wantNames wants those instances of notes to be in the file at path for whoever opens it next.
func wantNames(t *testing.T, path string, want ...string) {
	t.Helper()
	r, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	for _, in := range mustList(t, r) {
		got = append(got, in.ID.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", filepath.Base(path), got, want)
	}
}

// A file that somebody deletes or moves away under a daemon is there again, and what is
// written before and after is in it.
func TestMissingFileIsPutBack(t *testing.T) {
	for name, suffixes := range map[string][]string{"alone": {""}, "with its log": {"", "-wal", "-shm"}} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			r := mustOpen(t, path)
			mustAdd(t, r, Instance{ID: id("notes", "alice")})
			if restored, err := r.Check(t.Context()); restored || err != nil {
				t.Fatalf("with the file there: got %v, %v", restored, err)
			}
			take(t, path, suffixes...)
			mustAdd(t, r, Instance{ID: id("notes", "bob")})

			var group sync.WaitGroup // they write all the while
			for n := range 8 {
				group.Go(func() {
					if _, err := r.Add(context.WithoutCancel(t.Context()), Instance{ID: id("notes", fmt.Sprintf("c%d", n))}); err != nil {
						t.Error(err)
					}
				})
			}
			if restored, err := r.Check(t.Context()); !restored || err != nil {
				t.Fatalf("got %v, %v, want it put back", restored, err)
			}
			group.Wait()
			if restored, err := r.Check(t.Context()); restored || err != nil {
				t.Fatalf("once more: got %v, %v", restored, err)
			}
			mustAdd(t, r, Instance{ID: id("notes", "last")})
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
			}
			// As after kill -9: whoever reads the files now has it all.
			wantNames(t, path, "alice", "bob", "c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "last")
			for name := range snapshot(t, path) {
				if strings.HasSuffix(name, ".tmp") {
					t.Errorf("%s was left", name)
				}
			}
		})
	}
}

func TestMissingFileIsPutBackAtTheEnd(t *testing.T) {
	path := newPath(t)
	r, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, Instance{ID: id("notes", "alice")})
	take(t, path, "")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	wantNames(t, path, "alice")
}

// Another file in the registry's place is nobody's to overwrite, and nothing of the old one
// gets into it; the old one's content is not lost.
func TestReplacedFile(t *testing.T) {
	path := newPath(t)
	other := filepath.Join(t.TempDir(), "registry.db")
	o, err := Open(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, o, Instance{ID: id("notes", "zoe")})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, Instance{ID: id("notes", "alice")})
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, Instance{ID: id("notes", "bob")})

	check := func(restored bool, err error) {
		t.Helper()
		var e *tenant.Error
		if restored || !errors.As(err, &e) || e.Code != tenant.CodeConflict ||
			!strings.Contains(e.Msg, "another file") || !strings.Contains(e.Hint, "move that file away") {
			t.Errorf("got %v, %v, want a conflict that says what to do", restored, err)
		}
	}
	check(r.Check(t.Context()))

	// Doing what the hint says first works.
	if err := os.Rename(path, other); err != nil {
		t.Fatal(err)
	}
	if restored, err := r.Check(t.Context()); !restored || err != nil {
		t.Fatalf("got %v, %v, want it put back", restored, err)
	}
	// And what it says last.
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	mustAdd(t, r, Instance{ID: id("notes", "carol")})
	check(false, r.Close())
	wantNames(t, path, "zoe")
	wantNames(t, path+".kept", "alice", "bob", "carol")
}

// Without its directory there is no place for it, until that is there again.
func TestMissingDirectory(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	mustAdd(t, r, Instance{ID: id("notes", "alice")})
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	_, err := r.Check(t.Context())
	var e *tenant.Error
	if !errors.As(err, &e) || !strings.Contains(e.Msg, "gone with its directory") || e.Hint == "" {
		t.Errorf("got %v, want an error that says what to do", err)
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if restored, err := r.Check(t.Context()); !restored || err != nil {
		t.Fatalf("got %v, %v, want it put back", restored, err)
	}
	if files := slices.Sorted(maps.Keys(snapshot(t, path))); len(files) == 0 || files[0] != "registry.db" {
		t.Errorf("got %q", files)
	}
	wantNames(t, path, "alice")
}
