package takeover

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const dir = "/etc/tenement"

// config has what a server with a few apps has.
const config = `[settings]
data_dir = "/var/lib/tenement/data"
port_range = "31000-31999"
[service.app]
command = "{bin}/testapp"
idle_timeout = 600
[service.app.env]
SECRET = "of {id}"
[service.boxed]
command = "{bin}/testapp"
isolation = "sandbox"
listen = "unix"
`

// careless has services that root should not have written that way.
const careless = config + `[service.weak]
command = "/opt/weak/app"
[service.trusting]
command = "{bin}/testapp"
isolation = "process"
`

// run runs a command as somebody, with the groups of tenement.service if it is that user.
func run(t *testing.T, account, stdin string, argv ...string) (string, error) {
	t.Helper()
	a, err := tenant.LookupAccount(account)
	if err != nil {
		t.Fatal(err)
	}
	credential := &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID)}
	if account == "tenement" {
		journal, err := exec.Command("getent", "group", "systemd-journal").Output()
		if err != nil {
			t.Fatal(err)
		}
		gid, err := strconv.ParseUint(strings.Split(string(journal), ":")[2], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		credential.Groups = []uint32{uint32(gid)}
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// mainPID is the main process of a unit, 0 where it does not run.
func mainPID(t *testing.T, s *harness.Server, unit string) int {
	t.Helper()
	pid, err := strconv.Atoi(s.Systemctl("show", "--property", "MainPID", "--value", unit))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// status is a field of /proc/PID/status.
func status(t *testing.T, pid int, field string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); name == field {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	t.Fatalf("process %d has no %s", pid, field)
	return ""
}
