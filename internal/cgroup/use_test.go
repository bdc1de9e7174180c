package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

func TestUse(t *testing.T) {
	id := tenant.ID{Service: "notes", Name: "alice"}
	tree := Tree{t.TempDir()}
	if _, err := tree.Use(id); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not running: got %v, want it not to exist", err)
	}
	if err := os.MkdirAll(tree.Dir(id), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(tree.Dir(id), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("cpu.stat", "usage_usec 1500000\n")
	got, err := tree.Use(id)
	if want := (Use{1500 * time.Millisecond, -1, -1, -1, -1, -1, -1}); err != nil || got != want {
		t.Errorf("without controllers: got %+v, %v, want %+v", got, err, want)
	}
	write("memory.current", "4096\n")
	write("memory.swap.current", "0\n")
	write("memory.max", "max\n")
	write("pids.current", "7\n")
	write("io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n252:1 rbytes=1 wbytes=2 rios=1 wios=1\n")
	got, err = tree.Use(id)
	if want := (Use{1500 * time.Millisecond, 4096, 0, -1, 7, 11, 22}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	write("io.stat", "")
	if got, err = tree.Use(id); err != nil || got.Read != 0 || got.Written != 0 {
		t.Errorf("nothing read or written: got %+v, %v, want 0 of each", got, err)
	}
	write("memory.max", "lots\n")
	if got, err = tree.Use(id); err == nil {
		t.Errorf("got %+v of a file that has no number, want an error", got)
	}
}
