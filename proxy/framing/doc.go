// Package framing keeps a server from requests that two programs could frame differently.
//
// net/http, which reads the requests, is lenient where RFC 9112 allows or once allowed it:
// it takes a line that ends with a bare LF, a folded line, a Content-Length beside a
// Transfer-Encoding. A Conn stands before it and follows the bytes that it is about to read,
// head by head and body by body, by the grammar alone.
//
//   - What is well-formed passes unchanged, as it comes: nothing is kept back or copied, and
//     all bounds and time limits stay those of the server.
//   - The first byte that is not, and all behind it, are replaced by bytes that are malformed
//     wherever they stand. The server has not seen the end of that request then, refuses it
//     with 400 in its turn, and closes the connection; nothing more is read from it.
//   - The server never sees the end of a head or of a body that the follower has not seen,
//     and the other way round; it may refuse more. FuzzStrict holds both to it.
//   - A connection that has changed to another protocol is left alone; see Conn.StepAside.
//
// Section numbers are those of RFC 9112 where nothing else is said.
package framing
