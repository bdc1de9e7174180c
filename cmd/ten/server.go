package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

// socketName is the API's socket in the runtime directory.
const socketName = "api.sock"

// address is which daemon is meant.
type address struct {
	path   string
	chosen bool // by flag or environment
}

// address finds the daemon's socket: --server, else TENEMENT_SERVER, else where this
// user's daemon has it.
func (p *program) address() (address, error) {
	for _, from := range []struct{ name, value string }{
		{"--server", p.server}, {"TENEMENT_SERVER", p.getenv("TENEMENT_SERVER")},
	} {
		if from.value != "" {
			path, err := parseServer(from.name, from.value)
			return address{path, true}, err
		}
	}
	return address{filepath.Join(p.runtimeDir(), socketName), false}, nil
}

func parseServer(name, value string) (path string, err error) {
	scheme, rest, ok := strings.Cut(value, "://")
	switch {
	case !ok:
		return value, nil
	case scheme == "unix" && filepath.IsAbs(rest):
		return rest, nil
	case scheme == "http" || scheme == "https":
		return "", &tenant.Error{
			Code: tenant.CodeInvalid, Op: "find the daemon",
			Msg:  "remote access is not supported yet",
			Hint: fmt.Sprintf("%s is %s; on the daemon's machine give its socket, as in unix:///run/tenement/api.sock", name, value),
		}
	default:
		return "", &tenant.Error{
			Code: tenant.CodeInvalid, Op: "find the daemon",
			Msg:  fmt.Sprintf("%s: %q is not the address of a daemon", name, value),
			Hint: "write unix:///run/tenement/api.sock, or the path alone",
		}
	}
}

// ask has a client of the daemon do something, and explains it where none answers.
func (p *program) ask(do func(c *client.Client) error) error {
	addr, err := p.address()
	if err != nil {
		return err
	}
	c := client.New(addr.path)
	defer c.Close()
	return p.explainAbsence(addr, do(c))
}

// explainAbsence says where another daemon is, if nobody answers where one was looked
// for by default.
func (p *program) explainAbsence(addr address, err error) error {
	var e *tenant.Error
	if !errors.Is(err, client.ErrNoDaemon) || !errors.As(err, &e) || addr.chosen {
		return err
	}
	told := *e
	if p.euid != 0 {
		system := filepath.Join(p.run, "tenement", socketName)
		if isSocket(system) && system != addr.path {
			told.Hint += fmt.Sprintf("; or use the system's, at %s, with sudo", system)
		}
		return &told
	}
	// The pattern is well-formed, so there is no error.
	users, _ := filepath.Glob(filepath.Join(p.run, "user", "*", "tenement", socketName))
	for _, path := range users {
		if isSocket(path) {
			told.Hint += fmt.Sprintf("; or use a user's, with --server %s", path)
			break
		}
	}
	return &told
}

func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == os.ModeSocket
}
