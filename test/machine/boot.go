package machine

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:embed boot.sh
var bootScript string

//go:embed watchdog.sh
var watchdogScript string

// bootTimeout bounds a boot; it takes well below two seconds on an idle host.
const bootTimeout = 60 * time.Second

// Bind makes a path of the host visible in the machine.
type Bind struct {
	Host    string // absolute
	Machine string // absolute; "" is the same path
	Write   bool   // else read-only
}

// Options are what Boot may be told. The zero value is a machine called "tenement" with nothing of the host in it.
type Options struct {
	Name  string    // host name in the machine; letters, digits, hyphens
	Binds []Bind    // visible paths of the host
	Log   io.Writer // gets the console; nil drops it
	Input io.Reader // of the program of RunVM; nil is none. Other machines' programs have their own
	Root  Root      // of what Debian it is made; not for RunVM
}

// Machine is a running machine. End it with Close.
type Machine struct {
	id      string
	dir     string
	h       hierarchies
	payload string // cgroup that is the root of the machine's own hierarchy
	leader  int    // the machine's PID 1, in this process' pid namespace

	console *tail
	boot    *exec.Cmd     // first process of the machine's outer pid namespace
	ended   chan struct{} // closed when boot, and with it every process of the machine, has ended

	watchdog *exec.Cmd
	pipe     io.WriteCloser // its other end tells the watchdog that this process is gone

	closeOnce sync.Once
	closeErr  error

	mu   sync.Mutex // guards what follows
	runs int        // how many commands were made; names their cgroups
}

// Boot starts a machine and returns when its systemd and that of its user dev are up. ctx bounds the boot; the machine then
// lives until Close, or until this process ends.
func Boot(ctx context.Context, o Options) (*Machine, error) {
	tree, err := PrepareRoot(ctx, o.Root)
	if err != nil {
		return nil, err
	}
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("boot the test machine: %w", err)
	}
	h, err := findHierarchies(string(mountinfo))
	if err != nil {
		return nil, err
	}
	me, err := self()
	if err != nil {
		return nil, fmt.Errorf("boot the test machine: %w", err)
	}
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("boot the test machine: %w", err)
	}
	if err := sweep(h, me); err != nil {
		fmt.Fprintln(os.Stderr, "machine: clean up after machines whose owners were killed:", err)
	}

	id := me.id()
	m := &Machine{
		id: id, dir: filepath.Join(stateDir, id), h: h, payload: filepath.Join(h.unified, groupPrefix+id, "payload"),
		console: &tail{max: 4000, next: o.Log}, ended: make(chan struct{}),
	}
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	if err := m.start(ctx, tree, o); err != nil {
		err = fmt.Errorf("boot the test machine: %w; its console ends so:\n%s", err, m.console)
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// start does what can fail in Boot; Close cleans up after it wherever it stops.
func (m *Machine) start(ctx context.Context, tree string, o Options) error {
	for _, dir := range append([]string{m.dir, filepath.Join(m.dir, "mnt")}, m.groups()...) {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll("/run/systemd/nspawn", 0o755); err != nil {
		return err
	}
	notify, err := m.listenReady()
	if err != nil {
		return err
	}
	defer notify.Close()
	if err := m.startWatchdog(); err != nil {
		return err
	}
	if err := m.startBoot(tree, o); err != nil {
		return err
	}
	return m.awaitUp(ctx, notify)
}

// awaitUp waits until the machine has booted, and finds its PID 1.
func (m *Machine) awaitUp(ctx context.Context, notify *net.UnixConn) error {
	if err := m.awaitReady(ctx, notify); err != nil {
		return err
	}
	var err error
	if m.leader, err = m.findLeader(); err != nil {
		return err
	}
	out, err := m.Command(ctx, "root", nil, "systemctl", "is-system-running").CombinedOutput()
	switch state := strings.TrimSpace(string(out)); state {
	case "running", "degraded":
		return nil
	default:
		return fmt.Errorf("its systemd is %q: %w", state, err)
	}
}

// startBoot starts the first process of the machine's outer namespaces.
func (m *Machine) startBoot(tree string, o Options) error {
	name := o.Name
	if name == "" {
		name = "tenement"
	}
	nspawn := []string{
		"systemd-nspawn", "--directory=" + filepath.Join(m.dir, "mnt/root"), "--machine=" + name,
		"--register=no", "--keep-unit", "--private-network", "--notify-ready=yes",
		// Without all capabilities systemd in the machine drops PrivateNetwork= and the like in silence.
		"--capability=all",
		// nspawn's own filter is older than Landlock, which every system has that is no container.
		"--system-call-filter=landlock_create_ruleset landlock_add_rule landlock_restrict_self",
		"--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only",
	}
	for _, b := range o.Binds {
		flag, inside := "--bind-ro=", b.Machine
		if b.Write {
			flag = "--bind="
		}
		if inside == "" {
			inside = b.Host
		}
		esc := strings.NewReplacer(`\`, `\\`, ":", `\:`)
		nspawn = append(nspawn, flag+esc.Replace(b.Host)+":"+esc.Replace(inside))
	}
	nspawn = append(nspawn, "--boot")

	args := append([]string{"-c", bootScript, "machine-boot", m.dir, tree, strings.Join(m.groups(), " ")}, nspawn...)
	m.boot = exec.Command("/bin/sh", args...)
	m.boot.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
		"NOTIFY_SOCKET=" + filepath.Join(m.dir, "notify"),
	}
	m.boot.Stdout, m.boot.Stderr = m.console, m.console
	m.boot.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	ended, err := startBound(m.boot)
	if err != nil {
		m.boot = nil
		return err
	}
	go func() {
		<-ended // killed, as a rule: there is nothing in the result
		close(m.ended)
	}()
	return nil
}

// startWatchdog starts the process that cleans up after this one, should it be killed.
func (m *Machine) startWatchdog() error {
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "machine-watchdog", m.dir, strings.Join(m.groups(), " "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	m.watchdog, m.pipe = cmd, pipe
	return nil
}

// awaitReady waits until nspawn says that the machine's systemd has said READY=1: its boot is over (sd_notify(3)).
func (m *Machine) awaitReady(ctx context.Context, notify *net.UnixConn) error {
	ready := make(chan error, 1)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := notify.Read(buf)
			if err != nil {
				ready <- err
				return
			}
			for line := range strings.Lines(string(buf[:n])) {
				if strings.TrimSpace(line) == "READY=1" {
					ready <- nil
					return
				}
			}
		}
	}()
	select {
	case err := <-ready:
		return err
	case <-m.ended:
		return errors.New("it ended while booting")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// findLeader finds the machine's PID 1: the process in its cgroup that is 1 two pid namespaces further in.
func (m *Machine) findLeader() (int, error) {
	mine := len(namespacePids(os.Getpid()))
	for _, pid := range groupPids(m.payload) {
		if ns := namespacePids(pid); len(ns) == mine+2 && ns[len(ns)-1] == "1" {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("no process in %s is its PID 1", m.payload)
}

func (m *Machine) groups() []string { return m.h.groups(groupPrefix + m.id) }

// Close ends the machine at once, without shutting it down, and removes everything it was made of. It may be called more
// than once and while commands run; they are killed.
func (m *Machine) Close() error {
	m.closeOnce.Do(func() {
		var errs []error
		if m.boot != nil {
			_ = m.boot.Process.Kill() // fails only when it has ended
			<-m.ended
		}
		errs = append(errs, removeLeftovers(m.h, m.id))
		if m.watchdog != nil {
			_, _ = io.WriteString(m.pipe, "done\n")
			m.pipe.Close()
			errs = append(errs, m.watchdog.Wait())
		}
		if err := errors.Join(errs...); err != nil {
			m.closeErr = fmt.Errorf("end the test machine: %w", err)
		}
	})
	return m.closeErr
}
