package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unseen reports whether the app's side, which has closed the connection, did so before any
// of the sent bytes had arrived, so that no process can have read them. Its end comes with
// an acknowledgement of all that came before it, which is the kernel's word and depends on no
// order in which we hear of things (tcp(7), SIOCOUTQ): a write succeeds as long as the reset
// that it leads to is on its way, and that may be later than the end is read.
//
// A Unix socket has no such bytes: there the write itself fails.
func unseen(raw syscall.RawConn, sent int) bool {
	left := 0
	err := raw.Control(func(fd uintptr) {
		if n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			left = n
		}
	})
	return err == nil && sent > 0 && left >= sent
}
