// Package plain reads messages of HTTP/1.1 that leave nothing to interpret.
//
// It finds the parts of a head where it lies in a buffer and allocates nothing. What it
// takes is a small part of what RFC 9112 allows: one way to end a line, one Host, at most
// one Content-Length and nothing else that frames a body, no name that could be taken for
// another. All else is odd, which is no verdict about it: who reads it then is package
// framing and net/http, for whom the same bytes are still there.
//
//   - A request that is taken is one that framing lets pass and net/http reads with the
//     same method, target, host, fields and end. FuzzRequest holds it to that.
//   - A head of an answer that is taken is read in the same way by net/http, with the same
//     framing of the body. FuzzAnswer holds it to that, FuzzChunks its bodies.
package plain
