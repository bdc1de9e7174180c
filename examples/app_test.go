package examples

import (
	"context"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
	"tenement.dev/test/machine"
)

// soon bounds everything that takes no time on an idle machine; a start of Python or node takes
// many times as long on a busy one.
const soon = harness.Timeout

// app is an example's process, run as its tenement.toml says, as the instance alice.
type app struct {
	t       *testing.T
	cmd     *exec.Cmd
	address string
	client  *http.Client
	done    chan struct{} // closed when the process has ended and cmd.ProcessState is set
}

// TestMain runs the tests in the throwaway machine, which has what the examples need.
func TestMain(m *testing.M) {
	if !machine.Inside() {
		if err := buildAll(); err != nil {
			log.Fatal(err)
		}
	}
	os.Exit(harness.Main(m))
}

// install copies an example, built, to a directory of its own, which it returns.
func install(t *testing.T, folder string) string {
	t.Helper()
	from, err := built(folder)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := copyTree(from, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// start runs the service of the example in dir until the test ends, and waits until it accepts connections.
func start(t *testing.T, dir, service string) *app {
	t.Helper()
	cfg, err := config.Load(filepath.Join(dir, "tenement.toml"))
	if err != nil {
		t.Fatalf("%v\nThe examples need python3, nodejs and netcat-openbsd.", err)
	}
	port := freePort(t)
	spec, err := cfg.Spec(tenant.ID{Service: service, Name: "alice"}, config.Placement{Port: port})
	if err != nil {
		t.Fatal(err)
	}
	// As Tenement does: an instance finds its data directory made.
	if err := os.MkdirAll(spec.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	output, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	// Not t.Context: that ends before the cleanup below, which ends the whole group.
	cmd := exec.CommandContext(context.Background(), spec.Argv[0], spec.Argv[1:]...)
	cmd.Dir, cmd.Env = spec.WorkDir, spec.Env
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a := &app{
		t:       t,
		cmd:     cmd,
		address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		client:  &http.Client{Transport: &http.Transport{}, Timeout: soon},
		done:    make(chan struct{}),
	}
	go func() {
		_ = cmd.Wait() // its outcome is in cmd.ProcessState
		close(a.done)
	}()
	t.Cleanup(func() {
		a.client.CloseIdleConnections()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the group: also what the app has started
		<-a.done
		_ = output.Close()
		if text, err := os.ReadFile(output.Name()); err == nil && t.Failed() {
			t.Logf("output of %s:\n%s", service, text)
		}
	})
	a.until("accepts connections", func() bool { return a.listens(a.address) })
	return a
}

// listens says whether somebody accepts connections at the address.
func (a *app) listens(address string) bool {
	conn, err := a.connect(address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// connect opens a TCP connection.
func (a *app) connect(address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: soon}).DialContext(a.t.Context(), "tcp", address)
}

// portsTaken makes the ports that freePort tries different from each other.
var portsTaken atomic.Int32

// freePort finds a port below those that the kernel gives to clients, so that none of them takes it in between.
func freePort(t *testing.T) int {
	t.Helper()
	first := rand.IntN(10_000)
	for range 1000 {
		port := 20_000 + (first+int(portsTaken.Add(1)))%10_000
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("got no free port of 1000")
	return 0
}

// until waits for a condition of the running app.
func (a *app) until(what string, ok func() bool) {
	a.t.Helper()
	deadline := time.After(soon)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-a.done:
			a.t.Fatalf("the app ended (%v); want that it %s", a.cmd.ProcessState, what)
		case <-deadline:
			a.t.Fatalf("waited %v; want that the app %s", soon, what)
		}
	}
}

// try sends a request and gives the status and the whole body.
func (a *app) try(method, path, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(a.t.Context(), method, "http://"+a.address+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer of tidings")
	req.Host = "alice.example.org"
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// want sends a request and compares the answer.
func (a *app) want(method, path, body string, status int, text string) {
	a.t.Helper()
	gotStatus, got, err := a.try(method, path, body)
	if err != nil {
		a.t.Errorf("%s %s: %v", method, path, err)
		return
	}
	if gotStatus != status || strings.TrimSuffix(got, "\n") != text {
		a.t.Errorf("%s %s: got %d %q, want %d %q", method, path, gotStatus, got, status, text)
	}
}

// dial opens a connection that is closed with the test, with a deadline so that no read waits for ever.
func (a *app) dial() *net.TCPConn {
	a.t.Helper()
	var conn *net.TCPConn
	a.until("accepts a connection", func() bool {
		c, err := a.connect(a.address)
		conn, _ = c.(*net.TCPConn)
		return err == nil
	})
	a.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(soon)); err != nil {
		a.t.Fatal(err)
	}
	return conn
}

// onlyLoopback checks that the app listens on 127.0.0.1 and on no other address.
func (a *app) onlyLoopback() {
	a.t.Helper()
	_, port, _ := net.SplitHostPort(a.address)
	for _, host := range []string{"127.0.0.2", "::1"} {
		if a.listens(net.JoinHostPort(host, port)) {
			a.t.Errorf("%s: got a connection, want none: only 127.0.0.1", host)
		}
	}
}

// code waits for the end of the process and gives its exit code as a shell would, 128 + N after signal N.
func (a *app) code() int {
	a.t.Helper()
	select {
	case <-a.done:
	case <-time.After(soon):
		a.t.Fatalf("still running after %v", soon)
	}
	if status, ok := a.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return a.cmd.ProcessState.ExitCode()
}

// stop ends the app as Tenement does, with its client's idle connections still open, and checks that it obeys at once,
// with the given exit code, and leaves nobody behind.
func (a *app) stop(want int) {
	a.t.Helper()
	begin := time.Now()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		a.t.Fatalf("SIGTERM: %v", err)
	}
	if got := a.code(); got != want {
		a.t.Errorf("exit code after SIGTERM: got %d, want %d", got, want)
	}
	if took := time.Since(begin); took > 4*time.Second {
		a.t.Errorf("end after SIGTERM: got %v, want less than 4s", took)
	}
	if err := syscall.Kill(-a.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		a.t.Errorf("processes of the app after its end: got some (%v), want none", err)
	}
	if a.listens(a.address) {
		a.t.Errorf("%s after the app's end: got a connection, want none", a.address)
	}
}
