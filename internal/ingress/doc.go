// Package ingress is the doorbell protocol: how the daemon reaches the app of an
// instance without any privilege. Both ends are here, the client for the daemon and
// the server for ten-init.
//
// An instance's doorbell is a Unix stream socket that systemd holds. Whoever connects
// to it makes systemd start the instance; the first process in there, ten-init,
// accepts the connection. One exchange is made over it:
//
//	client: VERB { " " KEY "=" VALUE } "\n"
//	server: "ok" { " " KEY "=" VALUE } "\n"   or   "error " CLASS " " TEXT "\n"
//
// A request is at most 256 bytes long. No key is defined yet; both sides ignore those
// that they do not know, so that an instance's old ten-init understands a new daemon.
//
// Only "freeze" has a second exchange, with which the client lets the app go:
//
//	client: "\n"
//	server: as above
//
// The answer to the verb "connect" carries one descriptor (SCM_RIGHTS, unix(7)): a
// stream socket that ten-init connected to the app from inside the app's network
// namespace. So does the answer to "probe" while the app is awake.
//
// Everything that comes back over a doorbell is hostile input, since a tenant can
// replace its own ten-init. The client bounds every answer in size and time, takes
// exactly one descriptor, closes all others, checks that it is a connected stream
// socket, over Unix sockets with a peer of the sender's own uid, and never does a
// blocking read or write on it (see Conn).
package ingress
