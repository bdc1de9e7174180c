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
//
// Where to find what:
//
//	proxy.go          the Proxy, what it needs of others, and the way of a request through it
//	host.go           which instance or service a host name is for
//	domain.go         requests for host names that instances were given
//	service.go        requests for a service's own host name
//	target.go         requests that no instance is to see
//	visit.go          who waits for the answer, as far as a head tells
//	waiting.go        people who wait for a wake
//	unwoken.go        answers without the instance
//	errors.go         errors, for people and programs
//	answer.go         what is known of a request on its way back
//	access.go         the log of requests
//	quiet.go          how many lines the daemon's own log gets
//	requestid.go      X-Request-Id
//	forwarded.go      X-Forwarded-*, and the client's address
//	https.go          what clients are told of TLS
//	keepawake.go      the header by which an app keeps itself awake
//	location.go       redirects to where an app listens
//
//	server.go         the Server: its bounds, and its drain
//	clients.go        its connections, and which way they go
//	body.go           bodies from clients, bounded in time
//	ending.go         streams that end with their instance or the daemon
//	stream.go         streams that keep their instance awake
//	stall.go          clients that take nothing of an answer
//
//	forward.go        the reverse proxy of net/http
//	pool.go           its connections to apps
//	informational.go  how many answers 1xx it takes
//
//	exchange.go       a request that is made without it, up to the head of the answer
//	relay.go          the body of that
//	spares.go         connections to apps for that
//	unseen.go         whether an app can have read a request
//	release.go        when a request is counted out
//	direct.go         clients of it that come through net/http
//	fast.go           the fast path: the other ones
//	fastconn.go       a client's connection there, and the requests on it
//	fastforward.go    a request for an app
//	fastrelay.go      its answer
//	fastodd.go        what the reverse proxy is to end
//	faststay.go       what it is to begin, without giving the connection away
//	upload.go         the rest of a large body
//	clientwatch.go    clients that go away
package proxy
