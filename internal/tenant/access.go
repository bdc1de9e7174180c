package tenant

import "time"

// Access is one request that was answered, as an access log has it.
type Access struct {
	ID ID // without a name where no instance was chosen
	// Begun is when the request's head was read; Duration is from then to the end of the
	// answer's body.
	Begun    time.Time
	Duration time.Duration
	// Method, Host, Path and UserAgent are what the client sent; Path has the query where
	// the service wants that.
	Method, Host, Path, UserAgent string
	// Status is 499 where the client left before there was one.
	Status int
	// Bytes is the length of the answer's body as it was sent; of a WebSocket, of all that
	// was.
	Bytes int64
	// Aborted: the answer was cut off.
	Aborted bool
	// Wake is the kind of wake that the request waited for, empty for none, and Woke how
	// long that took.
	Wake WakeKind
	Woke time.Duration
	// Code says why the daemon itself has answered, empty where the app has.
	Code      Code
	RequestID string
	// Remote is the client's address: behind a trusted proxy the one that it tells.
	Remote string
}
