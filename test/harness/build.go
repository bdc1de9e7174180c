package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"tenement.dev/test/machine"
)

// programs are what tests run, by the name in bin/.
var programs = map[string]string{
	"ten":      "./cmd/ten",
	"ten-init": "./cmd/ten-init",
	"testapp":  "./test/testapp",
	"web":      "./examples/go-http",
	"hostile":  "./test/hostile/tenant",
}

// Main is for TestMain: it builds the programs and runs the package's tests inside
// the machine.
func Main(m *testing.M) int { return build(m, machine.Main) }

// MainVM is Main for tests that need a kernel of their own: it runs them inside a
// virtual machine.
func MainVM(m *testing.M) int { return build(m, machine.MainVM) }

func build(m *testing.M, run func(*testing.M) int) int {
	// The Makefile has built them already, and would not want its own replaced while
	// other packages' tests use them.
	if !machine.Inside() && os.Getenv("TENEMENT_BUILT") == "" {
		if err := Build(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return run(m)
}

// Build builds all programs into bin/, as they are shipped: without cgo.
func Build() error {
	repo, err := Repository()
	if err != nil {
		return err
	}
	for name, pkg := range programs {
		cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(repo, "bin", name), pkg)
		cmd.Dir = repo
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// Repository is the root of this repository.
func Repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	return machine.Repository(dir)
}

// Bin is the path of a program in bin/.
func Bin(name string) (string, error) {
	repo, err := Repository()
	if err != nil {
		return "", err
	}
	return filepath.Join(repo, "bin", name), nil
}
