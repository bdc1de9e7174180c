package socket

import (
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// short is up to which size, in bytes, copying is done before a scheduler needs to hear of
// it.
const short = 64 << 10

// Transfers are the two directions of a socket. They may be used at the same time.
type Transfers struct {
	raw         syscall.RawConn
	read, write transfer
}

// Init has the transfers go through raw, which waits in the runtime's poller and is a stream
// socket's. It comes first, and once.
func (t *Transfers) Init(raw syscall.RawConn) {
	t.raw = raw
	t.read.once, t.write.once = t.read.receive, t.write.send
}

// Receive is recv(2) as soon as there is anything; 0 bytes are the end. failed is the
// kernel's word, err the poller's: past the deadline, or closed.
func (t *Transfers) Receive(p []byte) (n int, failed syscall.Errno, err error) {
	return t.read.run(t.raw.Read, p)
}

// Send sends all of p unless it fails; n is how much was sent. A peer that has gone is
// EPIPE, not a signal.
func (t *Transfers) Send(p []byte) (n int, failed syscall.Errno, err error) {
	for n < len(p) && failed == 0 && err == nil {
		var once int
		once, failed, err = t.write.run(t.raw.Write, p[n:])
		n += once
	}
	return n, failed, err
}

// transfer is one direction; its function is made once, since one that is made for each
// transfer would have to be allocated.
type transfer struct {
	mu   sync.Mutex // guards what follows, held over the transfer
	p    []byte
	n    int
	err  syscall.Errno
	once func(fd uintptr) (done bool)
}

// run has the function called by wait until it is done.
func (t *transfer) run(wait func(func(uintptr) bool) error, p []byte) (n int, failed syscall.Errno, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.p, t.n, t.err = p, 0, 0
	err = wait(t.once)
	t.p = nil
	return t.n, t.err, err
}

func (t *transfer) receive(fd uintptr) bool {
	defer after(fd)
	return t.do(unix.SYS_RECVFROM, fd, unix.MSG_DONTWAIT)
}

func (t *transfer) send(fd uintptr) bool {
	before()
	return t.do(unix.SYS_SENDTO, fd, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// isQuiet reports whether nothing of the peer's is to be received just now, neither bytes nor
// its end nor an error.
func isQuiet(fd uintptr) bool {
	var b byte
	_, _, err := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&b)), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	return err == unix.EAGAIN
}

// do makes the call, again and again until it is not interrupted.
func (t *transfer) do(call, fd uintptr, flags uintptr) bool {
	for {
		var n uintptr
		var err syscall.Errno
		if len(t.p) <= short {
			n, _, err = unix.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.p))), uintptr(len(t.p)), flags, 0, 0)
		} else {
			n, _, err = unix.Syscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.p))), uintptr(len(t.p)), flags, 0, 0)
		}
		switch err {
		case 0:
			t.n, t.err = int(n), 0
			return true
		case unix.EINTR:
		default:
			t.err = err
			return err != unix.EAGAIN
		}
	}
}
