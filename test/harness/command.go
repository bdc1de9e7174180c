package harness

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Command is a command as the server's user, in the server's directory.
func (s *Server) Command(argv ...string) *exec.Cmd {
	path := argv[0]
	if !strings.Contains(path, "/") {
		if p := filepath.Join(s.bin, path); exists(p) {
			path = p
		}
	}
	cmd := exec.Command(path, argv[1:]...)
	cmd.Dir, cmd.Env = s.Dir, s.env
	if s.rootless {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: devUID, Gid: devUID}}
	}
	if s.rootless && s.journal {
		// The machine's journal is in memory, where only this group may read it.
		journal, err := user.LookupGroup("systemd-journal")
		if err != nil {
			s.tb.Fatal(err)
		}
		gid, err := strconv.ParseUint(journal.Gid, 10, 32)
		if err != nil {
			s.tb.Fatal(err)
		}
		cmd.SysProcAttr.Credential.Groups = []uint32{uint32(gid)}
	}
	return cmd
}

// Result is what a command did.
type Result struct {
	Stdout, Stderr string
	Code           int
}

func (r Result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %sstderr: %s", r.Code, r.Stdout, r.Stderr)
}

// Ten runs a ten command.
func (s *Server) Ten(args ...string) Result {
	s.tb.Helper()
	cmd := s.Command(append([]string{"ten"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := s.run(cmd)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.tb.Fatal(err)
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// Token makes a token with `ten token gen`.
func (s *Server) Token(args ...string) (id, secret string) {
	s.tb.Helper()
	r := s.Ten(append([]string{"token", "gen", "--json"}, args...)...)
	var made struct{ ID, Secret string }
	if err := json.Unmarshal([]byte(r.Stdout), &made); r.Code != 0 || err != nil {
		s.tb.Fatalf("token gen %q: %s, %v", args, r, err)
	}
	return made.ID, made.Secret
}
