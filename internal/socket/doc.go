// Package socket moves bytes through stream sockets without ever blocking a thread.
//
// Each transfer asks the kernel not to wait (MSG_DONTWAIT, recv(2)), and a goroutine that
// finds nothing waits in the runtime's poller. That holds whatever the flags of the open
// file description are, which others may share. And since a call that does not wait needs no
// thread to stand in for it meanwhile, short transfers are not announced to the runtime's
// scheduler as system calls that may block: it would look every 20 µs whether they do, and
// hand their processor over where one takes longer, as sending through the loopback device
// does.
package socket
