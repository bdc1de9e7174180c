package takeover

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// asks sends lines to the keeper's socket, each on a connection of its own, and prints the
// answers, one a line.
const asks = `
import socket, sys
for line in sys.stdin:
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    try:
        s.connect("/run/tenement/keeper.sock")
        s.sendall(line.encode())
        answer = b""
        while part := s.recv(65536):
            answer += part
    except OSError as e:
        answer = str(e).encode()
    print(answer.decode().strip() or "hung up")
`

// ask asks the keeper as somebody, by the socket itself.
func ask(t *testing.T, account string, requests ...string) []string {
	t.Helper()
	out, err := run(t, account, strings.Join(requests, "\n")+"\n", "python3", "-c", asks)
	answers := strings.Split(strings.TrimRight(out, "\n"), "\n")
	if err != nil || len(answers) != len(requests) {
		t.Fatalf("ask as %s: %v: %s", account, err, out)
	}
	return answers
}

// isFault reports whether an answer is one, and not that something was done.
func isFault(answer string) bool {
	var r struct{ Fault *struct{ Code, Cause string } }
	return json.Unmarshal([]byte(answer), &r) != nil || r.Fault != nil
}

// Who has taken over the daemon that the internet talks to has its user, all its groups and
// none of its sandbox. He becomes nobody else, reads nobody's data, and starts nothing that
// is not root's word.
func TestTakenOver(t *testing.T) {
	weak := "/opt/weak/app"
	if err := errors.Join(os.MkdirAll(filepath.Dir(weak), 0o755), exec.Command("cp", "/usr/bin/true", weak).Run()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll("/opt/weak") })
	s := harness.New(t, harness.Options{Installed: true, Dir: dir, Config: careless})
	s.Run()
	s.Spawn("app:alice", "app:bob")
	note := "/var/lib/tenement/data/app/alice/note"
	s.Text("app:alice", "/write?path="+note)
	if out, err := exec.Command("chown", "tenement", filepath.Dir(weak)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	keeper := func() int {
		ask(t, "root", `{"verb":"tend"}`) // there is one
		return mainPID(t, s, "tenement-keeper.service")
	}
	alice := mainPID(t, s, "tenement-app@alice.service")

	t.Run("files", func(t *testing.T) {
		for _, path := range []string{
			note, filepath.Dir(note), "/var/lib/tenement/uids.json", "/run/tenement/keeper", "/run/tenement/fence",
			fmt.Sprintf("/proc/%d/environ", alice), fmt.Sprintf("/proc/%d/mem", alice), fmt.Sprintf("/proc/%d/root/etc", alice),
			fmt.Sprintf("/proc/%d/environ", keeper()), "/etc/shadow",
		} {
			if out, err := run(t, "tenement", "", "ls", path+"/."); err == nil {
				t.Errorf("list %s: %s", path, out)
			}
			if out, err := run(t, "tenement", "", "cat", path); err == nil {
				t.Errorf("read %s: %s", path, out)
			}
		}
		for _, dir := range []string{
			"/run/tenement", "/run/tenement/ingress", "/run/tenement/keeper", "/run/tenement/fence", "/run/tenement/bundle", "/run/userdb",
			"/var/lib/tenement", "/var/lib/tenement/data", "/var/lib/tenement/data/app", "/var/lib/tenement/data/app/alice",
			"/etc/tenement", "/etc/systemd/system", "/run/systemd/system", "/run/systemd/transient", "/etc/sudoers.d", "/usr/bin", "/usr/lib/tenement",
		} {
			if out, err := run(t, "tenement", "", "sh", "-c", `echo x > "$0/planted"`, dir); err == nil {
				t.Errorf("write to %s: %s", dir, out)
			}
		}
		for _, path := range []string{"/etc/tenement/tenement.toml", "/usr/bin/ten", "/usr/lib/tenement/ten-init", "/opt/tenement-test/testapp", "/run/tenement/keeper/tenement.toml"} {
			if out, err := run(t, "tenement", "", "sh", "-c", `echo x >> "$0"`, path); err == nil {
				t.Errorf("change %s: %s", path, out)
			}
		}
		for _, move := range [][2]string{
			{"/var/lib/tenement/data", "/var/lib/tenement/serve/data"}, {"/run/tenement/ingress", "/run/tenement/serve/ingress"},
			{"/run/tenement/keeper.sock", "/run/tenement/serve/keeper.sock"}, {"/var/lib/tenement/data/app/alice", "/var/lib/tenement/serve/alice"},
		} {
			if out, err := run(t, "tenement", "", "mv", move[0], move[1]); err == nil {
				t.Errorf("move %s: %s", move[0], out)
			}
		}
	})

	t.Run("processes", func(t *testing.T) {
		group := "/sys/fs/cgroup" + s.Show("app:alice", "ControlGroup")
		for _, pid := range []int{keeper(), alice, 1} {
			for _, argv := range [][]string{
				{"kill", "-KILL", strconv.Itoa(pid)},
				{"strace", "-o", "/dev/null", "-p", strconv.Itoa(pid)},
				{"nsenter", "--target", strconv.Itoa(pid), "--mount", "id"},
				{"cat", fmt.Sprintf("/proc/%d/auxv", pid)},
			} {
				if out, err := run(t, "tenement", "", argv...); err == nil {
					t.Errorf("%v: %s", argv, out)
				}
			}
		}
		for _, file := range []string{"cgroup.kill", "cgroup.freeze", "cgroup.procs", "memory.max"} {
			if out, err := run(t, "tenement", "", "sh", "-c", `echo 1 > "$0"`, filepath.Join(group, file)); err == nil {
				t.Errorf("write %s: %s", file, out)
			}
		}
	})

	t.Run("root", func(t *testing.T) {
		const transient = `StartTransientUnit ssa(sv)a(sa(sv)) tenement-app@evil.service fail 1 ExecStart a(sasb) 1 /usr/bin/touch 2 touch /root/owned false 0`
		const manager = "org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "
		for _, line := range []string{
			"busctl --no-pager call " + manager + transient,
			"busctl --no-pager call " + manager + strings.ReplaceAll(transient, "tenement-app@evil", "evil"),
			"busctl --no-pager call " + manager + "SetUnitProperties sba(sv) tenement-app@alice.service true 1 TasksMax t 1",
			"busctl --no-pager call " + manager + "StopUnit ss tenement-app@alice.service replace",
			"busctl --no-pager call " + manager + "KillUnit ssi tenement-app@alice.service all 9",
			"busctl --no-pager call " + manager + "Reload",
			"busctl --no-pager call " + manager + "LinkUnitFiles asbb 1 /var/lib/tenement/serve/evil.service true true",
			"systemd-run --no-ask-password --quiet /usr/bin/touch /root/owned",
			"systemctl --no-ask-password stop tenement-app@alice.service",
			"systemctl --no-ask-password stop tenement-keeper.socket",
			"systemctl --no-ask-password restart tenement.service",
			"su --command id root",
			"setpriv --reuid 0 id",
			"chroot / id",
			"mount -t tmpfs none /mnt",
			"nft list ruleset",
			"nft flush ruleset",
			"ls /proc/1/root",
		} {
			if out, err := run(t, "tenement", "", strings.Fields(line)...); err == nil {
				t.Errorf("%s: %s", line, out)
			}
		}
		if _, err := os.Stat("/root/owned"); err == nil {
			t.Error("something was run as root")
		}
		if units := s.Systemctl("list-units", "--all", "--plain", "--no-legend", "*evil*"); units != "" {
			t.Errorf("units were made: %s", units)
		}
	})

	t.Run("keeper", func(t *testing.T) {
		logged := s.Log.Watch("msg=refused")
		requests := []string{
			`{"verb":"load","service":"other","name":"mallory","port":31500}`,             // a service that there is not
			`{"verb":"load","service":"app","name":"../../etc","port":31500}`,             // names
			`{"verb":"load","service":"app","name":"a b","port":31500}`,                   //
			`{"verb":"load","service":"app","name":"` + strings.Repeat("a", 64) + `"}`,    //
			`{"verb":"wipe","service":"..","name":"serve"}`,                               //
			`{"verb":"load","service":"app","name":"mallory","port":22}`,                  // others' ports
			`{"verb":"load","service":"app","name":"mallory"}`,                            // none
			`{"verb":"load","service":"app","name":"mallory","port":31500,"release":"x"}`, // a release of a service without
			`{"verb":"load","service":"trusting","name":"mallory","port":31500}`,          // as root, by a mistake of root's
			`{"verb":"load","service":"weak","name":"mallory","port":31500}`,              // a program that he can replace
			`{"verb":"load","service":"app","name":"m","port":31500,"argv":["/bin/sh"]}`,  // a command
			`{"verb":"load","service":"app","name":"m","port":31500,"properties":{"User":"root"}}`,
			`{"verb":"look","sum":"` + strings.Repeat("0", 64) + `"}`, // another configuration
			`{"verb":"look","config":"/var/lib/tenement/serve/tenement.toml"}`,
			`{"verb":"limit","service":"app","name":"alice","limits":{"tasks":-1}}`,
			`{"verb":"snapshot","service":"app","name":"alice"}`, // data, which is root's to grant
			`{"verb":"pack","service":"app","name":"alice"}`,
			`{"verb":"unpack","service":"app","name":"alice","unpacking":{}}`,
			`{"verb":"replace","service":"app","name":"alice"}`,
			`{"verb":"grant","service":"app","name":"alice"}`,
			`{"verb":"exec"}`,
			strings.Repeat("x", 100_000),
		}
		for i, answer := range ask(t, "tenement", requests...) {
			if !isFault(answer) {
				t.Errorf("%.100s: got %s, want it refused", requests[i], answer)
			}
		}
		select {
		case <-logged:
		case <-time.After(harness.Timeout):
			t.Error("no refusal was logged")
		}
		if units := s.Systemctl("list-units", "--all", "--plain", "--no-legend", "tenement-*@m*"); units != "" {
			t.Errorf("units were made: %s", units)
		}
	})

	t.Run("configuration", func(t *testing.T) {
		path := dir + "/tenement.toml"
		sum, err := exec.Command("sha256sum", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		look := fmt.Sprintf(`{"verb":"look","sum":"%.64s"}`, sum)
		if answer := ask(t, "tenement", look)[0]; isFault(answer) {
			t.Fatalf("root's own configuration: %s", answer)
		}
		for _, spoil := range []string{
			"chmod o+w " + path, "chgrp tenement " + path + "; chmod g+w " + path, "chown tenement " + path, "chmod o+w " + dir, "chown tenement " + dir,
		} {
			if out, err := exec.Command("sh", "-c", spoil).CombinedOutput(); err != nil {
				t.Fatalf("%s: %s", spoil, out)
			}
			if answer := ask(t, "tenement", look)[0]; !isFault(answer) || !strings.Contains(answer, "root alone") {
				t.Errorf("after %s: got %s, want it refused", spoil, answer)
			}
			for path, mode := range map[string]os.FileMode{dir: 0o755, path: 0o640} {
				if err := errors.Join(os.Chown(path, 0, 0), os.Chmod(path, mode)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if answer := ask(t, "tenement", look)[0]; isFault(answer) {
			t.Errorf("after that was mended: %s", answer)
		}
	})

	t.Run("another user", func(t *testing.T) {
		if answer := ask(t, "dev", `{"verb":"tend"}`)[0]; !strings.Contains(answer, "Permission denied") {
			t.Errorf("dev connects to the keeper: %s", answer)
		}
		// And if somebody opens it up.
		if err := os.Chmod("/run/tenement/keeper.sock", 0o666); err != nil {
			t.Fatal(err)
		}
		logged := s.Log.Watch("uid=1000")
		for _, request := range []string{`{"verb":"tend"}`, `{"verb":"stop","service":"app","name":"alice"}`} {
			if answer := ask(t, "dev", request)[0]; !isFault(answer) {
				t.Errorf("dev asks the keeper: %s", answer)
			}
		}
		select {
		case <-logged:
		case <-time.After(harness.Timeout):
			t.Error("the refusal of dev was not logged")
		}
		if out, err := run(t, "dev", "", "curl", "-sS", "--unix-socket", "/run/tenement/api.sock", "http://x/api/v1/instances"); err == nil {
			t.Errorf("dev asks the daemon: %s", out)
		}
	})

	// Nobody has noticed.
	if got := mainPID(t, s, "tenement-app@alice.service"); got != alice {
		t.Errorf("the process of app:alice: got %d, want still %d", got, alice)
	}
	if got := s.Fetch("app:alice", "/").Status; got != 200 {
		t.Errorf("GET app:alice: got %d", got)
	}
}
