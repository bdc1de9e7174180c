package client_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenement.dev/internal/api/apitest"
	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var alice = tenant.ID{Service: "notes", Name: "alice"}

func socketPath(t *testing.T) string { return filepath.Join(t.TempDir(), "api.sock") }

func start(t *testing.T) (*apitest.Daemon, *client.Client) {
	t.Helper()
	d := apitest.Start(t, socketPath(t))
	c := client.New(d.Path)
	t.Cleanup(c.Close)
	return d, c
}

// told gives the error's *tenant.Error, which must have a message and a hint.
func told(t *testing.T, err error) *tenant.Error {
	t.Helper()
	var e *tenant.Error
	if !errors.As(err, &e) || e.Msg == "" || e.Hint == "" {
		t.Fatalf("got %v, want an error for people", err)
	}
	return e
}

func TestLifeOfAnInstance(t *testing.T) {
	_, c := start(t)
	ctx := t.Context()
	out, created, err := c.Spawn(ctx, alice)
	if err != nil || !created || out.ID != alice || out.State != tenant.Awake || out.Woke.TotalMS != 63 {
		t.Fatalf("Spawn: got %+v, %v, %v", out, created, err)
	}
	if _, created, err = c.Spawn(ctx, alice); err != nil || created {
		t.Fatalf("Spawn again: got %v, %v", created, err)
	}
	if out, err = c.Stop(ctx, alice); err != nil || out.State != tenant.Asleep {
		t.Fatalf("Stop: got %+v, %v", out, err)
	}
	if out, err = c.Wake(ctx, alice); err != nil || out.State != tenant.Awake || out.Woke == nil {
		t.Fatalf("Wake: got %+v, %v", out, err)
	}
	if out, err = c.Restart(ctx, alice); err != nil || out.Wakes != 3 {
		t.Fatalf("Restart: got %+v, %v", out, err)
	}
	if inst, err := c.Get(ctx, alice); err != nil || inst.Unit != "tenement-notes@alice.service" {
		t.Fatalf("Get: got %+v, %v", inst, err)
	}
	for service, want := range map[string]int{"": 1, "notes": 1, "web": 0} {
		if list, err := c.List(ctx, service); err != nil || len(list) != want {
			t.Errorf("List(%q): got %+v, %v, want %d", service, list, err, want)
		}
	}
	if err := c.Destroy(ctx, alice); err != nil {
		t.Fatalf("Destroy: %v", err)
	}
	if e := told(t, c.Destroy(ctx, alice)); e.Code != tenant.CodeNotFound {
		t.Errorf("Destroy again: got %+v, want not found", e)
	}
	if v, err := c.Version(ctx); err != nil || v != apitest.Version {
		t.Errorf("Version: got %+v, %v", v, err)
	}
	if checks, err := c.Doctor(ctx); err != nil || len(checks) != 2 {
		t.Errorf("Doctor: got %+v, %v", checks, err)
	}
}

func TestErrorsComeBack(t *testing.T) {
	_, c := start(t)
	_, _, err := c.Spawn(t.Context(), tenant.ID{Service: "broken", Name: "a"})
	e := told(t, err)
	if e.Code != tenant.CodeStartFailed || !slices.Equal(e.Log, []string{apitest.Broken}) || e.Err != nil {
		t.Errorf("Spawn: got %+v", e)
	}
	if _, err := c.List(t.Context(), "NO"); told(t, err).Code != tenant.CodeInvalid {
		t.Errorf("List: got %v, want invalid", err)
	}
}

func TestLogs(t *testing.T) {
	d, c := start(t)
	d.Instances.Put(tenant.Snapshot{ID: alice})
	const unit = "tenement-notes@alice.service"
	for _, m := range []string{"one", "two", "three"} {
		d.Logs.Add(unit, m, m == "three")
	}
	read := func(o client.LogOptions) string {
		t.Helper()
		var got []string
		for e, err := range c.Logs(t.Context(), alice, o) {
			if err != nil {
				t.Fatalf("Logs(%+v): %v", o, err)
			}
			got = append(got, e.Message)
		}
		return strings.Join(got, " ")
	}
	if got := read(client.LogOptions{Lines: -1}); got != "one two three" {
		t.Errorf("all: got %q", got)
	}
	if got := read(client.LogOptions{Lines: 2}); got != "two three" {
		t.Errorf("two: got %q", got)
	}
	if got := read(client.LogOptions{Lines: 2, Since: time.Now().Add(time.Hour)}); got != "" {
		t.Errorf("of the future: got %q", got)
	}
	for _, err := range c.Logs(t.Context(), tenant.ID{Service: "notes", Name: "bob"}, client.LogOptions{}) {
		if told(t, err).Code != tenant.CodeNotFound {
			t.Errorf("of nobody: got %v", err)
		}
	}

	// A consumer that stops, and one whose context ends.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for e, err := range c.Logs(ctx, alice, client.LogOptions{Lines: 1, Follow: true}) {
		if err != nil || e.Message != "three" || !e.Manager {
			t.Errorf("follow: got %+v, %v", e, err)
		}
		break
	}
	if err := d.Logs.AwaitFollowers(ctx, 0); err != nil {
		t.Errorf("after the break: %v", err)
	}
	var last error
	leaving, leave := context.WithCancel(ctx)
	defer leave()
	for _, err := range c.Logs(leaving, alice, client.LogOptions{Lines: 1, Follow: true}) {
		leave()
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("after the end of the context: got %v", last)
	}

	// A daemon that stops.
	last = nil
	for _, err := range c.Logs(ctx, alice, client.LogOptions{Lines: 1, Follow: true}) {
		if err == nil {
			go func() { _ = d.Stop() }()
		}
		last = err
	}
	if e := told(t, last); e.Code != tenant.CodeUnavailable || !strings.Contains(e.Msg, "went away") {
		t.Errorf("after the daemon stopped: got %+v", e)
	}
	_ = d.Stop()
}

func TestNoDaemon(t *testing.T) {
	path := socketPath(t)
	check := func(what string) {
		t.Helper()
		_, err := client.New(path).Version(t.Context())
		if e := told(t, err); !errors.Is(err, client.ErrNoDaemon) || !strings.Contains(e.Msg, path) {
			t.Errorf("%s: got %v", what, err)
		}
	}
	check("no socket")
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	_ = ln.Close()
	check("a stale socket")
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	check("a file")
}

// Something else answers at the socket.
func TestStranger(t *testing.T) {
	for _, says := range []string{
		"", "220 mail ready\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi\n",
		"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nhi\n", "HTTP/1.1 500 X\r\nContent-Length: 2\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{\"instances\":",
	} {
		path := socketPath(t)
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = conn.Write([]byte(says))
				conn.Close()
			}
		}()
		c := client.New(path)
		_, err = c.List(t.Context(), "")
		e := told(t, err)
		if strings.Contains(e.Msg, "went away") == strings.Contains(e.Msg, "is not a Tenement daemon") || !strings.Contains(e.Msg, path) {
			t.Errorf("%q: got %+v", says, e)
		}
		c.Close()
		_ = ln.Close()
		<-done
	}
}

func TestInterrupted(t *testing.T) {
	d, c := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-d.Instances.Waiting()
		cancel()
	}()
	_, _, err := c.Spawn(ctx, tenant.ID{Service: "notes", Name: "slow"})
	if e := told(t, err); !errors.Is(err, context.Canceled) || e.Msg != "interrupted" {
		t.Errorf("got %+v", e)
	}
}

// A user who may not use the socket is told so.
func TestPermission(t *testing.T) {
	d, _ := start(t)
	dir := filepath.Dir(d.Path)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestAsAnotherUser$", "-test.v")
	if os.Getuid() == 0 {
		// Root may use any socket: be somebody else, with a copy that can be reached.
		text, err := os.ReadFile("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path = filepath.Join(dir, "self")
		if err := errors.Join(os.WriteFile(cmd.Path, text, 0o755), os.Chmod(cmd.Path, 0o755), os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	} else if err := os.Chmod(d.Path, 0); err != nil {
		t.Fatal(err)
	}
	cmd.Dir = "/"
	cmd.Env = []string{"CLIENT_TEST_SOCKET=" + d.Path}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestAsAnotherUser") {
		t.Errorf("as another user: %v\n%s", err, out)
	}
}

// TestAsAnotherUser is run by TestPermission.
func TestAsAnotherUser(t *testing.T) {
	path := os.Getenv("CLIENT_TEST_SOCKET")
	if path == "" {
		return
	}
	_, err := client.New(path).Version(t.Context())
	if e := told(t, err); !errors.Is(err, fs.ErrPermission) || errors.Is(err, client.ErrNoDaemon) || !strings.Contains(e.Msg, "no permission") {
		t.Errorf("got %+v", e)
	}
}

// A daemon that hangs takes connections and says nothing: who only looks is told soon.
func TestHungDaemon(t *testing.T) {
	path := socketPath(t)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := client.New(path)
	defer c.Close()
	c.SetPromptness(50 * time.Millisecond)
	_, err = c.List(t.Context(), "")
	e := told(t, err)
	if e.Code != tenant.CodeUnavailable || !strings.Contains(e.Msg, "does not begin to answer within 50ms") || errors.Is(err, client.ErrNoDaemon) {
		t.Errorf("got %v, want that it does not answer", err)
	}
	// Nor does who wants something done wait for ever, where systemd holds the socket of one that does not come up.
	for what, do := range map[string]func() error{
		"spawn": func() error {
			_, _, err := c.Spawn(t.Context(), tenant.ID{Service: "notes", Name: "alice"})
			return err
		},
		"logs": func() error {
			for _, err := range c.AllLogs(t.Context(), "", client.LogOptions{Follow: true}) {
				return err
			}
			return nil
		},
	} {
		if e := told(t, do()); !strings.Contains(e.Msg, "does not begin to answer within 50ms") || !strings.Contains(e.Hint, "journalctl -u tenement") {
			t.Errorf("%s: got %+v, want that it does not answer", what, e)
		}
	}
}
