package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"tenement.dev/internal/ingress"
)

// errNobody says that nobody listens on the app's port.
var errNobody = errors.New("nobody listens")

// tcpTables are where the kernel lists the sockets of this network namespace
// (proc_pid_net(5)).
var tcpTables = []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"}

// checkOwner makes sure that who listens on the app's port is this uid: in the
// machine's network anybody can bind the port of an app that is about to. The error is
// errNobody, or a refusal where it is somebody else's, in part or on another address.
func (a address) checkOwner() error {
	found, err := askForOwners(a.port, os.Getuid())
	if err != nil { // no module for it (tcp_diag)
		found = owned{}
		found.own, found.other, err = readOwners(a.port, os.Getuid())
	}
	if err != nil {
		return fmt.Errorf("look for the owner of port %d: %w", a.port, err)
	}
	return a.judge(found)
}

func (a address) judge(found owned) error {
	switch {
	case found.other:
		return a.portTaken()
	case !found.own:
		return errNobody
	default:
		return nil
	}
}

// reachOwn is checkOwner that also gives the family, "tcp4" or "tcp6", in which the port is
// reached on the loopback. It connects only where that is not plain otherwise. out may be
// nil.
func (a address) reachOwn(out *lookout) (network string, err error) {
	var found owned
	if out != nil {
		found, err = out.owners(os.Getuid())
	} else {
		found, err = askForOwners(a.port, os.Getuid())
	}
	if err == nil && (found.network != "" || !found.own || found.other) {
		return found.network, a.judge(found)
	}
	conn, network, err := a.knock(true)
	if err != nil {
		return "", errNobody // or on another address
	}
	conn.Close()
	return network, a.checkOwner()
}

// portTaken is the refusal that makes the daemon choose another port.
func (a address) portTaken() *ingress.Refusal {
	return &ingress.Refusal{
		Class: ingress.ClassPortTaken,
		Text:  fmt.Sprintf("port %d is in use by another process", a.port),
	}
}

// readOwners tells what owners does of the kernel's lists. They are expensive: what a
// buffer of the reader's still has room for is looked for in the table of all connections
// of the machine, which takes milliseconds.
func readOwners(port, uid int) (own, other bool, err error) {
	for _, path := range tcpTables {
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // no IPv6
		}
		if err != nil {
			return false, false, err
		}
		o, n, err := owners(file, port, uid)
		file.Close()
		if err != nil {
			return false, false, err
		}
		own, other = own || o, other || n
	}
	return own, other, nil
}

// owners reads a table of TCP sockets and tells whether uid listens on the port, and
// whether anybody else does. It stops at the first socket that does not listen: the
// kernel lists those that do first, and there can be many others.
func owners(table io.Reader, port, uid int) (own, other bool, err error) {
	const listening = "0A"
	suffix := fmt.Sprintf(":%04X", port)
	lines := bufio.NewScanner(table)
	lines.Scan() // the heading
	for lines.Scan() {
		// "sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid …"
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 {
			return false, false, fmt.Errorf("malformed line %q", lines.Text())
		}
		if fields[3] != listening {
			break
		}
		if !strings.HasSuffix(fields[1], suffix) {
			continue
		}
		owner, err := strconv.ParseUint(fields[7], 10, 32)
		if err != nil {
			return false, false, fmt.Errorf("malformed line %q", lines.Text())
		}
		if int(owner) == uid {
			own = true
		} else {
			other = true
		}
	}
	return own, other, lines.Err()
}
