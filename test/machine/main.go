package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Inside reports whether this process runs in a machine.
func Inside() bool { return os.Getenv("TENEMENT_MACHINE") != "" }

// Main is for the TestMain of a package whose tests need a machine:
//
//	func TestMain(m *testing.M) { os.Exit(machine.Main(m)) }
//
// On a host it boots a machine, runs this same test binary in it with the same flags, as root, in the same directory, and
// returns its exit status; in the machine it runs the tests. The repository is visible, read-only, at its own path, and its
// bin directory comes first in PATH. Variables of the environment that begin with TENEMENT_ or GO are passed on. Where no
// machine can be had it says why and returns 1: tests that did not run did not pass.
func Main(m *testing.M) int { return runTests(m, runInMachine) }

// MainVM is Main for tests of what only a kernel of its own can do: it runs them in a virtual machine, as RunVM has it. The
// race detector does not find the address space there that it wants: a test binary with it is built again without.
func MainVM(m *testing.M) int {
	return runTests(m, func(ctx context.Context, binds []Bind, dir string, env, argv []string) (code int, err error) {
		if raceEnabled {
			tmp, err := os.MkdirTemp("", "machine-test-")
			if err != nil {
				return 1, fmt.Errorf("make a directory for the test binary: %w", err)
			}
			defer os.RemoveAll(tmp)
			if argv[0], err = buildWithoutRace(ctx, dir, tmp); err != nil {
				return 1, err
			}
			binds = append(binds, Bind{Host: tmp})
		}
		return RunVM(ctx, Options{Binds: binds}, dir, env, argv...)
	})
}

// buildWithoutRace builds the test binary of the package in dir into out.
func buildWithoutRace(ctx context.Context, dir, out string) (exe string, err error) {
	exe = filepath.Join(out, filepath.Base(dir)+".test")
	args := []string{"test", "-c", "-race=false", "-o", exe}
	if mode := testing.CoverMode(); mode != "" {
		args = append(args, "-covermode=atomic") // what -race has, and more than others have
	}
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Dir = dir
	if err := runQuietly(ctx, "go test -c", cmd); err != nil {
		return "", fmt.Errorf("build the test binary without the race detector: %w", err)
	}
	return exe, nil
}

// runner runs a program in a new machine, which sees binds of the host.
type runner func(ctx context.Context, binds []Bind, dir string, env, argv []string) (code int, err error)

func runInMachine(ctx context.Context, binds []Bind, dir string, env, argv []string) (code int, err error) {
	m, err := Boot(ctx, Options{Binds: binds})
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	return m.Run(ctx, dir, "root", env, argv...)
}

func runTests(m *testing.M, run runner) int {
	if Inside() {
		return m.Run()
	}
	code, err := runInside(run, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "machine:", err)
		if code == 0 {
			code = 1
		}
	}
	return code
}

func runInside(run runner, args []string) (code int, err error) {
	ctx, stop := UntilSignal()
	defer stop()
	exe, err := os.Executable()
	if err != nil {
		return 1, fmt.Errorf("find this test binary: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return 1, fmt.Errorf("find this directory: %w", err)
	}
	repo, err := Repository(dir)
	if err != nil {
		return 1, err
	}
	args, outputs := insideFlags(args, dir)
	binds := []Bind{{Host: repo}}
	if d := filepath.Dir(exe); !slices.Contains(outputs, d) && !within(d, repo) {
		binds = append(binds, Bind{Host: d})
	}
	if d := os.Getenv("GOCOVERDIR"); filepath.IsAbs(d) && !slices.Contains(outputs, d) {
		outputs = append(outputs, d)
	}
	for _, d := range outputs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return 1, fmt.Errorf("make a directory for test output: %w", err)
		}
		binds = append(binds, Bind{Host: d, Write: true})
	}
	env := []string{"PATH=" + filepath.Join(repo, "bin") + ":" + Path}
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "TENEMENT_") || strings.HasPrefix(kv, "GO") {
			env = append(env, kv)
		}
	}
	return run(ctx, binds, dir, env, append([]string{exe}, args...))
}

// Repository is the directory at or above dir that holds go.mod.
func Repository(dir string) (string, error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("there is no go.mod at or above %s: run this in the repository", dir)
		}
	}
}
