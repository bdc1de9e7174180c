package journal

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
)

// onDisk keeps the journal on disk, as most machines do, for the rest of the test.
func onDisk(t *testing.T) {
	t.Helper()
	const dir, file = "/run/systemd/journald.conf.d", "/run/systemd/journald.conf.d/zz-on-disk.conf"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("[Journal]\nStorage=persistent\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	restartJournald(t)
	run(t, "journalctl", "--flush")
	t.Cleanup(func() {
		if err := os.Remove(file); err != nil {
			t.Error(err)
		}
		restartJournald(t)
		if err := os.RemoveAll("/var/log/journal"); err != nil {
			t.Error(err)
		}
	})
}

// readAsDev runs a query as the user dev.
func readAsDev(t *testing.T, role string, q Query) (list []Entry, complaint string) {
	t.Helper()
	query, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	argv := asDev(roleEnv+"="+role, argumentEnv+"="+string(query), program(t))
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).Output()
	for line := range strings.Lines(string(out)) {
		var e Entry
		if json.Unmarshal([]byte(line), &e) != nil {
			complaint += line
			continue
		}
		list = append(list, e)
	}
	if (err != nil) != (complaint != "") {
		t.Errorf("%q: got %v and %q", argv, err, complaint)
	}
	return list, complaint
}

func TestUserUnits(t *testing.T) {
	onDisk(t)
	unit := unitFor(t)
	query := Query{Unit: unit, Identifier: "notes:alice", Lines: -1}
	if list, complaint := readAsDev(t, "read-user", query); len(list) != 0 || complaint != "" {
		t.Errorf("before the user's first entry: got %v and %q, want nothing", list, complaint)
	}
	argv := asDev("systemd-run", "--user", "--quiet", "--wait", "--collect", "--property=SyslogIdentifier=notes:alice", "--unit="+unit,
		"bash", "-c", "echo hello; echo '<4>careful'; exit 2")
	exec.CommandContext(t.Context(), argv[0], argv[1:]...).Run()
	run(t, "journalctl", "--sync")

	// A process of the same user, outside of the unit, claims to be about it or of it.
	run(t, asDev("systemd-run", "--user", "--quiet", "--property=SyslogIdentifier=notes:alice", "--unit=claimant.service",
		"bash", "-c", "echo forged; exec tail -f /dev/null")...)
	eventually(t, "the claim to be in the journal", func() bool {
		return strings.Contains(run(t, "journalctl", "--output=cat", "SYSLOG_IDENTIFIER=notes:alice"), "forged")
	})
	run(t, asDev("systemctl", "--user", "stop", "claimant.service")...)
	forged := fmt.Sprintf("MESSAGE=forged\nSYSLOG_IDENTIFIER=notes:alice\nUSER_UNIT=%s\nUNIT=%s\n_SYSTEMD_USER_UNIT=%s\n", unit, unit, unit)
	runRole(t, "send", forged, asDev("systemd-run", "--user", "--quiet", "--pipe", "--wait", "--collect", "--unit=attacker.service")...)
	runRole(t, "send", forged, asDev()...)
	// A unit of the same name of the system's manager is another one.
	runUnit(t, unit, "echo system")

	list, complaint := readAsDev(t, "read-user", query)
	if complaint != "" {
		t.Fatal(complaint)
	}
	if got, want := messages(list, false), []string{"hello", "careful"}; !slices.Equal(got, want) {
		t.Errorf("the unit's own: got %q, want %q", got, want)
	}
	said := strings.Join(messages(list, true), "\n")
	for _, want := range []string{"Started " + unit, "Main process exited, code=exited, status=2", "Failed with result 'exit-code'"} {
		if !strings.Contains(said, want) {
			t.Errorf("the manager's: got %q, want it to contain %q", said, want)
		}
	}
	if strings.Contains(said, "forged") {
		t.Errorf("the manager's: got %q, want nothing forged", said)
	}
	query.Lines = len(list)
	if newest, _ := readAsDev(t, "read-user", query); !slices.Equal(newest, list) {
		t.Errorf("the newest %d: got %v, want %v", len(list), newest, list)
	}
	query.Lines = -1
	if got := messages(read(t, query), false); !slices.Equal(got, []string{"system"}) {
		t.Errorf("the system's unit: got %q, want its own", got)
	}
}

// A process that prints and ends at once is gone before journald looks for its unit, now
// and then. Its line counts all the same.
func TestLastWordsOfAUsersUnit(t *testing.T) {
	onDisk(t)
	unit := unitFor(t)
	var want []string
	for i := range 40 {
		word := fmt.Sprint("word ", i)
		want = append(want, word)
		run(t, asDev("systemd-run", "--user", "--quiet", "--wait", "--collect", "--property=SyslogIdentifier=notes:alice",
			"--unit="+unit, "echo", word)...)
	}
	run(t, "journalctl", "--sync")
	list, complaint := readAsDev(t, "read-user", Query{Unit: unit, Identifier: "notes:alice", Lines: -1})
	if got := messages(list, false); complaint != "" || !slices.Equal(got, want) {
		t.Errorf("got %q and %q, want %q", got, complaint, want)
	}
}

// A follower may be there before the user's journal is.
func TestUserFollowsFromTheFirstEntry(t *testing.T) {
	onDisk(t)
	unit := unitFor(t)
	argv := asDev(roleEnv+"=read-user", fmt.Sprintf(argumentEnv+`={"Unit":%q,"Identifier":"notes:alice","Lines":-1,"Follow":true}`, unit), program(t))
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the follower to run", func() bool { return exec.Command("pgrep", "--exact", "journal.test").Run() == nil })
	start := asDev("systemd-run", "--user", "--quiet", "--wait", "--collect", "--property=SyslogIdentifier=notes:alice",
		"--unit="+unit, "echo", "hello")
	run(t, start...)
	lines := json.NewDecoder(out)
	for {
		var e Entry
		if err := lines.Decode(&e); err != nil {
			t.Fatal(err)
		}
		if e.Message == "hello" {
			break
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
}

func TestNoPermission(t *testing.T) {
	unit := unitFor(t)
	runUnit(t, unit, "echo secret")
	for _, storage := range []string{"in memory", "on disk"} {
		t.Run(storage, func(t *testing.T) {
			if storage == "on disk" {
				onDisk(t)
			}
			for _, follow := range []bool{false, true} {
				list, complaint := readAsDev(t, "read-system", Query{Unit: unit, Lines: -1, Follow: follow})
				want := string(tenant.CodeUnsupported) + ": no permission to read the system's journal; as root: usermod -aG systemd-journal dev; then log in again\n"
				if len(list) != 0 || complaint != want {
					t.Errorf("got %v and %q, want %q", list, complaint, want)
				}
			}
		})
	}
	_, complaint := readAsDev(t, "read-user", Query{Unit: unit, Lines: -1})
	if want := "keeps no journal of its own for this user"; !strings.Contains(complaint, want) {
		t.Errorf("the user's own, in memory: got %q, want %q", complaint, want)
	}

	runUnit(t, unit, "echo secret") // what was stored until here went with the one on disk

	// Doing what the hint says works; setpriv takes the groups anew, as a login does.
	run(t, "usermod", "-aG", "systemd-journal", "dev")
	t.Cleanup(func() { exec.Command("gpasswd", "-d", "dev", "systemd-journal").Run() })
	list, complaint := readAsDev(t, "read-system", Query{Unit: unit, Lines: -1})
	if got := messages(list, false); complaint != "" || !slices.Equal(got, []string{"secret"}) {
		t.Errorf("in the group: got %q and %q", got, complaint)
	}
}

func TestNoJournal(t *testing.T) {
	const dir, file = "/run/systemd/journald.conf.d", "/run/systemd/journald.conf.d/zz-none.conf"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("[Journal]\nStorage=none\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.Remove(file)
		restartJournald(t)
	})
	restartJournald(t)
	for _, journal := range journalDirs { // what was kept until then
		if err := os.RemoveAll(journal); err != nil {
			t.Fatal(err)
		}
	}
	_, err := first(t.Context(), New(System), Query{Unit: unitFor(t), Lines: -1})
	if tenant.CodeOf(err) != tenant.CodeUnsupported || !strings.Contains(err.Error(), "keeps no journal") {
		t.Errorf("got %v, want %s", err, tenant.CodeUnsupported)
	}
}
