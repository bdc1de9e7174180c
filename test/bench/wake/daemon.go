package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// domain is the base domain of the measured instances.
const domain = "localhost"

// daemon is a running `ten serve` with a directory of its own.
type daemon struct {
	ten  string
	dir  string
	env  []string
	addr string
	cmd  *exec.Cmd
	log  bytes.Buffer
	// ended is closed when the daemon has ended.
	ended chan struct{}
}

// startDaemon runs `ten serve` in dir and returns when it serves.
func startDaemon(ctx context.Context, repo, dir, config string, port int) (*daemon, error) {
	if err := os.WriteFile(filepath.Join(dir, "tenement.toml"), []byte(config), 0o644); err != nil {
		return nil, err
	}
	d := &daemon{
		ten: filepath.Join(repo, tenPath), dir: dir, ended: make(chan struct{}),
		addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		env:  append(os.Environ(), "RUNTIME_DIRECTORY="+runtimeDir, "STATE_DIRECTORY="+filepath.Join(dir, "state")),
	}
	d.cmd = exec.Command(d.ten, "serve", "--port", strconv.Itoa(port), "--domain", domain)
	d.cmd.Dir, d.cmd.Env, d.cmd.Stderr = dir, d.env, &d.log
	// Ctrl-C is for the benchmark, which ends the daemon when it has tidied up.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := d.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	first := make(chan string, 1)
	go func() {
		lines := bufio.NewReader(stdout)
		line, _ := lines.ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, lines)
		_ = d.cmd.Wait()
		close(d.ended)
	}()
	select {
	case line := <-first:
		if strings.HasPrefix(line, "serving ") {
			return d, nil
		}
		err = errors.New("ten serve ended at once")
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-time.After(stepTimeout):
		err = errors.New("ten serve was not ready in time")
	}
	return nil, fmt.Errorf("%w\n%s", errors.Join(err, d.end()), d.lastWords())
}

// end stops the daemon. What it said is in the error, if there is one.
func (d *daemon) end() error {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	var err error
	select {
	case <-d.ended:
	case <-time.After(stepTimeout):
		err = errors.New("ten serve did not end")
		_ = d.cmd.Process.Kill()
		<-d.ended
	}
	if code := d.cmd.ProcessState.ExitCode(); err == nil && code != 0 {
		err = fmt.Errorf("ten serve: %v", d.cmd.ProcessState)
	}
	return err
}

// lastWords are the last lines that the daemon wrote, which has ended.
func (d *daemon) lastWords() string {
	lines := strings.Split(strings.TrimSpace(d.log.String()), "\n")
	return strings.Join(lines[max(len(lines)-15, 0):], "\n")
}

// run runs a ten command.
func (d *daemon) run(ctx context.Context, args ...string) ([]byte, error) {
	return d.runFor(ctx, stepTimeout, args...)
}

// runFor is run with a bound of its own.
func (d *daemon) runFor(ctx context.Context, timeout time.Duration, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.ten, args...)
	cmd.Dir, cmd.Env = d.dir, d.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ten %s: %w: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out, nil
}

// awaitState waits until an instance is in a state.
func (d *daemon) awaitState(ctx context.Context, id, want string) error {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := d.run(ctx, "ps", "--json")
		if err != nil {
			return err
		}
		var list []struct{ ID, State string }
		if err := json.Unmarshal(out, &list); err != nil {
			return fmt.Errorf("ten ps --json: %w", err)
		}
		for _, i := range list {
			if i.ID == id && i.State == want {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not %s in time: %s", id, want, out)
		case <-tick.C:
		}
	}
}

// awaitArmed waits until so many instances are armed, or no more are, and gives how many
// that is.
func (d *daemon) awaitArmed(ctx context.Context, want int) (armed int, err error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	grown := time.Now()
	for {
		out, err := d.run(ctx, "ps", "--json")
		if err != nil {
			return 0, err
		}
		var list []struct{ Armed bool }
		if err := json.Unmarshal(out, &list); err != nil {
			return 0, fmt.Errorf("ten ps --json: %w", err)
		}
		now := 0
		for _, i := range list {
			if i.Armed {
				now++
			}
		}
		if now > armed {
			armed, grown = now, time.Now()
		}
		if now >= want || time.Since(grown) > armTimeout {
			return now, nil
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// wake makes a request that is to wake an instance. It gives the milliseconds from
// before the connection until the first byte of the answer, and those of the phases.
func (d *daemon) wake(ctx context.Context, id, path, kind string) (float64, map[string]float64, error) {
	service, name, _ := strings.Cut(id, ":")
	begun := time.Now()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return 0, nil, err
	}
	a, err := ask(ctx, conn, name+"."+service+"."+domain, path)
	if err != nil {
		return 0, nil, err
	}
	total := milliseconds(a.firstByte.Sub(begun))
	got, parts, err := parseTiming(a.header.Get("Server-Timing"))
	if err != nil {
		return 0, nil, fmt.Errorf("%s wake of %s: %w", kind, id, err)
	}
	if got != kind {
		return 0, nil, fmt.Errorf("%s wake of %s: it was a %s one", kind, id, got)
	}
	parts[rest] = total
	for _, phase := range phases {
		if phase != rest {
			parts[rest] -= parts[phase]
		}
	}
	return total, parts, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
