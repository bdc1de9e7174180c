package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemDir is where packages have their configuration.
const systemDir = "/etc/tenement"

// packageUnits are those of the package.
var packageUnits = []string{"tenement.socket", "tenement.service", "tenement-keeper.socket", "tenement-keeper.service", "tenement-probe.service"}

// Install puts Tenement into the machine as its package does, until the test ends: programs,
// units, account and directories. Nothing is started.
func Install(tb testing.TB) {
	tb.Helper()
	repo, err := Repository()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { uninstall(tb) })
	run := func(argv ...string) {
		tb.Helper()
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			tb.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
		}
	}
	packaging := filepath.Join(repo, "packaging")
	// By install: a program that a process with many threads has written itself cannot
	// always be run at once (go.dev/issue/22315).
	run("install", "-D", "-m", "755", filepath.Join(repo, "bin/ten"), "/usr/bin/ten")
	run("install", "-D", "-m", "755", filepath.Join(repo, "bin/ten-init"), "/usr/lib/tenement/ten-init")
	for _, unit := range packageUnits {
		run("install", "-D", "-m", "644", filepath.Join(packaging, "systemd", unit), filepath.Join("/usr/lib/systemd/system", unit))
	}
	run("install", "-D", "-m", "644", filepath.Join(packaging, "sysusers.d/tenement.conf"), "/usr/lib/sysusers.d/tenement.conf")
	run("install", "-D", "-m", "644", filepath.Join(packaging, "tmpfiles.d/tenement.conf"), "/usr/lib/tmpfiles.d/tenement.conf")
	run("install", "-d", "-m", "755", systemDir)
	run("systemd-sysusers", "/usr/lib/sysusers.d/tenement.conf")
	run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/tenement.conf")
	run("systemctl", "daemon-reload")
}

// uninstall takes away what Install has put there, but for the account.
func uninstall(tb testing.TB) {
	if tb.Failed() {
		out, _ := exec.Command("journalctl", "--no-pager", "--output=short-monotonic", "--lines=200",
			"-u", "tenement", "-u", "tenement-keeper", "-u", "tenement-probe").CombinedOutput()
		tb.Logf("the log of the units:\n%s", out)
	}
	if out, err := exec.Command("systemctl", append([]string{"stop"}, packageUnits...)...).CombinedOutput(); err != nil {
		tb.Errorf("stop the units: %v\n%s", err, out)
	}
	for _, unit := range packageUnits {
		os.Remove(filepath.Join("/usr/lib/systemd/system", unit))
		os.RemoveAll(filepath.Join("/etc/systemd/system", unit+".d"))
	}
	for _, path := range []string{"/usr/bin/ten", "/usr/lib/tenement", systemDir, "/var/lib/tenement", "/run/tenement",
		"/usr/lib/sysusers.d/tenement.conf", "/usr/lib/tmpfiles.d/tenement.conf"} {
		if err := os.RemoveAll(path); err != nil {
			tb.Error(err)
		}
	}
	if out, err := exec.Command("systemctl", "daemon-reload").CombinedOutput(); err != nil {
		tb.Errorf("daemon-reload: %v\n%s", err, out)
	}
}

// prepareInstalled makes the installed daemon that of the server's directory.
func (s *Server) prepareInstalled() {
	s.tb.Helper()
	Install(s.tb)
	s.follow()
	if s.Dir == systemDir {
		s.Port = 80
		return
	}
	config := filepath.Join(s.Dir, "tenement.toml")
	s.dropIn("tenement.socket", fmt.Sprintf("[Socket]\nListenStream=\nListenStream=127.0.0.1:%d\nListenStream=/run/tenement/api.sock\n", s.Port))
	s.dropIn("tenement.service", fmt.Sprintf("[Service]\nExecStart=\nExecStart=/usr/bin/ten serve --config %s --keeper /run/tenement/keeper.sock\n", config))
	for unit, flag := range map[string]string{"keeper": "", "probe": " --probe"} {
		s.dropIn("tenement-"+unit+".service", fmt.Sprintf("[Service]\nExecStart=\nExecStart=/usr/bin/ten keeper%s --config %s\nReadWritePaths=%s\n", flag, config, s.Dir))
	}
	if out, err := s.output(s.systemctl("daemon-reload")); err != nil {
		s.tb.Fatalf("daemon-reload: %v\n%s", err, out)
	}
}

// dropIn adds to a unit of the package.
func (s *Server) dropIn(unit, text string) {
	s.tb.Helper()
	dir := filepath.Join("/etc/systemd/system", unit+".d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "test.conf"), []byte(text), 0o644); err != nil {
		s.tb.Fatal(err)
	}
}

// follow has Log get what the units say.
func (s *Server) follow() {
	argv := []string{"--follow", "--lines=0", "--output=cat"}
	for _, unit := range packageUnits {
		argv = append(argv, "-u", unit)
	}
	cmd := exec.Command("/usr/bin/journalctl", argv...)
	cmd.Stdout = s.Log
	if err := cmd.Start(); err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}
