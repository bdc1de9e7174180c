package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/ingress"
)

// deafGrace is what an app has that does not hear SIGTERM.
const deafGrace = 300 * time.Millisecond

// program is ten-init as it is shipped: no cgo, no race detector.
var program string

// TestMain builds ten-init and runs the tests in a network of their own, where nobody else
// takes a port that is free. With appMode set this program is an app that ten-init has started.
func TestMain(m *testing.M) {
	if mode := os.Getenv(appMode); mode != "" {
		runApp(mode)
		return
	}
	if os.Getenv(apart) == "" {
		os.Exit(runApart())
	}
	if err := loopbackUp(); err != nil {
		fmt.Fprintf(os.Stderr, "bring the loopback interface up: %v\n", err)
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "ten-init-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "ten-init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build ten-init: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

const (
	appMode = "TEN_INIT_TEST_APP"
	apart   = "TEN_INIT_TEST_APART" // set where the network is of the tests' own
)

// bound bounds what takes no time where nothing else runs.
const bound = 20 * time.Second

// runApart runs this program again in a network namespace of its own, and gives its exit code.
func runApart() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), apart+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is about the thread
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		fmt.Fprintf(os.Stderr, "run the tests in a network of their own: %v (they need root)\n", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}

// loopbackUp is `ip link set lo up` (netdevice(7)).
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// runApp is an app: it listens where ADDRESS says and answers HTTP with what it finds.
func runApp(mode string) {
	parent := os.Getppid()
	network, address := "tcp", os.Getenv("ADDRESS")
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	listen := func() net.Listener {
		if mode == "fd" {
			l, err := net.FileListener(os.NewFile(3, "app"))
			check(err)
			return l
		}
		l, err := net.Listen(network, address)
		check(err)
		return l
	}
	switch mode {
	case "slow":
		time.Sleep(300 * time.Millisecond)
	case "exit":
		os.Exit(3)
	case "hang":
		select {}
	case "die":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "trap":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		go func() {
			<-signals
			check(os.WriteFile(os.Getenv("MARK"), []byte("bye"), 0o600))
			os.Exit(7)
		}()
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
	case "behind shell": // which SIGTERM ends at once
		check(os.Setenv(appMode, "tidy"))
		cmd := exec.Command(os.Args[0], "x")
		cmd.Stderr = os.Stderr
		check(cmd.Start())
		select {}
	case "daemon":
		check(os.Setenv(appMode, "slow"))
		check(exec.Command(os.Args[0], "x").Start())
		os.Exit(0)
	case "tidy":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		go func() {
			<-signals
			for os.Getppid() == parent { // the shell ends meanwhile
				time.Sleep(time.Millisecond)
			}
			time.Sleep(200 * time.Millisecond)
			check(os.WriteFile(os.Getenv("MARK"), []byte("bye"), 0o600))
			os.Exit(7)
		}()
	case "fence":
		tryFence()
	case "orphans":
		// Each child leaves a grandchild behind, which is ten-init's from then on.
		for range 20 {
			check(exec.Command("/bin/sh", "-c", "sleep 0.05 & exit 0").Run())
		}
	}
	l := listen()
	if mode == "once" {
		conn, err := l.Accept()
		check(err)
		conn.Close()
		l.Close()
		select {}
	}
	for n := 1; mode == "anew"; n++ { // as netcat
		conn, err := l.Accept()
		check(err)
		l.Close()
		_, err = http.ReadRequest(bufio.NewReader(conn))
		check(err)
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%d\nN=%d\n", os.Getpid(), n)
		conn.Close()
		time.Sleep(20 * time.Millisecond)
		l = listen()
	}
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%d\n%s\n", os.Getpid(), strings.Join(os.Environ(), "\n"))
	})
	check(http.Serve(l, nil))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// instance is a running ten-init.
type instance struct {
	t       *testing.T
	cmd     *exec.Cmd
	bell    ingress.Doorbell
	exited  chan struct{}
	address string
	mark    string
	calls   []net.Conn // that were waiting when it was started; refused takes them
}

// start starts ten-init with an app. kind is "port", "unix" or "fd". A ring is sent
// before, as systemd starts it only when there is one.
func start(t *testing.T, mode, kind string, change func(*exec.Cmd)) *instance {
	t.Helper()
	return startFor(t, []ingress.Verb{ingress.Ready}, mode, kind, change)
}

// startFor is start with these calls waiting; an empty one has yet to say what it is.
func startFor(t *testing.T, calls []ingress.Verb, mode, kind string, change func(*exec.Cmd)) *instance {
	t.Helper()
	dir := t.TempDir()
	i := &instance{t: t, bell: ingress.Doorbell(filepath.Join(dir, "bell.sock")), exited: make(chan struct{}), mark: filepath.Join(dir, "mark")}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: string(i.bell), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	bell, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer bell.Close()
	defer l.Close()
	listen := "port:" + freePort(t)
	i.address = "127.0.0.1:" + strings.TrimPrefix(listen, "port:")
	if kind != "port" {
		i.address = filepath.Join(dir, "app.sock")
		listen = kind + ":" + i.address
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	startup, grace := "30s", "30s" // more than anything takes here
	switch mode {
	case "hang":
		startup = "3s"
	case "deaf":
		grace = deafGrace.String()
	}
	i.cmd = exec.Command(program, "-listen", listen, "-startup-timeout", startup, "-stop-grace", grace, "--", self, "x")
	i.cmd.Env = append(os.Environ(), appMode+"="+mode, "ADDRESS="+i.address, "MARK="+i.mark, "LISTEN_PID=1", "LISTEN_FDS=1", "NOTIFY_SOCKET=")
	i.cmd.ExtraFiles = []*os.File{bell}
	i.cmd.Stderr = t.Output()
	// If the test dies, so does it.
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if change != nil {
		change(i.cmd)
	}
	for _, verb := range calls {
		call, err := net.Dial("unix", string(i.bell))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { call.Close() })
		call.SetDeadline(time.Now().Add(bound))
		if verb != "" {
			if _, err := fmt.Fprintln(call, verb); err != nil {
				t.Fatal(err)
			}
		}
		i.calls = append(i.calls, call)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(i.exited)
		_ = i.cmd.Wait()
	}()
	t.Cleanup(func() {
		select {
		case <-i.exited: // its number may be another process's by now
			return
		default:
		}
		for _, pid := range append(i.children(), i.cmd.Process.Pid) { // all, as systemd does
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
		select {
		case <-i.exited:
		case <-time.After(bound):
			t.Error("ten-init does not end")
			for _, pid := range append(i.children(), i.cmd.Process.Pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			<-i.exited
		}
	})
	return i
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// ends waits for ten-init to end and gives its exit code.
func (i *instance) ends() int {
	i.t.Helper()
	select {
	case <-i.exited:
	case <-time.After(bound):
		i.t.Fatal("ten-init runs on")
	}
	return i.cmd.ProcessState.ExitCode()
}

func (i *instance) do(verb ingress.Verb) (ingress.Answer, error) {
	ctx, cancel := context.WithTimeout(i.t.Context(), bound)
	defer cancel()
	return i.bell.Do(ctx, verb)
}

// get connects and makes a request: the app's pid and environment.
func (i *instance) get() (pid int, environ map[string]string, err error) {
	ctx, cancel := context.WithTimeout(i.t.Context(), bound)
	defer cancel()
	conn, _, err := i.bell.Connect(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(bound))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	first, rest, _ := strings.Cut(string(body), "\n")
	environ = map[string]string{}
	for line := range strings.Lines(rest) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		environ[name] = value
	}
	pid, aerr := strconv.Atoi(first)
	return pid, environ, errors.Join(err, aerr)
}

// refused checks the class of the refusal of a ring, first of those that were waiting when
// ten-init was started: it may be gone before another one comes.
func (i *instance) refused(want ingress.Class, text string) {
	i.t.Helper()
	if len(i.calls) > 0 {
		call := i.calls[0]
		i.calls = i.calls[1:]
		got, err := bufio.NewReader(call).ReadString('\n')
		if err != nil || !strings.HasPrefix(got, "error "+string(want)+" ") || !strings.Contains(got, text) {
			i.t.Fatalf("ring: got %q, %v, want class %q with %q", got, err, want, text)
		}
		return
	}
	_, err := i.do(ingress.Ready)
	var refusal *ingress.Refusal
	if !errors.As(err, &refusal) || refusal.Class != want || !strings.Contains(refusal.Text, text) {
		i.t.Fatalf("ring: got %v, want class %q with %q", err, want, text)
	}
}

func TestConnect(t *testing.T) {
	for _, kind := range []string{"port", "unix", "fd"} {
		t.Run(kind, func(t *testing.T) {
			mode := "slow"
			if kind == "fd" {
				mode = "fd"
			}
			i := start(t, mode, kind, nil)
			pid, environ, err := i.get()
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"NOTIFY_SOCKET", "LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID"} {
				want := map[string]string{"LISTEN_FDNAMES": "app", "LISTEN_FDS": "1", "LISTEN_PID": strconv.Itoa(pid)}[name]
				if kind != "fd" {
					want = ""
				}
				if got := environ[name]; got != want {
					t.Errorf("got %s=%q, want %q", name, got, want)
				}
			}
			answer, err := i.do(ingress.Status)
			if err != nil || answer.ReadyAt < answer.InitAt || answer.InitAt == 0 || answer.Dozing {
				t.Errorf("status: got %+v, %v", answer, err)
			}
			if again, _, err := i.get(); err != nil || again != pid {
				t.Errorf("got pid %d, %v, want %d", again, err, pid)
			}
		})
	}
}

func TestManyConnects(t *testing.T) {
	i := start(t, "slow", "port", nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	pids := map[int]int{}
	for range 200 {
		wg.Go(func() {
			pid, _, err := i.get()
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			pids[pid]++
		})
	}
	wg.Wait()
	if len(pids) != 1 {
		t.Errorf("got answers of processes %v, want one", pids)
	}
	// None of its own descriptors are left over, once all are answered.
	var fds int
	for end := time.Now().Add(bound); time.Now().Before(end); {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", i.cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if fds = len(entries); fds < 20 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("ten-init has %d open descriptors", fds)
}

// A backlog of one, as an app that calls listen(2) with a small number has it.
func TestSmallBacklog(t *testing.T) {
	i := start(t, "", "port", func(cmd *exec.Cmd) {
		cmd.Args = append(cmd.Args[:8], "/usr/bin/python3", "-c", "import http.server as h, socketserver, sys\n"+
			"socketserver.TCPServer.request_queue_size = 1\n"+
			"h.HTTPServer(('127.0.0.1', int(sys.argv[1])), h.SimpleHTTPRequestHandler).serve_forever()", strings.TrimPrefix(cmd.Args[2], "port:"))
	})
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatal("needs python3")
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, _, err := i.get()
			var num *strconv.NumError // it answers with a listing and not with a pid
			if err != nil && !errors.As(err, &num) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestFailingStarts(t *testing.T) {
	for _, c := range []struct {
		name, mode string
		change     func(*exec.Cmd)
		class      ingress.Class
		text       string
		code       int
	}{
		{"exits", "exit", nil, ingress.ClassExited, "exit status 3", 3},
		{"is killed", "die", nil, ingress.ClassExited, "signal 9", 137},
		{"hangs", "hang", func(c *exec.Cmd) { c.Args[4] = "200ms" }, ingress.ClassTimeout, "200ms", exitTimeout},
		{"is not there", "", func(c *exec.Cmd) { c.Args[8] = "/is/not/there" }, ingress.ClassExec, "no such file", exitExec},
		{"cannot be executed", "", func(c *exec.Cmd) { c.Args[8] = "/etc/passwd" }, ingress.ClassExec, "permission denied", exitExec},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := startFor(t, slices.Repeat([]ingress.Verb{ingress.Ready}, 10), c.mode, "port", c.change)
			for range 10 {
				i.refused(c.class, c.text)
			}
			if got := i.ends(); got != c.code {
				t.Errorf("got exit code %d, want %d", got, c.code)
			}
		})
	}
}

func TestPortTaken(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		i := start(t, "slow", "port", func(c *exec.Cmd) { c.Args[2] = "port:" + port })
		i.refused(ingress.ClassPortTaken, port)
		if got := i.ends(); got != exitBusy {
			t.Errorf("%s: got exit code %d, want %d", address, got, exitBusy)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"--", "/bin/true"}, {"-listen", "port:0", "--", "/bin/true"}, {"-listen", "port:80"}, {"-nonsense"}, {"-own-port", "-listen", "unix:/x", "--", "/bin/true"},
		{"-listen", "port:80", "-runsc", "/usr/bin/runsc"}, {"-listen", "port:80", "-bundle", "/x"}, {"-listen", "fd:/x", "-runsc", "/usr/bin/runsc", "-bundle", "/x"},
		{"-listen", "port:80", "-runsc", "/usr/bin/runsc", "-bundle", "/x", "--", "/bin/true"}} {
		cmd := exec.Command(program, args...)
		_ = cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != exitUsage {
			t.Errorf("%q: got exit code %d, want %d", args, got, exitUsage)
		}
	}
	// Without a doorbell.
	cmd := exec.Command(program, "-listen", "port:80", "--", "/bin/true")
	_ = cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != exitUsage {
		t.Errorf("no descriptor 3: got exit code %d, want %d", got, exitUsage)
	}
}

// terminate does as systemd does with KillMode=control-group: all processes get it. The app
// may have ended, and ten-init with it, before the second has.
func (i *instance) terminate(pid int) {
	i.t.Helper()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		i.t.Fatal(err)
	}
	if err := i.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		i.t.Fatal(err)
	}
}

func TestStop(t *testing.T) {
	for _, c := range []struct {
		mode string
		code int
		mark string
	}{
		{"slow", 143, ""},  // ended by the signal
		{"trap", 7, "bye"}, // its handler ran
		{"deaf", 137, ""},  // killed after the grace
	} {
		t.Run(c.mode, func(t *testing.T) {
			i := start(t, c.mode, "port", nil)
			pid, _, err := i.get()
			if err != nil {
				t.Fatal(err)
			}
			i.terminate(pid)
			begun := time.Now()
			if got := i.ends(); got != c.code { // before the grace of 30s ends, which is not waited for
				t.Errorf("got exit code %d, want %d", got, c.code)
			}
			if took := time.Since(begun); c.mode == "deaf" && took < deafGrace {
				t.Errorf("it was killed after %v, want it to have %v", took, deafGrace)
			}
			if mark, _ := os.ReadFile(i.mark); string(mark) != c.mark {
				t.Errorf("got mark %q, want %q", mark, c.mark)
			}
			if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("the app is still there: %v", err)
			}
		})
	}
}

// What serves may be the child of a shell, which SIGTERM ends at once: the grace is for both.
func TestStopBehindShell(t *testing.T) {
	i := start(t, "behind shell", "port", nil)
	pid, _, err := i.get()
	if err != nil {
		t.Fatal(err)
	}
	shells := i.children()
	if len(shells) != 1 || shells[0] == pid {
		t.Fatalf("got children %v and the app %d, want one shell before it", shells, pid)
	}
	if err := syscall.Kill(shells[0], syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	i.terminate(pid)
	if got := i.ends(); got != 143 {
		t.Errorf("got exit code %d, want the shell's, 143", got)
	}
	if mark, _ := os.ReadFile(i.mark); string(mark) != "bye" {
		t.Errorf("got mark %q, want %q: the app was not let end by itself", mark, "bye")
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the app is still there: %v", err)
	}
}

// Where all have ended by the time that ten-init's own SIGTERM comes, it does not wait for
// anybody.
func TestStopThatComesLast(t *testing.T) {
	i := start(t, "behind shell", "port", nil)
	pid, _, err := i.get()
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range append(i.children(), pid) {
		if err := syscall.Kill(process, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	ended := func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	}
	for end := time.Now().Add(bound); !ended(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the app runs on")
		}
	}
	if err := i.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	if got := i.ends(); got != 143 { // before the grace of 30s ends
		t.Errorf("got exit code %d, want the shell's, 143", got)
	}
}

// The same within a sandbox, where nobody counts the grace.
func TestStopWithinThatComesLast(t *testing.T) {
	cmd := exec.Command(program, "--within", "/bin/sh", "-c", "sleep 0.1 & kill -TERM $$")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID} // orphans are for the first process
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := time.AfterFunc(bound, func() { _ = cmd.Process.Kill() })
	time.AfterFunc(250*time.Millisecond, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); !ended.Stop() || got != 143 {
		t.Errorf("got exit code %d, want the shell's, 143, without being killed", got)
	}
}

// The keeper's SIGINT stops what has not heard systemd's SIGTERM, and is nothing to what
// has.
func TestStopThatIsToldAgain(t *testing.T) {
	for _, heard := range []bool{false, true} {
		i := start(t, "trap", "port", nil)
		pid, _, err := i.get()
		if err != nil {
			t.Fatal(err)
		}
		if heard {
			i.terminate(pid)
		}
		if err := i.cmd.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		if got := i.ends(); got != 7 {
			t.Errorf("heard %v: got exit code %d, want 7", heard, got)
		}
		if mark, _ := os.ReadFile(i.mark); string(mark) != "bye" {
			t.Errorf("heard %v: the app was not asked to end", heard)
		}
	}
}

func TestCrashWhileRunning(t *testing.T) {
	i := start(t, "slow", "port", nil)
	pid, _, err := i.get()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSEGV); err != nil {
		t.Fatal(err)
	}
	if got := i.ends(); got != 128+int(syscall.SIGSEGV) && got != 2 { // Go programs exit with 2
		t.Errorf("got exit code %d, want that of the signal", got)
	}
}

// An app that goes into the background ends, and is told why.
func TestDaemon(t *testing.T) {
	said, err := os.Create(filepath.Join(t.TempDir(), "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	i := start(t, "daemon", "port", func(cmd *exec.Cmd) { cmd.Stderr = said })
	if got := i.ends(); got != 0 {
		t.Errorf("got exit code %d, want the app's, 0", got)
	}
	text, err := os.ReadFile(said.Name())
	if want := "must stay in the foreground"; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("it said %q (%v), want %q", text, err, want)
	}
	for end := time.Now().Add(bound); ; time.Sleep(time.Millisecond) { // without a PID namespace nobody waits for its end
		conn, err := net.Dial("tcp", i.address)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(end) {
			t.Fatal("what the app has left behind still listens")
		}
	}
}

// An app that closes its socket refuses; ten-init says so after a moment, and no sooner.
func TestRefusal(t *testing.T) {
	i := start(t, "once", "port", nil)
	if _, err := i.do(ingress.Ready); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(bound); time.Now().Before(end); { // until it has closed its socket
		conn, err := net.Dial("tcp", i.address)
		if err != nil {
			break
		}
		conn.Close()
		time.Sleep(time.Millisecond)
	}
	begun := time.Now()
	_, _, err := i.get()
	var refusal *ingress.Refusal
	if !errors.As(err, &refusal) || refusal.Class != ingress.ClassRefused {
		t.Errorf("got %v, want a refusal", err)
	}
	if took := time.Since(begun); took < refusedPatience {
		t.Errorf("took %v, want %v", took, refusedPatience)
	}
}

func TestOrphansAreReaped(t *testing.T) {
	i := start(t, "orphans", "port", nil)
	if _, _, err := i.get(); err != nil {
		t.Fatal(err)
	}
	var left []int
	for end := time.Now().Add(bound); time.Now().Before(end); {
		if left = i.children(); len(left) == 1 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("got children %v, want the app alone", left)
}

// children are the processes that ten-init is the parent of.
func (i *instance) children() []int {
	i.t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", i.cmd.Process.Pid))
	if err != nil {
		i.t.Fatal(err)
	}
	var pids []int
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				i.t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestBadCallers(t *testing.T) {
	i := start(t, "slow", "port", nil)
	for _, text := range []string{"", "nonsense\n", "connect", strings.Repeat("x", 100), "\x00\n"} {
		conn, err := net.Dial("unix", string(i.bell))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, text)
		defer conn.Close()
	}
	_, err := i.do("nonsense")
	var refusal *ingress.Refusal
	if !errors.As(err, &refusal) || refusal.Class != ingress.ClassBadRequest {
		t.Errorf("got %v, want a refusal", err)
	}
	if _, _, err := i.get(); err != nil {
		t.Error(err)
	}
	// On this side of systemd there is no cgroup of its own to freeze.
	if _, err := i.do(ingress.Doze); !errors.As(err, &refusal) || refusal.Class != ingress.ClassUnsupported {
		t.Errorf("doze: got %v, want a refusal", err)
	}
}

// What every awake instance costs beside its app.
func TestMemory(t *testing.T) {
	i := start(t, "slow", "port", nil)
	for range 200 {
		if _, _, err := i.get(); err != nil {
			t.Fatal(err)
		}
	}
	const limit = 1500
	deadline := time.Now().Add(bound)
	for {
		kb := rssAnon(t, i.cmd.Process.Pid)
		if kb <= limit {
			t.Logf("%d kB of anonymous memory", kb)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %d kB of anonymous memory, want at most %d", kb, limit)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func rssAnon(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "RssAnon:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb
}

// A stop during the start is no failed start: who waits is to ring again.
func TestStopDuringTheStart(t *testing.T) {
	for range 10 {
		i := start(t, "hang", "port", func(c *exec.Cmd) { c.Args[4] = "30s" })
		done := make(chan error, 1)
		go func() {
			_, err := i.do(ingress.Ready)
			done <- err
		}()
		if _, err := i.do(ingress.Status); err != nil { // it takes calls
			t.Fatal(err)
		}
		pids := i.children()
		if len(pids) != 1 {
			t.Fatalf("got children %v, want the app", pids)
		}
		i.terminate(pids[0])
		var refusal *ingress.Refusal
		if err := <-done; !errors.Is(err, ingress.ErrHungUp) && (!errors.As(err, &refusal) || refusal.Class != ingress.ClassGone) {
			t.Fatalf("ring: got %v, want that it is to be repeated", err)
		}
		i.ends()
	}
}

// An app that is started only after systemd has told all processes to stop is told by ten-init.
func TestStopBeforeTheStart(t *testing.T) {
	for _, c := range []struct {
		verb ingress.Verb
		code int
	}{
		{ingress.Ready, 143}, // ended by the signal
		{ingress.Arm, 0},     // there is no app
	} {
		i := startFor(t, []ingress.Verb{"", ""}, "slow", "port", nil)
		if err := i.calls[0].(*net.UnixConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := i.calls[0].Read(make([]byte, 1)); !errors.Is(err, io.EOF) { // it waits for the next one
			t.Fatalf("got %d bytes, %v, want it to hang up", n, err)
		}
		if err := i.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintln(i.calls[1], c.verb); err != nil {
			t.Fatal(err)
		}
		if got := i.ends(); got != c.code {
			t.Errorf("%s: got exit code %d, want %d", c.verb, got, c.code)
		}
	}
}

// A crowd for which there are not descriptors enough does not make it deaf.
func TestManyCallersForFewDescriptors(t *testing.T) {
	const most = 32
	i := start(t, "slow", "port", func(c *exec.Cmd) {
		c.Path, c.Args = "/bin/sh", append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, most)}, c.Args...)
	})
	if _, err := i.do(ingress.Ready); err != nil {
		t.Fatal(err)
	}
	var crowd []net.Conn
	for range 2 * most { // they say nothing
		conn, err := net.Dial("unix", string(i.bell))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		crowd = append(crowd, conn)
	}
	taken := func() int {
		files, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", i.cmd.Process.Pid))
		return len(files)
	}
	for end := time.Now().Add(bound); taken() < most; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %d descriptors, want all %d in use", taken(), most)
		}
	}
	for _, conn := range crowd {
		conn.Close()
	}
	if _, _, err := i.get(); err != nil {
		t.Fatal(err)
	}
}
