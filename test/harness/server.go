package harness

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

// Timeout bounds every wait in tests.
const Timeout = 30 * time.Second

// devUID is the ordinary user of the machine.
const devUID = 1000

// Options is how to run a server.
type Options struct {
	// Config is the text of tenement.toml; {bin} in it is a directory with the test app
	// that no sandbox hides, wherever the repository is.
	Config string
	// Files are put beside it, by name.
	Files map[string]string
	// Rootless runs it as the machine's ordinary user.
	Rootless bool
	// NoJournal keeps the ordinary user from reading the journal.
	NoJournal bool
	// Env is added to the daemon's environment.
	Env []string
	// Dir is used instead of a new directory.
	Dir string
	// Init is a program of bin/ that takes ten-init's place; the true one is beside it as
	// ten-init.real.
	Init string
	// Unit runs it as a unit of systemd behind a socket unit, as a package does: systemd
	// holds its socket while it is away, and starts it again when it ends. As root only.
	Unit bool
	// Installed runs the daemon as the package installs it: its own units, as a user of its
	// own beside the keeper. With Dir "/etc/tenement" nothing else is changed; otherwise
	// drop-ins name the directory and a port of the loopback.
	Installed bool
	// Longest is how long the test may take at most, where that is more than minutes.
	Longest time.Duration
}

// Server is a running `ten serve` with a directory of its own.
type Server struct {
	tb       testing.TB
	rootless bool
	journal  bool
	Dir      string
	Port     int
	bin      string
	env      []string
	runtime  string

	unit      bool
	installed bool
	daemon    string // the name of the units, where it runs as one
	cmd       *exec.Cmd
	ended     chan struct{}
	Log       *Output // what the daemon wrote to standard error, all runs
	Out       *Output // and to standard output
	HTTP      *http.Client
}

// Start runs a server until the test ends; then its instances are destroyed and
// nothing may be left of them.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	s := New(tb, o)
	s.Run()
	return s
}

// New prepares a server without running it.
func New(tb testing.TB, o Options) *Server {
	tb.Helper()
	repo, err := Repository()
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{tb: tb, rootless: o.Rootless, journal: !o.NoJournal, unit: o.Unit || o.Installed, installed: o.Installed, daemon: "tenement-test", Dir: o.Dir, bin: filepath.Join(repo, "bin"), Log: &Output{}, Out: &Output{}}
	s.bound(cmp.Or(o.Longest, whole))
	if s.Dir == "" {
		s.Dir = s.newDir()
	}
	if os.Getenv("TENEMENT_INSTALLED") != "" && !o.Rootless && !o.Unit && o.Init == "" { // by hand
		s.unit, s.installed = true, true
	}
	if s.installed {
		s.daemon = "tenement"
	}
	for _, app := range []string{"testapp", "hostile"} {
		if err := install(filepath.Join(s.bin, app), filepath.Join(appDir, app)); err != nil {
			tb.Fatal(err)
		}
	}
	if o.Init != "" {
		if s.bin, err = otherInit(s.bin, o.Init); err != nil {
			tb.Fatal(err)
		}
	}
	s.Port = freePort(tb)
	if s.installed {
		s.prepareInstalled()
	}
	s.WriteFile("tenement.toml", o.Config)
	for name, text := range o.Files {
		s.WriteFile(name, text)
	}
	s.env = []string{"PATH=" + s.bin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"}
	s.runtime = "/run/tenement"
	if o.Rootless {
		run := fmt.Sprintf("/run/user/%d", devUID)
		s.env = append(s.env, "HOME=/home/dev", "USER=dev", "XDG_RUNTIME_DIR="+run, "DBUS_SESSION_BUS_ADDRESS=unix:path="+run+"/bus")
		s.runtime = run + "/tenement"
	} else {
		s.env = append(s.env, "HOME=/root", "USER=root")
	}
	s.env = append(s.env, o.Env...)
	for _, entry := range o.Env {
		if dir, ok := strings.CutPrefix(entry, "RUNTIME_DIRECTORY="); ok {
			s.runtime = dir
		}
	}
	s.HTTP = &http.Client{
		Transport: &http.Transport{
			DisableCompression:  true,
			MaxIdleConnsPerHost: 128,
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, s.Addr())
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	tb.Cleanup(s.cleanUp)
	return s
}

// appDir is where the machine has the apps.
const appDir = "/opt/tenement-test"

// install puts a program there, once. By cp: a program that a process with many threads
// has written itself cannot always be run at once (go.dev/issue/22315).
func install(from, to string) error {
	if exists(to) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if out, err := exec.Command("cp", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("install %s: %w: %s", to, err, out)
	}
	return nil
}

// otherInit makes a directory of programs with another ten-init.
func otherInit(bin, name string) (dir string, err error) {
	dir = filepath.Join(appDir, "with-"+name)
	for from, to := range map[string]string{"ten": "ten", "ten-init": "ten-init.real", name: "ten-init"} {
		err = errors.Join(err, install(filepath.Join(bin, from), filepath.Join(dir, to)))
	}
	return dir, err
}

// newDir makes a directory that instances' users can pass through.
func (s *Server) newDir() string {
	base := "/srv"
	if s.rootless {
		base = "/home/dev"
	}
	dir, err := os.MkdirTemp(base, "test-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil && s.rootless {
		err = os.Chown(dir, devUID, devUID)
	}
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// WriteFile puts a file into the server's directory.
func (s *Server) WriteFile(name, text string) {
	s.tb.Helper()
	path := filepath.Join(s.Dir, name)
	if name == "tenement.toml" {
		text = withoutArmed(text)
	}
	mode := os.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "{bin}", appDir)), mode); err != nil {
		s.tb.Fatal(err)
	}
	if s.rootless {
		if err := os.Chown(path, devUID, devUID); err != nil {
			s.tb.Fatal(err)
		}
	}
}

// withoutArmed has a configuration arm nobody that does not say how many: what a test has
// stopped shall stay so. No line changes its number.
func withoutArmed(text string) string {
	switch {
	case strings.Contains(text, "armed"):
		return text
	case strings.Contains(text, "[settings]\n"):
		at := strings.Index(text, "[settings]\n") + len("[settings]\n")
		end := at + strings.Index(text[at:]+"\n[", "\n[")
		return strings.TrimSuffix(text[:end], "\n") + "\narmed = 0" + text[end:]
	default:
		return text + "\n[settings]\narmed = 0\n"
	}
}

// Addr is where the server listens.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

// Command is a command as the server's user, in the server's directory.
func (s *Server) Command(argv ...string) *exec.Cmd {
	path := argv[0]
	if !strings.Contains(path, "/") {
		if p := filepath.Join(s.bin, path); exists(p) {
			path = p
		}
	}
	cmd := exec.Command(path, argv[1:]...)
	cmd.Dir, cmd.Env = s.Dir, s.env
	if s.rootless {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: devUID, Gid: devUID}}
	}
	if s.rootless && s.journal {
		// The machine's journal is in memory, where only this group may read it.
		journal, err := user.LookupGroup("systemd-journal")
		if err != nil {
			s.tb.Fatal(err)
		}
		gid, err := strconv.ParseUint(journal.Gid, 10, 32)
		if err != nil {
			s.tb.Fatal(err)
		}
		cmd.SysProcAttr.Credential.Groups = []uint32{uint32(gid)}
	}
	return cmd
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Run starts the daemon and waits until it serves.
func (s *Server) Run() {
	s.tb.Helper()
	if s.unit {
		s.runUnit()
		return
	}
	if err := s.TryRun(); err != nil {
		s.tb.Fatalf("%v\n%s", err, s.Log)
	}
}

// TryRun is Run for daemons that may not start.
func (s *Server) TryRun(args ...string) error {
	argv := append([]string{"ten", "serve", "--port", strconv.Itoa(s.Port)}, args...)
	cmd := s.Command(argv...)
	serving := s.Out.Watch("serving ")
	cmd.Stdout, cmd.Stderr = s.Out, s.Log
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd = cmd
	ended := make(chan struct{})
	s.ended = ended
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	select {
	case <-serving:
		return nil
	case <-ended:
		return fmt.Errorf("ten serve ended: %v", cmd.ProcessState)
	case <-time.After(Timeout):
		return errors.New("ten serve is not ready in time")
	}
}

// PID is the daemon's process id.
func (s *Server) PID() int {
	s.tb.Helper()
	if !s.unit {
		return s.cmd.Process.Pid
	}
	pid, err := strconv.Atoi(s.Systemctl("show", "--property", "MainPID", "--value", s.daemon+".service"))
	if err != nil {
		s.tb.Fatalf("the daemon's main process: %v", err)
	}
	return pid
}

// Signal sends the daemon a signal and waits until it has ended.
func (s *Server) Signal(sig syscall.Signal) {
	s.tb.Helper()
	if s.unit {
		s.signalUnit(sig)
		return
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.tb.Fatal(err)
	}
	select {
	case <-s.ended:
	case <-time.After(Timeout):
		s.tb.Fatalf("the daemon did not end on %v\n%s", sig, s.Log)
	}
	s.HTTP.CloseIdleConnections()
}

// cleanUp destroys what is left and checks that nothing stays behind.
func (s *Server) cleanUp() {
	if s.unit {
		s.cleanUpUnit()
	} else if s.tb.Failed() {
		s.tb.Logf("the daemon's log:\n%s", s.Log)
	}
	if s.cmd != nil {
		select {
		case <-s.ended:
			if s.TryRun() != nil { // to destroy what it left running
				s.sweep()
				return
			}
		default:
		}
		s.destroyAll()
		s.Signal(syscall.SIGTERM)
	}
	s.checkClean()
	s.sweep()
}

func (s *Server) destroyAll() {
	for _, i := range s.List() {
		if r := s.Ten("destroy", "--yes", i.ID.String()); r.Code != 0 {
			s.tb.Errorf("destroy %s: %s", i.ID, r)
		}
	}
}

// checkClean fails the test when units, processes or files of instances are left.
func (s *Server) checkClean() {
	left := s.Systemctl("list-units", "--all", "--plain", "--no-legend", "tenement-*@*")
	if left != "" {
		s.tb.Errorf("units left behind:\n%s", left)
	}
	for _, pattern := range []string{"/run/userdb/*", s.runtime + "/ingress/*", s.runtime + "/app/*", s.runtime + "/bundle/*", s.runtime + "/fence/*", filepath.Join(s.Dir, "data/[a-z0-9]*/*")} {
		if files, _ := filepath.Glob(pattern); len(files) > 0 {
			s.tb.Errorf("left behind: %v", files)
		}
	}
	if tables, err := s.output(exec.Command("nft", "list", "tables")); err != nil || strings.Contains(tables, "tenement") {
		s.tb.Errorf("left behind in nftables: %s (%v)", tables, err)
	}
}

// sweep removes units that a failed test has left, for the next one.
func (s *Server) sweep() {
	for _, verb := range []string{"stop", "reset-failed"} {
		args := []string{"tenement-*@*.socket", "tenement-*@*.service"}
		_, _ = s.output(s.systemctl(append([]string{verb}, args...)...))
	}
}

func (s *Server) systemctl(args ...string) *exec.Cmd {
	if s.rootless {
		args = append([]string{"--user"}, args...)
	}
	return s.Command(append([]string{"/usr/bin/systemctl"}, args...)...)
}

// Systemctl runs systemctl against the server's manager and gives what it prints.
func (s *Server) Systemctl(args ...string) string {
	out, _ := s.output(s.systemctl(args...))
	return strings.TrimSpace(out)
}

// Show gives a property of an instance's service unit.
func (s *Server) Show(id, property string) string {
	s.tb.Helper()
	service, name, _ := strings.Cut(id, ":")
	return s.Systemctl("show", "--property", property, "--value", "tenement-"+service+"@"+name+".service")
}

// List gives what `ten ps --json` says. It asks the daemon itself: who waits asks often, and a
// state may pass while a program starts.
func (s *Server) List() []tenant.Snapshot {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Timeout)
	defer cancel()
	daemon := client.New(filepath.Join(s.runtime, "api.sock"))
	defer daemon.Close()
	list, err := daemon.List(ctx, "")
	if err != nil {
		s.tb.Fatalf("list the instances: %v", err)
	}
	text, err := json.Marshal(list)
	var snapshots []tenant.Snapshot
	if err == nil {
		err = json.Unmarshal(text, &snapshots)
	}
	if err != nil {
		s.tb.Fatal(err)
	}
	return snapshots
}

// Get gives what List says of one instance.
func (s *Server) Get(id string) tenant.Snapshot {
	s.tb.Helper()
	for _, i := range s.List() {
		if i.ID.String() == id {
			return i
		}
	}
	s.tb.Fatalf("%s is not registered", id)
	return tenant.Snapshot{}
}

// Await waits until an instance is in the given state.
func (s *Server) Await(id string, state tenant.State) {
	s.tb.Helper()
	s.AwaitFor(id, state, Timeout)
}

// AwaitFor waits for a state at most for d.
func (s *Server) AwaitFor(id string, state tenant.State, d time.Duration) {
	s.tb.Helper()
	deadline := time.Now().Add(d)
	for {
		got := s.Get(id).State
		if got == state {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("%s is %v after %v, want %v", id, got, d, state)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Spawn spawns instances and fails the test if one does not come up.
func (s *Server) Spawn(ids ...string) {
	s.tb.Helper()
	for _, id := range ids {
		if r := s.Ten("spawn", id); r.Code != 0 {
			s.tb.Fatalf("spawn %s: %s", id, r)
		}
	}
}

// Result is what a command did.
type Result struct {
	Stdout, Stderr string
	Code           int
}

func (r Result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %sstderr: %s", r.Code, r.Stdout, r.Stderr)
}

// Ten runs a ten command.
func (s *Server) Ten(args ...string) Result {
	s.tb.Helper()
	cmd := s.Command(append([]string{"ten"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := s.run(cmd)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.tb.Fatal(err)
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func freePort(tb testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		tb.Fatalf("listener on %v", l.Addr())
	}
	return addr.Port
}

// Output collects what a program prints.
type Output struct {
	mu    sync.Mutex
	text  bytes.Buffer
	watch map[string]chan struct{}
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.text.Len()
	o.text.Write(p)
	for word, ch := range o.watch {
		// A word may come in two writes.
		if bytes.Contains(o.text.Bytes()[max(0, before-len(word)+1):], []byte(word)) {
			close(ch)
			delete(o.watch, word)
		}
	}
	return len(p), nil
}

// Watch gives a channel that is closed when word is written next.
func (o *Output) Watch(word string) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.watch == nil {
		o.watch = map[string]chan struct{}{}
	}
	ch := make(chan struct{})
	o.watch[word] = ch
	return ch
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
