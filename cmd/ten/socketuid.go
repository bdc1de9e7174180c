package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// socketUID gives the user of the TCP socket on this machine that has the local address
// and is connected with the remote one (proc_pid_net(5), /proc/PID/net/tcp).
func socketUID(local, remote netip.AddrPort) (int, error) {
	for _, table := range []struct {
		path   string
		mapped bool // all addresses are IPv6
	}{{"/proc/self/net/tcp", false}, {"/proc/self/net/tcp6", true}} {
		if !table.mapped && !local.Addr().Unmap().Is4() {
			continue
		}
		f, err := os.Open(table.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a machine without IPv6
		}
		if err != nil {
			return 0, fmt.Errorf("find socket: %w", err)
		}
		uid, found, err := findSocket(bufio.NewScanner(f), procAddr(local, table.mapped), procAddr(remote, table.mapped))
		f.Close()
		if err != nil || found {
			return uid, err
		}
	}
	return 0, fmt.Errorf("find socket: none is connected from %s to %s", local, remote)
}

func findSocket(lines *bufio.Scanner, local, remote string) (uid int, found bool, err error) {
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 7 && fields[1] == local && fields[2] == remote {
			uid, err := strconv.Atoi(fields[7])
			return uid, err == nil, err
		}
	}
	return 0, false, lines.Err()
}

// procAddr writes an address as the kernel does: each 32 bits as a number of the
// machine's byte order.
func procAddr(a netip.AddrPort, mapped bool) string {
	var b []byte
	if mapped {
		full := a.Addr().As16()
		b = full[:]
	} else {
		short := a.Addr().Unmap().As4()
		b = short[:]
	}
	var s strings.Builder
	for ; len(b) > 0; b = b[4:] {
		fmt.Fprintf(&s, "%08X", binary.NativeEndian.Uint32(b))
	}
	fmt.Fprintf(&s, ":%04X", a.Port())
	return s.String()
}
