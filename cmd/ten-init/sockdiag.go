package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What is asked and answered over a socket of NETLINK_SOCK_DIAG (sock_diag(7)); x/sys does
// not have it.
type (
	// diagSocketID is struct inet_diag_sockid; its ports are big-endian.
	diagSocketID struct {
		sport, dport [2]byte
		src, dst     [16]byte
		device       uint32
		cookie       [2]uint32
	}
	// diagRequest is struct inet_diag_req_v2 after its struct nlmsghdr.
	diagRequest struct {
		header                            unix.NlMsghdr
		family, protocol, extensions, pad uint8
		states                            uint32
		id                                diagSocketID
	}
	// diagMessage is struct inet_diag_msg.
	diagMessage struct {
		family, state uint8
		_             [2]uint8 // timer, retransmissions
		id            diagSocketID
		_             [3]uint32 // expiry, queues
		uid           uint32
		_             uint32 // inode
	}
)

const (
	diagByFamily   = 20 // SOCK_DIAG_BY_FAMILY
	tcpListenState = 10 // TCP_LISTEN
)

var errDiagAnswer = errors.New("ask for listening sockets: malformed answer")

// owned is what is known of those that listen on a port: whether they are a uid's, whether
// they are anybody else's, and the family in which the uid's accepts on the loopback. A
// socket of IPv6 for any address may accept IPv4 or not, so then that is empty.
type owned struct {
	own, other bool
	network    string
}

func (o *owned) add(more owned) {
	o.own, o.other = o.own || more.own, o.other || more.other
	if o.network == "" {
		o.network = more.network
	}
}

// openDiag makes a socket to ask with.
func openDiag() (fd int, err error) {
	fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return -1, fmt.Errorf("ask for listening sockets: %w", err)
	}
	// It answers at once, or not at all.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("ask for listening sockets: %w", err)
	}
	return fd, nil
}

// askForOwners asks the kernel for what listens on the port.
func askForOwners(port, uid int) (found owned, err error) {
	fd, err := openDiag()
	if err != nil {
		return owned{}, err
	}
	defer unix.Close(fd)
	return dumpOwners(fd, new(uint32), port, uid)
}

// dumpOwners is askForOwners over a socket that may be used again. seq numbers the questions:
// what is left of the answer to an earlier one is no answer.
func dumpOwners(fd int, seq *uint32, port, uid int) (found owned, err error) {
	buffer := make([]byte, 16<<10)
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		*seq++
		request := diagRequest{
			header: unix.NlMsghdr{Type: diagByFamily, Flags: unix.NLM_F_REQUEST | unix.NLM_F_DUMP, Seq: *seq},
			family: family, protocol: unix.IPPROTO_TCP, states: 1 << tcpListenState,
		}
		request.header.Len = uint32(unsafe.Sizeof(request))
		binary.BigEndian.PutUint16(request.id.sport[:], uint16(port))
		message := unsafe.Slice((*byte)(unsafe.Pointer(&request)), unsafe.Sizeof(request))
		if err := unix.Sendto(fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return owned{}, fmt.Errorf("ask for listening sockets: %w", err)
		}
		for done := false; !done; {
			n, _, err := unix.Recvfrom(fd, buffer, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return owned{}, fmt.Errorf("ask for listening sockets: %w", err)
			}
			if n >= 12 && binary.NativeEndian.Uint32(buffer[8:]) != *seq {
				continue
			}
			var more owned
			if more, done, err = diagOwners(buffer[:n], port, uid); err != nil {
				return owned{}, err
			}
			found.add(more)
		}
	}
	return found, nil
}

// diagOwners reads messages of the kernel's (netlink(7)); done says that these were the last.
func diagOwners(buffer []byte, port, uid int) (found owned, done bool, err error) {
	const head = int(unsafe.Sizeof(unix.NlMsghdr{}))
	var m diagMessage
	for len(buffer) >= head {
		length, kind := int(binary.NativeEndian.Uint32(buffer)), binary.NativeEndian.Uint16(buffer[4:])
		if length < head || length > len(buffer) {
			return owned{}, false, errDiagAnswer
		}
		body := buffer[head:length]
		switch {
		case kind == unix.NLMSG_DONE:
			return found, true, nil
		case kind == unix.NLMSG_ERROR && len(body) >= 4:
			errno := unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
			return owned{}, false, fmt.Errorf("ask for listening sockets: %w", errno)
		case kind != diagByFamily || len(body) < int(unsafe.Sizeof(m)):
			return owned{}, false, errDiagAnswer
		}
		if body[unsafe.Offsetof(m.state)] == tcpListenState && int(binary.BigEndian.Uint16(body[unsafe.Offsetof(m.id):])) == port {
			mine := int(binary.NativeEndian.Uint32(body[unsafe.Offsetof(m.uid):])) == uid
			src := [16]byte(body[unsafe.Offsetof(m.id)+unsafe.Offsetof(m.id.src):])
			found.add(owned{own: mine, other: !mine, network: familyOf(body[unsafe.Offsetof(m.family)], src)})
		}
		buffer = buffer[min((length+3)&^3, len(buffer)):] // NLMSG_ALIGN
	}
	return found, false, nil
}

// familyOf gives the family in which a socket bound to the address accepts on the
// loopback, if that is plain.
func familyOf(family uint8, bound [16]byte) string {
	switch {
	case family == unix.AF_INET && ([4]byte(bound[:4]) == [4]byte{} || [4]byte(bound[:4]) == [4]byte{127, 0, 0, 1}):
		return "tcp4"
	case family == unix.AF_INET6 && bound == loopback6:
		return "tcp6"
	default:
		return ""
	}
}
