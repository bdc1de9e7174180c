package keeper

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tenement.dev/internal/tenant"
)

func uidOf(t *testing.T, path string) int {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	return int(st.Uid)
}

// Data that gets another owner takes nothing along that was never its: neither what its
// links lead to nor a file of somebody else with a name in it.
func TestOwnHostileData(t *testing.T) {
	const before, after = 1000, 2000
	dir, outside := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "outside")
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(
		os.MkdirAll(in("sub"), 0o700),
		os.WriteFile(outside, nil, 0o600),
		os.WriteFile(in("sub/file"), nil, 0o600),
		os.Link(in("sub/file"), in("same")),
		os.Link(outside, in("sub/hard")),
		os.Symlink(outside, in("soft")),
		os.Lchown(dir, before, before), os.Lchown(in("sub"), before, before), os.Lchown(in("same"), before, before), os.Lchown(in("soft"), before, before),
	); err != nil {
		t.Fatal(err)
	}
	if err := makeOwn(dir, owner{after, after}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{dir: after, in("sub"): after, in("sub/file"): after, in("same"): after, in("soft"): after, outside: 0} {
		if got := uidOf(t, path); got != want {
			t.Errorf("%s belongs to %d, want %d", path, got, want)
		}
	}
	nest(t, in("sub"), maxDepth+1)
	if err := makeOwn(dir, owner{before, before}); !errors.Is(err, errTooDeep) || uidOf(t, dir) != after {
		t.Errorf("nested too deep: got %v, and the owner %d, want it refused and %d", err, uidOf(t, dir), after)
	}
}

// What is wrong with its data is said, rather than that of systemd, which has not been asked.
func TestDataThatCannotBeItsOwn(t *testing.T) {
	root, o := t.TempDir(), owner{FirstUID, FirstUID}
	in := func(name string) string { return filepath.Join(root, "notes", name) }
	if err := errors.Join(os.MkdirAll(in("deep"), 0o700), os.Mkdir(filepath.Join(root, "elsewhere"), 0o700), os.Symlink("../elsewhere", in("link"))); err != nil {
		t.Fatal(err)
	}
	nest(t, in("deep"), maxDepth+1)
	for name, want := range map[string]string{"link": "is no directory", "deep": "nested deeper than"} {
		spec := tenant.Spec{ID: tenant.ID{Service: "notes", Name: name}, DataRoot: root, DataDir: in(name)}
		var e *tenant.Error
		if err := new(Local).makeDirs(spec, o); !errors.As(err, &e) || !strings.Contains(e.Msg, want) || e.Hint == "" {
			t.Errorf("%s: got %v, want that it %s, and a hint", name, err, want)
		}
	}
	if got := uidOf(t, filepath.Join(root, "elsewhere")); got != 0 {
		t.Errorf("what the link leads to belongs to %d, want still 0", got)
	}
}

// Where the file of accounts is lost, or data has come from another machine, who owns the data
// has the account, and nobody new gets it.
func TestAdoptOwners(t *testing.T) {
	root, state := t.TempDir(), t.TempDir()
	for dir, uid := range map[string]int{
		"notes/alice": FirstUID + 7, "notes/bob": FirstUID + 3, "web/alice": FirstUID + 7,
		"notes/root": 0, "notes/far": LastUID + 1, ".copies/notes@x": FirstUID + 20, "notes/.hidden": FirstUID + 21,
	} {
		path := filepath.Join(root, dir)
		if err := errors.Join(os.MkdirAll(path, 0o700), os.Lchown(path, uid, uid)); err != nil {
			t.Fatal(err)
		}
	}
	open := func() *accounts {
		t.Helper()
		a, err := openAccounts(filepath.Join(state, "uids.json"), t.TempDir())
		if err == nil {
			err = a.adopt(root)
		}
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := open()
	for _, c := range []struct {
		service, name string
		want          int
	}{{"notes", "alice", FirstUID + 7}, {"notes", "bob", FirstUID + 3}, {"web", "alice", FirstUID + 8}, {"notes", "new", FirstUID + 9}} {
		if got, err := a.uid(tenant.ID{Service: c.service, Name: c.name}); err != nil || got != c.want {
			t.Errorf("uid of %s:%s: got %d, %v, want %d", c.service, c.name, got, err, c.want)
		}
	}
	// What is known counts, and not who owns what.
	if err := os.Lchown(filepath.Join(root, "notes/bob"), FirstUID+30, FirstUID+30); err != nil {
		t.Fatal(err)
	}
	if got, err := open().uid(tenant.ID{Service: "notes", Name: "bob"}); err != nil || got != FirstUID+3 {
		t.Errorf("uid of one that is known: got %d, %v, want %d", got, err, FirstUID+3)
	}
}
