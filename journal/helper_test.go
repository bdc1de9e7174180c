package journal

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// run runs a command to its end.
func run(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
	return string(out)
}

// runUnit runs a shell script as a unit of the system's manager, whatever its exit
// status, until everything is in the journal.
func runUnit(t *testing.T, unit, script string) {
	t.Helper()
	exec.CommandContext(t.Context(), "systemd-run", "--quiet", "--wait", "--collect", "--expand-environment=no", "--unit="+unit, "bash", "-c", script).Run()
	run(t, "journalctl", "--sync")
}

// startUnit is runUnit in the background. It may be called from any goroutine. A unit of that
// name that has just ended is forgotten first.
func startUnit(t *testing.T, unit, script string) {
	for deadline := time.Now().Add(patience); ; {
		out, err := exec.CommandContext(t.Context(), "systemd-run", "--quiet", "--collect", "--expand-environment=no", "--unit="+unit, "bash", "-c", script).CombinedOutput()
		if err == nil {
			return
		}
		if !strings.Contains(string(out), "already loaded") || time.Now().After(deadline) {
			t.Errorf("start %s: %v\n%s", unit, err, out)
			return
		}
	}
}

// restartJournald makes journald read its configuration.
func restartJournald(t *testing.T) {
	t.Helper()
	for _, verb := range []string{"reset-failed", "restart"} { // or it is too often for systemd
		if out, err := exec.Command("systemctl", verb, "systemd-journald").CombinedOutput(); err != nil {
			t.Errorf("%s journald: %v\n%s", verb, err, out)
		}
	}
}

// asDev is a command line that runs argv as the user dev, with access to the user's own
// manager.
func asDev(argv ...string) []string {
	return append([]string{"setpriv", "--reuid=dev", "--regid=dev", "--init-groups", "env", "XDG_RUNTIME_DIR=/run/user/1000"}, argv...)
}

// program is this test binary where every user may run it.
func program(t *testing.T) string {
	t.Helper()
	const path = "/opt/journal.test"
	if _, err := os.Stat(path); err == nil {
		return path
	}
	binary, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(path, binary, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// runRole runs the test binary in a role with an argument, by the words before it, such
// as systemd-run's. The role is one that prints one line and then waits for its standard
// input to end, which comes when the journal has taken everything.
func runRole(t *testing.T, role, argument string, by ...string) {
	t.Helper()
	argv := append(by, "env", roleEnv+"="+role, argumentEnv+"="+argument, "GORACE=atexit_sleep_ms=0", program(t))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "sent <nil>\n" {
		t.Errorf("%q: got %q, %v", argv, line, err)
	}
	run(t, "journalctl", "--sync")
	in.Close()
	io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%q: %v", argv, err)
	}
}

// read reads a query that comes to its end.
func read(t *testing.T, q Query) []Entry {
	t.Helper()
	var list []Entry
	for e, err := range New(System).Read(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	wantNoChildren(t)
	return list
}

// messages are those of the unit itself, or of its manager.
func messages(list []Entry, manager bool) []string {
	var texts []string
	for _, e := range list {
		if e.Manager == manager {
			texts = append(texts, e.Message)
		}
	}
	return texts
}

// children are the processes that this one has started and not reaped.
func children(t *testing.T) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(lists) == 0 {
		t.Fatalf("list children: %v, %v", lists, err)
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

func wantNoChildren(t *testing.T) {
	t.Helper()
	if got := children(t); len(got) != 0 {
		t.Errorf("got children %v, want none", got)
	}
}

// eventually waits for a condition that the kernel or another process brings about.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// unitFor gives each test a unit of its own.
func unitFor(t *testing.T) string {
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	return fmt.Sprintf("tenement-notes@%s.service", name)
}
