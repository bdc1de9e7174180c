package packaging

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"tenement.dev/test/machine"
)

// The versions of the packages that are built: a release, and the one after it.
const (
	oldVersion = "1.0.0"
	newVersion = "1.0.1+5.gaaaaaaaaaaaa"
)

// work is where packages are built; TestMain removes it. $TENEMENT_PACKAGES is used instead,
// and kept: what it has is not built again, which saves time while tests are written.
var work string

func TestMain(m *testing.M) {
	if work = os.Getenv("TENEMENT_PACKAGES"); work != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "tenement-packaging-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		os.Exit(1)
	}
	work = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "packaging:", err)
		code = 1
	}
	os.Exit(code)
}

// repository is the root of this repository.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return machine.Repository(dir)
}

// builder compiles packaging/build, once.
var builder = sync.OnceValues(func() (string, error) {
	repo, err := repository()
	if err != nil {
		return "", err
	}
	path := filepath.Join(work, "build")
	cmd := exec.Command("go", "build", "-o", path, "./packaging/build")
	cmd.Dir = repo
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build packaging/build: %w\n%s", err, out)
	}
	return path, nil
})

// build makes the packages of a version for this architecture in a directory.
func build(dir, version string) error {
	repo, err := repository()
	if err != nil {
		return err
	}
	program, err := builder()
	if err != nil {
		return err
	}
	cmd := exec.Command(program, "-arch", runtime.GOARCH, "-version", version, "-out", dir)
	cmd.Dir = repo
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build version %s: %w\n%s", version, err, out)
	}
	return nil
}

// packages has each version's packages built once, in a directory of its own.
var packages = map[string]func() (string, error){
	oldVersion: sync.OnceValues(func() (string, error) { return buildNew(oldVersion) }),
	newVersion: sync.OnceValues(func() (string, error) { return buildNew(newVersion) }),
}

func buildNew(version string) (string, error) {
	dir := filepath.Join(work, version)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // in $TENEMENT_PACKAGES
	}
	return dir, build(dir, version)
}

// built is the path of a package: kind is "deb" or "rpm".
func built(t *testing.T, version, kind string) string {
	t.Helper()
	dir, err := packages[version]()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "tenement?"+version+"*."+kind))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages of version %s: got %v (%v), want one .%s", version, found, err, kind)
	}
	return found[0]
}

// The same source gives the same bytes.
func TestReproducible(t *testing.T) {
	again := filepath.Join(work, "again")
	if err := build(again, oldVersion); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"deb", "rpm"} {
		first := built(t, oldVersion, kind)
		want, err := os.ReadFile(first)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(again, filepath.Base(first)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: two builds differ: %d and %d bytes", filepath.Base(first), len(want), len(got))
		}
	}
}
