package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A lookout sees whether anybody listens on a port of the loopback, for a fraction of what
// a try to connect costs: it has the kernel look for the one socket to which a connection
// would go (sock_diag(7), without NLM_F_DUMP), and no packet is sent. By that apps are
// awaited that no ear hears: those of isolation = "process", which may run set-user-ID
// programs.
type lookout struct {
	fd   int
	port int
	seq  uint32
	looks
	buffer [512]byte
}

// looks counts looks.
type looks int

// both reports whether this look is one on both loopbacks.
func (n *looks) both() bool {
	*n++
	return *n%shareOf6 == 0
}

// newLookout gives nil where the kernel has no such answers (no module tcp_diag).
func newLookout(port int) *lookout {
	fd, err := openDiag()
	if err != nil {
		return nil
	}
	l := &lookout{fd: fd, port: port}
	// To look for one socket gives the same error for no module as for no socket.
	if _, err := l.owners(os.Getuid()); err != nil {
		l.close()
		return nil
	}
	return l
}

func (l *lookout) close() { unix.Close(l.fd) }

// owners asks for all that listen on the port, at any address.
func (l *lookout) owners(uid int) (owned, error) { return dumpOwners(l.fd, &l.seq, l.port, uid) }

// sees looks. An error is taken for somebody, whom a try will then not find.
func (l *lookout) sees() bool {
	found, err := l.look(unix.AF_INET)
	if err == nil && !found && l.both() {
		found, err = l.look(unix.AF_INET6)
	}
	return found || err != nil
}

// look looks for who listens in a family.
func (l *lookout) look(family uint8) (bool, error) {
	l.seq++
	request := diagRequest{
		header: unix.NlMsghdr{Type: diagByFamily, Flags: unix.NLM_F_REQUEST, Seq: l.seq},
		family: family, protocol: unix.IPPROTO_TCP,
		id: diagSocketID{cookie: [2]uint32{^uint32(0), ^uint32(0)}}, // INET_DIAG_NOCOOKIE
	}
	request.header.Len = uint32(unsafe.Sizeof(request))
	// Which is which has changed once.
	binary.BigEndian.PutUint16(request.id.sport[:], uint16(l.port))
	request.id.dport = request.id.sport
	request.id.src = loopback6
	if family == unix.AF_INET {
		request.id.src = [16]byte{127, 0, 0, 1}
	}
	request.id.dst = request.id.src
	message := unsafe.Slice((*byte)(unsafe.Pointer(&request)), unsafe.Sizeof(request))
	if err := unix.Sendto(l.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, fmt.Errorf("look for a listening socket: %w", err)
	}
	n, _, err := unix.Recvfrom(l.fd, l.buffer[:], 0)
	if err != nil {
		return false, fmt.Errorf("look for a listening socket: %w", err)
	}
	return l.found(l.buffer[:n])
}

// found reads the kernel's answer (netlink(7)).
func (l *lookout) found(answer []byte) (bool, error) {
	const head = int(unsafe.Sizeof(unix.NlMsghdr{}))
	if len(answer) < head+4 || binary.NativeEndian.Uint32(answer[8:]) != l.seq {
		return false, errDiagAnswer
	}
	body := answer[head:]
	switch binary.NativeEndian.Uint16(answer[4:]) {
	case diagByFamily:
		// One that is connected to itself is no answer.
		return body[unsafe.Offsetof(diagMessage{}.state)] == tcpListenState, nil
	case unix.NLMSG_ERROR:
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
		if errno == unix.ENOENT {
			return false, nil
		}
		return false, fmt.Errorf("look for a listening socket: %w", errno)
	default:
		return false, errDiagAnswer
	}
}
