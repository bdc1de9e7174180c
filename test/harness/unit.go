package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// runUnit starts the daemon as a unit, with its socket in systemd's hands.
func (s *Server) runUnit() {
	s.tb.Helper()
	if s.rootless {
		s.tb.Fatal("a daemon as a unit is the system's")
	}
	if s.installed {
		s.Unit("start", "tenement.socket", "tenement-keeper.socket", "tenement.service")
		return
	}
	var env strings.Builder
	for _, kv := range s.env {
		fmt.Fprintf(&env, "Environment=%q\n", kv)
	}
	s.WriteFile(s.daemon+".socket", fmt.Sprintf("[Socket]\nListenStream=127.0.0.1:%d\nBacklog=4096\n", s.Port))
	s.WriteFile(s.daemon+".service", fmt.Sprintf(`[Unit]
StartLimitIntervalSec=0
[Service]
Type=notify
WorkingDirectory=%[1]s
ExecStart=%[2]s serve --domain localhost
ExecReload=%[2]s reload
Restart=always
RestartSec=50ms
%[3]s%[4]s`, s.Dir, filepath.Join(s.bin, "ten"), env.String(), s.weights()))
	s.Unit("link", "--runtime", filepath.Join(s.Dir, s.daemon+".socket"), filepath.Join(s.Dir, s.daemon+".service"))
	s.Unit("start", s.daemon+".socket", s.daemon+".service")
}

// weights are the lines of the package's unit that say what the daemon is worth beside the
// instances.
func (s *Server) weights() string {
	s.tb.Helper()
	repo, err := Repository()
	if err != nil {
		s.tb.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(repo, "packaging/systemd/tenement.service"))
	if err != nil {
		s.tb.Fatal(err)
	}
	var lines strings.Builder
	for line := range strings.Lines(string(text)) {
		switch key, _, _ := strings.Cut(line, "="); key {
		case "Slice", "CPUWeight", "IOWeight", "OOMScoreAdjust":
			lines.WriteString(line)
		}
	}
	return lines.String()
}

// Unit runs systemctl, which must succeed. Without further arguments it is about the
// daemon's service.
func (s *Server) Unit(verb string, args ...string) {
	s.tb.Helper()
	if len(args) == 0 || strings.HasPrefix(args[len(args)-1], "-") {
		args = append(args, s.daemon+".service")
	}
	if out, err := s.output(s.systemctl(append([]string{verb}, args...)...)); err != nil {
		s.tb.Fatalf("systemctl %s %v: %v\n%s", verb, args, err, out)
	}
}

// signalUnit signals the daemon and waits until systemd has seen its end.
func (s *Server) signalUnit(sig syscall.Signal) {
	s.tb.Helper()
	pid := s.PID()
	if err := syscall.Kill(pid, sig); err != nil {
		s.tb.Fatal(err)
	}
	deadline := time.Now().Add(Timeout)
	for s.PID() == pid {
		if time.Now().After(deadline) {
			s.tb.Fatalf("the daemon did not end on %v\n%s", sig, s.UnitLog())
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.HTTP.CloseIdleConnections()
}

// UnitLog is what the daemon said as a unit, over all its runs.
func (s *Server) UnitLog() string {
	argv := []string{"/usr/bin/journalctl", "--no-pager", "--output=cat", "-u", s.daemon + ".service"}
	if s.installed {
		argv = append(argv, "-u", "tenement-keeper.service", "-u", "tenement-probe.service")
	}
	out, _ := s.output(s.Command(argv...))
	return out
}

// cleanUpUnit destroys the instances and takes the units away.
func (s *Server) cleanUpUnit() {
	if s.Systemctl("is-enabled", s.daemon+".service") == "not-found" {
		return // never ran
	}
	defer func() {
		if s.tb.Failed() {
			s.tb.Logf("the daemon's log:\n%s", s.UnitLog())
		}
	}()
	s.Unit("start")
	s.destroyAll()
	if s.installed {
		s.Unit("stop", packageUnits...)
		return
	}
	s.Unit("stop", s.daemon+".socket", s.daemon+".service")
	s.Unit("disable", "--runtime", s.daemon+".socket", s.daemon+".service")
}
