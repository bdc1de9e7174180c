package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// Path is where Command finds programs in the machine, as in its PATH.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// enterScript joins the cgroup $1 and becomes the rest of its arguments: nsenter, which a signal from the terminal shall not
// end before the program that it waits for. The program gets its signals back from env.
const enterScript = `trap '' INT QUIT HUP; echo 0 >"$1/cgroup.procs" && shift && exec "$@"`

// Command is a program to run in the machine as user, "root" ("" is root) or "dev", in that user's home directory. It has
// the environment of a login of that user, with env ("NAME=value") over it, and TENEMENT_MACHINE, the machine's name for
// itself. The caller connects its input and output and runs it, as with [exec.CommandContext]; its exit status is the
// program's. When ctx ends, the program and what it started are killed.
func (m *Machine) Command(ctx context.Context, user string, env []string, argv ...string) *exec.Cmd {
	return m.CommandIn(ctx, "", user, env, argv...)
}

// CommandIn is Command in a directory of the machine.
func (m *Machine) CommandIn(ctx context.Context, dir, user string, env []string, argv ...string) *exec.Cmd {
	cmd, group := m.command(ctx, dir, user, env, argv)
	cmd.Cancel = func() error {
		// The group has the program and whatever it started, unless systemd has moved it.
		return errors.Join(killGroup(group), cmd.Process.Kill())
	}
	return cmd
}

// command makes a command and the cgroup that it is going to run in.
func (m *Machine) command(ctx context.Context, dir, user string, env, argv []string) (*exec.Cmd, string) {
	login, err := loginOf(user)
	group := ""
	if err == nil {
		group, err = m.commandGroup()
	}
	if err == nil && len(argv) == 0 {
		err = errors.New("no program given")
	}
	if dir == "" {
		dir = login.home
	}
	args := []string{
		"-c", enterScript, "machine-command", group,
		"nsenter", "--target", strconv.Itoa(m.leader), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--",
		"env", "--default-signal=INT,QUIT,HUP", "--chdir=" + dir, "--",
	}
	if login.uid != 0 {
		args = append(args, "setpriv", "--reuid="+login.name, "--regid="+login.name, "--init-groups", "--")
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", append(args, argv...)...)
	cmd.Env = append(login.environ(), env...)
	if err != nil {
		cmd.Err = fmt.Errorf("run %q in the test machine: %w", argv, err)
	}
	// A background process may hold the output open.
	cmd.WaitDelay = 2 * time.Second
	return cmd, group
}

// commandGroup makes a cgroup of its own for a command, beside those of the machine's units: processes in the machine's root
// group would keep systemd from enabling controllers. Groups of commands that have ended are removed.
func (m *Machine) commandGroup() (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs++
	group := filepath.Join(m.payload, fmt.Sprintf("machine-exec-%d.scope", m.runs))
	if old, _ := filepath.Glob(filepath.Join(m.payload, "machine-exec-*.scope")); m.runs%16 == 0 {
		for _, g := range old {
			_ = os.Remove(g) // fails while it is in use
		}
	}
	return group, os.Mkdir(group, 0o755)
}

// login is a user of the machine.
type login struct {
	name, home string
	uid        int
}

func loginOf(user string) (login, error) {
	switch user {
	case "", "root":
		return login{"root", "/root", 0}, nil
	case "dev":
		return login{"dev", "/home/dev", 1000}, nil
	}
	return login{}, fmt.Errorf("it has the users root and dev, not %q", user)
}

func (l login) environ() []string {
	env := []string{
		"PATH=" + Path, "HOME=" + l.home, "USER=" + l.name, "LOGNAME=" + l.name, "SHELL=/bin/bash", "LANG=C.UTF-8",
		"TENEMENT_MACHINE=1",
	}
	if l.uid != 0 {
		run := fmt.Sprintf("/run/user/%d", l.uid)
		env = append(env, "XDG_RUNTIME_DIR="+run, "DBUS_SESSION_BUS_ADDRESS=unix:path="+run+"/bus")
	}
	return env
}
