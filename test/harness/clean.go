package harness

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// cleanUp destroys what is left and checks that nothing stays behind.
func (s *Server) cleanUp() {
	if s.unit {
		s.cleanUpUnit()
	} else if s.tb.Failed() {
		s.tb.Logf("the daemon's log:\n%s", s.Log)
	}
	if s.cmd != nil {
		select {
		case <-s.ended:
			if s.TryRun() != nil { // to destroy what it left running
				s.sweep()
				return
			}
		default:
		}
		s.destroyAll()
		s.Signal(syscall.SIGTERM)
	}
	s.checkClean()
	s.sweep()
}

func (s *Server) destroyAll() {
	for _, i := range s.List() {
		if r := s.Ten("destroy", "--yes", i.ID.String()); r.Code != 0 {
			s.tb.Errorf("destroy %s: %s", i.ID, r)
		}
	}
}

// checkClean fails the test when units, processes or files of instances are left.
func (s *Server) checkClean() {
	left := s.Systemctl("list-units", "--all", "--plain", "--no-legend", "tenement-*@*")
	if left != "" {
		s.tb.Errorf("units left behind:\n%s", left)
	}
	for _, pattern := range []string{"/run/userdb/*", s.runtime + "/ingress/*", s.runtime + "/app/*", s.runtime + "/bundle/*", s.runtime + "/fence/*", filepath.Join(s.Dir, "data/[a-z0-9]*/*")} {
		if files, _ := filepath.Glob(pattern); len(files) > 0 {
			s.tb.Errorf("left behind: %v", files)
		}
	}
	if tables, err := s.output(exec.Command("nft", "list", "tables")); err != nil || strings.Contains(tables, "tenement") {
		s.tb.Errorf("left behind in nftables: %s (%v)", tables, err)
	}
}

// sweep removes units that a failed test has left, for the next one.
func (s *Server) sweep() {
	for _, verb := range []string{"stop", "reset-failed"} {
		args := []string{"tenement-*@*.socket", "tenement-*@*.service"}
		_, _ = s.output(s.systemctl(append([]string{verb}, args...)...))
	}
}
