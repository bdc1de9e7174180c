package machine_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/machine"
)

func boot(t *testing.T, o machine.Options) *machine.Machine {
	t.Helper()
	m, err := machine.Boot(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// output runs a shell script in the machine and returns what it prints.
func output(t *testing.T, m *machine.Machine, user, script string) string {
	t.Helper()
	out, err := m.Command(t.Context(), user, nil, "sh", "-euc", script).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestMachine(t *testing.T) {
	t.Parallel()
	shared, rw := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(shared, "x:y"), []byte("from the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	m := boot(t, machine.Options{Name: "one", Binds: []machine.Bind{{Host: shared, Machine: "/srv/a:b"}, {Host: rw, Write: true}}})
	t.Logf("boot took %v", time.Since(begin))

	for _, test := range []struct{ name, user, script, want string }{
		{"pid 1 is systemd", "", "cat /proc/1/comm", "systemd"},
		{"it is up", "", "systemctl is-system-running", "running"},
		{"it is a container", "", "systemd-detect-virt", "systemd-nspawn"},
		{"systemd has all this suite needs", "", `test "$(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')" -ge 257; echo yes`, "yes"},
		{"host name", "", "hostname", "one"},
		{"loopback only, and up", "", "ls /sys/class/net; ip -brief address | grep -o 127.0.0.1/8", "lo\n127.0.0.1/8"},
		{"names below localhost", "", "getent hosts alice.notes.localhost >/dev/null; echo yes", "yes"},
		{"python has sqlite", "", "python3 -c 'import sqlite3, http.server; print(1)'", "1"},
		{"node has http", "", "node -e 'require(\"node:http\"); console.log(1)'", "1"},
		{"tools", "", "for p in bash curl ip less nc nft ps strace; do command -v $p >/dev/null || echo no $p; done", ""},
		{"bind", "", "cat '/srv/a:b/x:y'; ! touch /srv/a:b/z 2>/dev/null", "from the host"},
		{"bind to write", "", "echo hello >" + rw + "/out", ""},
		{"root's environment", "", "echo $HOME $USER $TENEMENT_MACHINE $PWD", "/root root 1 /root"},
		{"dev's environment", "dev", "echo $HOME $USER $XDG_RUNTIME_DIR $PWD; id -un; id -Gn", "/home/dev dev /run/user/1000 /home/dev\ndev\ndev"},
		{"dev's manager", "dev", "systemctl --user is-system-running", "running"},
		{"dev's bus", "dev", "busctl --user call org.freedesktop.DBus / org.freedesktop.DBus GetId | cut -c1", "s"},
		{"dev's sandbox", "dev", "systemd-run --user --quiet --wait --pipe -p PrivateUsers=yes -p PrivatePIDs=yes -p PrivateNetwork=yes " +
			"sh -c 'ps --no-headers -o pid,comm -p 1; ip -brief link | cut -d\" \" -f1'", "1 sh\nlo"},
		{"journal of a unit", "", "systemd-run --quiet --wait --unit=say echo hello from say; journalctl --sync; journalctl -u say -o cat -t echo", "hello from say"},
		{"userdb records", "", `mkdir -p /run/userdb; echo '{"userName":"tn-x","uid":700123,"gid":700123}' >/run/userdb/tn-x.user
			ln -s tn-x.user /run/userdb/700123.user; echo '{"groupName":"tn-x","gid":700123}' >/run/userdb/tn-x.group
			ln -s tn-x.group /run/userdb/700123.group; systemd-run --quiet --wait --pipe -p User=tn-x id -u`, "700123"},
		{"namespaces are not dropped in silence", "", `own=$(readlink /proc/1/ns/net)
			got=$(systemd-run --quiet --wait --pipe -p PrivatePIDs=yes -p PrivateNetwork=yes -p DynamicUser=yes -p PrivateTmp=yes \
				sh -c 'readlink /proc/self/ns/net; ps --no-headers -o comm -p 1; ls /sys/class/net')
			case $got in $own*) echo own;; *) echo other ${got#*]};; esac`, "other sh lo"},
		{"nothing else listens or fails", "", "systemctl --failed --no-legend; ss -Hltn", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := output(t, m, test.user, test.script)
			if got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	if b, err := os.ReadFile(filepath.Join(rw, "out")); err != nil || string(b) != "hello\n" {
		t.Errorf("written through the bind: %q, %v", b, err)
	}

	t.Run("freeze in a delegated group", func(t *testing.T) {
		cmd := m.Command(t.Context(), "", nil, "systemd-run", "--quiet", "--wait", "--pipe",
			"-p", "Delegate=yes", "-p", "DelegateSubgroup=init", "-p", "User=dev", "sh", "-eus")
		cmd.Stdin = strings.NewReader(freezeScript + `echo 0 >$top/app/cgroup.freeze; grep populated $top/app/cgroup.events`)
		out, err := cmd.CombinedOutput()
		if got, want := string(out), "frozen 1\npopulated 1\n"; err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	})
	t.Run("commands are out of systemd's way", func(t *testing.T) {
		got := output(t, m, "", "sed -n s/^0:://p /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs")
		if !strings.HasPrefix(got, "/machine-exec-") || strings.Contains(got, "\n") {
			t.Errorf("got %q, want a group of its own and an empty root group", got)
		}
	})
	t.Run("exit status", func(t *testing.T) {
		var exit *exec.ExitError
		if err := m.Command(t.Context(), "dev", nil, "sh", "-c", "exit 7").Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
			t.Errorf("got %v, want exit status 7", err)
		}
	})
	t.Run("directory and environment", func(t *testing.T) {
		out, err := m.CommandIn(t.Context(), "/usr/share", "dev", []string{"A=b c", "HOME=/x"}, "sh", "-c", `echo "$PWD $A $HOME"`).Output()
		if got, want := string(out), "/usr/share b c /x\n"; err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	})
	t.Run("unknown user", func(t *testing.T) {
		if err := m.Command(t.Context(), "eve", nil, "true").Run(); err == nil || !strings.Contains(err.Error(), `not "eve"`) {
			t.Errorf("got %v, want an error about eve", err)
		}
	})
	t.Run("cancel kills the whole tree", func(t *testing.T) { testCancel(t, m) })
	t.Run("forward", func(t *testing.T) { testForward(t, m) })
}

// freezeScript, run as a service with Delegate=yes and DelegateSubgroup=init, freezes a process in a group of its own.
const freezeScript = `
cg=/sys/fs/cgroup$(sed -n s/^0:://p /proc/self/cgroup)
top=${cg%/init}
mkdir $top/app
sleep 1000 &
echo $! >$top/app/cgroup.procs
echo 1 >$top/app/cgroup.freeze
until grep -x 'frozen 1' $top/app/cgroup.events; do sleep 0.01; done
`

func testCancel(t *testing.T, m *machine.Machine) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := m.Command(ctx, "dev", nil, "sh", "-c", "trap '' TERM INT; sh -c 'sleep 4321 & sleep 4321' & echo started; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "started\n" {
		t.Fatalf("read %q, %v", line, err)
	}
	cancel()
	if err := cmd.Wait(); err == nil {
		t.Error("the command ended well, want it killed")
	}
	if got := output(t, m, "", "pgrep -fx 'sleep 4321' || echo none"); got != "none" {
		t.Errorf("still there: %s", got)
	}
}

func testForward(t *testing.T, m *machine.Machine) {
	output(t, m, "", "systemd-run --quiet --unit=web python3 -m http.server --directory /etc --bind 127.0.0.1 8765; until nc -z 127.0.0.1 8765; do sleep 0.02; done")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- m.Forward(ctx, l, "127.0.0.1:8765") }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /passwd HTTP/1.0\r\n\r\n")
	b, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(b), "\ndev:x:1000:") {
		t.Errorf("got %q, %v, want the machine's /etc/passwd", b, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestMachinesShareNothing(t *testing.T) {
	t.Parallel()
	a, b := boot(t, machine.Options{Name: "a"}), boot(t, machine.Options{Name: "b"})
	output(t, a, "", "systemd-run --quiet --unit=only-in-a sleep 1000; echo a >/etc/only-in-a; nc -l 127.0.0.1 7777 >/dev/null 2>&1 & until ss -Hltn | grep -q 7777; do sleep 0.02; done")
	got := output(t, b, "", `systemctl show -P LoadState only-in-a; find /sys/fs/cgroup -name 'only-in-a*'; ls /etc | grep only || true; ss -Hltn; pgrep -fx 'sleep 1000' || true`)
	if want := "not-found"; got != want {
		t.Errorf("b sees %q of a, want %q", got, want)
	}
	if got := output(t, a, "", "systemctl is-active only-in-a"); got != "active" {
		t.Errorf("a's unit is %q", got)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if got := output(t, b, "", "systemctl is-system-running"); got != "running" {
		t.Errorf("after a is closed, b is %q", got)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	m := boot(t, machine.Options{})
	id := m.ID()
	if found := traces(t, id); len(found) < 3 { // otherwise the search for leftovers proves nothing
		t.Fatalf("of a running machine, only %q is found", found)
	}
	// The hard cases: a frozen process, a command that runs, a process that nobody waits for.
	cmd := m.Command(t.Context(), "", nil, "systemd-run", "--quiet", "--pipe", "-p", "Delegate=yes", "-p", "DelegateSubgroup=init", "sh", "-eus")
	cmd.Stdin = strings.NewReader(freezeScript + "sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "frozen 1\n" {
		t.Fatalf("read %q, %v", line, err)
	}
	output(t, m, "dev", "setsid sleep 1000 >/dev/null 2>&1 &")
	begin := time.Now()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("close took %v", time.Since(begin))
	if err := cmd.Wait(); err == nil {
		t.Error("the command survived its machine")
	}
	for _, trace := range traces(t, id) {
		t.Errorf("left: %s", trace)
	}
	if err := m.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestFailedBootLeavesNothing(t *testing.T) { // not parallel: no other test has a machine meanwhile
	_, err := machine.Boot(t.Context(), machine.Options{Binds: []machine.Bind{{Host: "/does/not/exist"}}})
	if err == nil || !strings.Contains(err.Error(), "/does/not/exist") {
		t.Errorf("got %v, want an error that names the path", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err = machine.Boot(ctx, machine.Options{Name: "hasty"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	if ids := machinesOf(t, os.Getpid()); len(ids) > 0 {
		t.Errorf("left: %q", ids)
	}
}
