// Package proxy answers requests for instances: it finds the instance by the host
// name, has it woken, and passes the request on.
//
// alice.notes.example.com is the instance notes:alice where a base domain is
// example.com. A request is counted in before the instance is woken and out when its
// response has ended, to the end of the body; see Waker. A host name that names no
// instance costs one look-up and starts nothing.
//
// There are three ways through it. The first takes any request: net/http behind package
// framing, then the reverse proxy of net/http/httputil. The fast path (see Server.Fast) takes
// a request of HTTP/1.1 that package plain can read, for an instance that is awake. What has
// come through net/http, as all of HTTP/2 does, and is plain in what it asks for, goes from
// there to the app directly, in the same way as on the fast path (see exchange):
//
//   - Until the first byte of a request is sent to the app, its bytes are kept, and net/http
//     can have them: from then on the connection is its own.
//   - Of a body that does not come with its head the rest is copied by a goroutine of its own,
//     which ends with the answer (see upload). A connection whose client has not sent all of a
//     body by then, or whose app has not got all, carries no other request.
//   - What the app says, or does not, in another way than most is passed on by the reverse
//     proxy: with what has been read of the answer, or with the error as its first attempt.
//   - All that is counted, logged, bound in time and told to the app and the client is the
//     same on all; the tests of this package run on each.
package proxy
