package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/client"
	"tenement.dev/internal/tenant"
)

// socketName is the API's socket in the runtime directory.
const socketName = "api.sock"

// address is which daemon is meant: a socket's path, or the URL of an API.
type address struct {
	path   string
	remote bool
	chosen bool // by flag or environment
}

// address finds the daemon: --server, else TENEMENT_SERVER, else where this user's daemon
// has its socket, else the system's, if this user may. --api and TENEMENT_API are other
// names for the same.
func (p *program) address() (address, error) {
	for _, from := range []struct{ name, value string }{
		{"--server", p.server}, {"TENEMENT_SERVER", p.getenv("TENEMENT_SERVER")}, {"TENEMENT_API", p.getenv("TENEMENT_API")},
	} {
		if from.value != "" {
			return parseServer(from.name, from.value)
		}
	}
	own, system := filepath.Join(p.runtimeDir(), socketName), p.systemSocket()
	if p.euid != 0 && !isSocket(own) && connect(system) == nil {
		return address{path: system}, nil
	}
	return address{path: own}, nil
}

// systemSocket is that of the daemon that root or the package runs.
func (w world) systemSocket() string { return filepath.Join(w.run, "tenement", socketName) }

// connect reports whether this process may connect to the socket at path, and somebody has
// it open; systemd may, for a daemon that this starts.
func connect(path string) error {
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

func parseServer(name, value string) (address, error) {
	scheme, rest, ok := strings.Cut(value, "://")
	switch {
	case !ok && !isHostPort(value):
		return address{path: value, chosen: true}, nil
	case !ok:
		host, _, _ := net.SplitHostPort(value)
		if isLocal(host) || isLoopback(host) {
			return address{path: "http://" + value, remote: true, chosen: true}, nil
		}
		return address{}, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "find the daemon",
			Msg:  fmt.Sprintf("%s: %.200q does not say how to speak there", name, value),
			Hint: fmt.Sprintf("write https://%[1]s, or http://%[1]s where nobody else listens on the way", value),
		}
	case scheme == "unix" && filepath.IsAbs(rest):
		return address{path: rest, chosen: true}, nil
	case scheme == "http" || scheme == "https":
		u, err := url.Parse(value)
		if err == nil && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" {
			u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/api/v1")
			return address{path: u.String(), remote: true, chosen: true}, nil
		}
	}
	return address{}, &tenant.Error{
		Code: tenant.CodeInvalid, Op: "find the daemon",
		Msg:  fmt.Sprintf("%s: %.200q is not the address of a daemon", name, value),
		Hint: "write https://example.com, or unix:///run/tenement/api.sock, or the path alone",
	}
}

// isHostPort reports whether an address is one of TCP, without a scheme, and no path.
func isHostPort(value string) bool {
	host, port, err := net.SplitHostPort(value)
	if err != nil || host == "" || strings.ContainsAny(value, "/\\") {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// secret is the token for a remote daemon: that of --token-file, else TENEMENT_TOKEN, else
// that of TENEMENT_TOKEN_FILE.
func (p *program) secret() (string, error) {
	path := p.tokenFile
	if path == "" {
		if secret := p.getenv("TENEMENT_TOKEN"); secret != "" {
			return oneWord("TENEMENT_TOKEN", secret)
		}
		path = p.getenv("TENEMENT_TOKEN_FILE")
	}
	if path == "" {
		return "", &tenant.Error{
			Code: tenant.CodeInvalid, Op: "find the token",
			Msg:  "a daemon that is asked over the network wants a token",
			Hint: "`ten token gen` on its machine makes one; put it into TENEMENT_TOKEN, or into a file and name that with --token-file",
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", &tenant.Error{
			Code: tenant.CodeInvalid, Op: "find the token", Err: err,
			Msg: fmt.Sprintf("the token cannot be read: %v", err), Hint: "the file is to hold the token alone",
		}
	}
	return oneWord(path, string(text))
}

// oneWord is the token that is in a text, which must have nothing else: it goes into a header.
func oneWord(where, text string) (string, error) {
	words := strings.Fields(text)
	if len(words) == 1 && !strings.ContainsFunc(words[0], func(r rune) bool { return r < '!' || r > '~' }) {
		return words[0], nil
	}
	return "", &tenant.Error{
		Code: tenant.CodeInvalid, Op: "find the token",
		Msg: fmt.Sprintf("%s does not hold a token, and nothing else", where), Hint: "a token is one word, which begins with ten_: `ten token gen > FILE` writes it alone",
	}
}

// dial makes a client of the daemon that is meant. It does not connect.
func (p *program) dial(addr address) (*client.Client, error) {
	if !addr.remote {
		return client.New(addr.path), nil
	}
	secret, err := p.secret()
	if err != nil {
		return nil, err
	}
	if u, err := url.Parse(addr.path); err == nil && u.Scheme == "http" && !isLocal(u.Hostname()) && !isLoopback(u.Hostname()) {
		p.note("warning: %s is not encrypted: who listens on the way reads the token\n", addr.path)
	}
	return client.NewRemote(addr.path, secret), nil
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// ask has a client of the daemon do something, and explains it where none answers.
func (p *program) ask(do func(c *client.Client) error) error {
	addr, err := p.address()
	if err != nil {
		return err
	}
	c, err := p.dial(addr)
	if err != nil {
		return err
	}
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
	system := p.systemSocket()
	installed := exists(p.systemConfig())
	if p.euid != 0 {
		switch {
		case isSocket(system) && system != addr.path:
			told.Hint += fmt.Sprintf("; or use the system's, at %s, with sudo%s", system, orMember(system))
		case installed:
			told.Hint += "; the system's does not run either: `systemctl start tenement`, as root"
		}
		return &told
	}
	if installed && addr.path == system {
		told.Hint = "start that of this machine with `systemctl start tenement`; `journalctl -u tenement` says why it ended"
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

// orMember tells of the group whose members may use a socket, if there is one.
func orMember(path string) string {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil || stat.Mode&unix.S_IWGRP == 0 {
		return ""
	}
	group, err := user.LookupGroupId(strconv.FormatUint(uint64(stat.Gid), 10))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", or as a member of the group %s, from the next login on", group.Name)
}

func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == os.ModeSocket
}
