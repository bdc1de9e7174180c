package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
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
	s.Port = FreePort(tb)
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

// Addr is where the server listens.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port)) }

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
