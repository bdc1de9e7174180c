package systemdtest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenement.dev/dbusctl"
	"tenement.dev/units"
)

// answerScript accepts a connection on descriptor 3, says its pid and stays.
const answerScript = `exec python3 -c '
import os, socket, time
s = socket.socket(fileno=3)
while True:
    c, _ = s.accept()
    c.sendall(b"pid %d" % os.getpid())
    c.close()
'`

func pair(dir string) (socket, svc units.Unit, path string) {
	name := newName()
	path = filepath.Join(dir, strings.TrimPrefix(name, units.Prefix)+".sock")
	socket = units.Unit{Name: name + ".socket", Properties: []units.Property{
		{Name: "Listen", Value: []units.Listen{{Type: "Stream", Address: path}}},
		{Name: "SocketMode", Value: uint32(0o600)},
		{Name: "RemoveOnStop", Value: true},
		{Name: "TriggerLimitIntervalUSec", Value: uint64(0)},
	}}
	svc = service(name+".service", answerScript, units.Property{Name: "StartLimitIntervalUSec", Value: uint64(0)})
	return socket, svc, path
}

// ring connects to a pair's socket and gives what the service says.
func ring(t *testing.T, path string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(within(t, limit), "unix", path)
	noError(t, "connect", err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(limit))
	text, err := io.ReadAll(conn)
	noError(t, "read", err)
	return string(text)
}

func testPair(t *testing.T) {
	c, r := connect(t)
	livePair(t, c, r)
}

// livePair takes a pair through its whole life.
func livePair(t *testing.T, c *dbusctl.Client, r *recorder) {
	t.Helper()
	ctx := within(t, 2*limit)
	socket, svc, path := pair(t.TempDir())
	removeAfter(t, socket.Name, svc.Name)

	mark := r.mark()
	noError(t, "load", c.StartTransient(ctx, socket, svc))
	wantState(t, c, socket.Name, "loaded", "active", "listening")
	wantState(t, c, svc.Name, "loaded", "inactive", "dead")
	r.waitState(t, mark, socket.Name, "active")

	mark = r.mark()
	first := ring(t, path)
	if !strings.HasPrefix(first, "pid ") {
		t.Fatalf("the service said %q", first)
	}
	r.waitState(t, mark, svc.Name, "active")
	wantState(t, c, svc.Name, "loaded", "active", "running")
	pid, err := c.Property(ctx, svc.Name, "Service", "MainPID")
	noError(t, "get MainPID", err)
	if got := fmt.Sprint("pid ", pid); got != first {
		t.Errorf("systemd says %s, the service said %s", got, first)
	}

	mark = r.mark()
	noError(t, "stop the service", c.Stop(ctx, svc.Name))
	wantState(t, c, svc.Name, "loaded", "inactive", "dead")
	r.waitState(t, mark, svc.Name, "inactive")
	exit, err := c.Exit(ctx, svc.Name)
	noError(t, "ask for the exit", err)
	if want := (units.Exit{Result: "success", Code: 2, Status: 15}); exit != want {
		t.Errorf("it ended as %+v, want %+v", exit, want)
	}

	if again := ring(t, path); again == first {
		t.Errorf("the same process answered: %s", again)
	}

	mark = r.mark()
	noError(t, "unload", c.Stop(ctx, socket.Name, svc.Name))
	r.waitGone(t, mark, svc.Name)
	r.waitGone(t, mark, socket.Name)
	wantState(t, c, socket.Name, "not-found", "inactive", "dead")
	wantState(t, c, svc.Name, "not-found", "inactive", "dead")
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the doorbell is still there: %v", err)
	}
}
