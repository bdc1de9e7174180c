package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed hello.py
var helloPy []byte

// tenPath, initPath and webPath are what `make build` makes.
const (
	tenPath  = "bin/ten"
	initPath = "bin/ten-init"
	webPath  = "bin/web"
)

// bareInterval is how often a bare start's port is tried.
const bareInterval = 500 * time.Microsecond

// app is one of the measured programs.
type app struct {
	name string // of the app in the report, and of its services' names
	argv []string
	path string // what is asked for; cheap in every app
}

// checkBuilt says what is missing.
func checkBuilt(repo string) error {
	for _, path := range []string{tenPath, initPath, webPath} {
		if _, err := os.Stat(filepath.Join(repo, path)); err != nil {
			return fmt.Errorf("%s is not there: `make build` makes it", path)
		}
	}
	return nil
}

// installApps puts the apps into dir, from where instances can execute them.
func installApps(repo, dir string) ([]app, error) {
	python, errPython := exec.LookPath("python3")
	node, errNode := exec.LookPath("node")
	web, errWeb := os.ReadFile(filepath.Join(repo, webPath))
	server, errServer := os.ReadFile(filepath.Join(repo, "examples/node/server.mjs"))
	if err := errors.Join(errPython, errNode, errWeb, errServer); err != nil {
		return nil, err
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	return []app{
			{"python", []string{python, at("hello.py")}, "/"},
			{"node", []string{node, at("server.mjs")}, "/"},
			{"go", []string{at("web")}, "/health"},
		}, errors.Join(
			os.WriteFile(at("hello.py"), helloPy, 0o644),
			os.WriteFile(at("server.mjs"), server, 0o644),
			os.WriteFile(at("web"), web, 0o755),
		)
}

// startBare starts the app by hand and gives the time from before fork until the
// first byte of its answer.
func (a app) startBare(ctx context.Context, dir string, port int) (took time.Duration, err error) {
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		return 0, fmt.Errorf("bare start of %s: something listens on %s already", a.name, addr)
	}
	data, err := os.MkdirTemp(dir, "bare-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(data)
	cmd := exec.Command(a.argv[0], a.argv[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + data, "DATA_DIR=" + data, "PORT=" + strconv.Itoa(port)}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err != nil {
			err = fmt.Errorf("bare start of %s: %w\n%s", a.name, err, stderr.String())
		}
	}()
	conn, err := dialPatiently(ctx, addr)
	if err != nil {
		return 0, err
	}
	answer, err := ask(ctx, conn, addr, a.path)
	return answer.firstByte.Sub(begun), err
}

// dialPatiently tries to connect until somebody listens.
func dialPatiently(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	tick := time.NewTicker(bareInterval)
	defer tick.Stop()
	var d net.Dialer
	for {
		conn, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("nobody listens on %s: %w", addr, err)
		case <-tick.C:
		}
	}
}
