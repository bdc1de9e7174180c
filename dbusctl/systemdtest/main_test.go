package systemdtest

import (
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenement.dev/dbusctl"
	"tenement.dev/test/machine"
	"tenement.dev/units"
)

// asUser in the environment makes TestManager test the user's manager.
const asUser = "TENEMENT_DBUSCTL_TEST_USER"

// limit bounds whatever should happen soon.
const limit = 20 * time.Second

func TestMain(m *testing.M) {
	if machine.Inside() {
		goleak.VerifyTestMain(m)
		return
	}
	os.Exit(machine.Main(m))
}

// TestManager runs the suite against the system's manager, or the user's where
// TestUserManager has started it.
func TestManager(t *testing.T) {
	type test struct {
		name string
		f    func(*testing.T)
	}
	tests := []test{
		{"Pair", testPair},
		{"RenderedPair", testRenderedPair},
		{"NameTaken", testNameTaken},
		{"BadProperties", testBadProperties},
		{"NotLoaded", testNotLoaded},
		{"Parallel", testParallel},
		{"Names", testNames},
		{"Version", testVersion},
		{"SetProperties", testSetProperties},
		{"JobTimeout", testJobTimeout},
		{"JobCanceled", testJobCanceled},
		{"StopTwice", testStopTwice},
		{"StopAgainstStarts", testStopAgainstStarts},
		{"Forged", testForged},
		{"Reload", testReload},
		{"Reexec", testReexec},
		{"PrivateSocket", testPrivateSocket},
		{"BusRestart", testBusRestart},
		{"BusGone", testBusGone},
	}
	if scope() == dbusctl.System { // the line does not care whose manager it leads to
		tests = append(tests, test{"Lossy", testLossy}, test{"OwnerHeardEarly", testOwnerHeardEarly}, test{"Stalled", testStalled})
	}
	for _, test := range tests {
		t.Run(test.name, test.f)
	}
}

// TestUserManager runs TestManager as the user dev.
func TestUserManager(t *testing.T) { runAsDev(t, "^TestManager$", asUser+"=1") }

// runAsDev runs tests of this binary as the user dev.
func runAsDev(t *testing.T, pattern, env string) {
	t.Helper()
	self, err := os.Executable()
	noError(t, "find this binary", err)
	// Where go test has put it, the user may not look.
	dir, err := os.MkdirTemp("", "dbusctl")
	noError(t, "make a directory", err)
	defer func() { _ = os.RemoveAll(dir) }()
	noError(t, "open the directory", os.Chmod(dir, 0o755))
	binary := filepath.Join(dir, "test")
	noError(t, "copy this binary", copyFile(binary, self))
	cmd := exec.CommandContext(t.Context(), binary, "-test.run="+pattern, "-test.v="+flag.Lookup("test.v").Value.String())
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	cmd.Env = append(os.Environ(), env, "HOME=/home/dev", "USER=dev",
		"XDG_RUNTIME_DIR=/run/user/1000", "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as user: %v\n%s", err, out)
	} else {
		t.Logf("as user:\n%s", out)
	}
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err2 := out.Close(); err == nil {
		err = err2
	}
	return err
}

func scope() dbusctl.Scope {
	if os.Getenv(asUser) != "" {
		return dbusctl.User
	}
	return dbusctl.System
}

func busVariable() string {
	if scope() == dbusctl.User {
		return "DBUS_SESSION_BUS_ADDRESS"
	}
	return "DBUS_SYSTEM_BUS_ADDRESS"
}

func busSocket() string {
	if scope() == dbusctl.User {
		return "/run/user/1000/bus"
	}
	return "/run/dbus/system_bus_socket"
}

// within gives a context for what should happen soon.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// connect gives a running client and what it reports.
func connect(t *testing.T) (*dbusctl.Client, *recorder) {
	t.Helper()
	c, err := dbusctl.Dial(within(t, limit), dbusctl.Options{Scope: scope(), Prefix: units.Prefix})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &recorder{client: c, changed: make(chan struct{})}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	wg.Go(func() { r.record(ctx, c.Events()) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return c, r
}

// systemctl runs systemctl for the manager under test. It talks to the manager's
// private socket.
func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	if scope() == dbusctl.User {
		args = append([]string{"--user"}, args...)
	}
	cmd := exec.CommandContext(within(t, limit), "systemctl", args...)
	if scope() == dbusctl.User {
		cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR=/run/user/1000") // some tests hide it
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("systemctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func noError(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
