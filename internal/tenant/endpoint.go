package tenant

import (
	"context"
	"net"
	"time"
)

// KeepAwakeHeader is the response header by which an app asks for a lease: a duration
// such as "10m", or seconds; "0" gives it back. No client sees it.
const KeepAwakeHeader = "Tenement-Keep-Awake"

// ScheduleHeader is the request header that names the schedule entry whose time has
// come. A client's is not passed on, so that an app may believe it.
const ScheduleHeader = "Tenement-Schedule"

// Endpoint is an awake instance as the proxy sees it. It is valid until the release
// function that came with it is called. Whether a doorbell on this machine is behind
// it or something else is of no concern to its user.
type Endpoint interface {
	// Dial gives a new connection to the app, with the app awake.
	Dial(ctx context.Context) (net.Conn, error)
	// Generation changes whenever connections dialed before must not be used again.
	Generation() uint64
	// Stream says that the request has become a long-lived stream, such as a
	// WebSocket. From then on it keeps the instance awake by its traffic alone; each
	// call of touch counts as traffic and brings the instance back from dozing, so it
	// comes before the data is written to the app.
	Stream() (touch func(ctx context.Context) error)
	// Ending is closed when the instance is about to be stopped: streams are to end
	// then, requests may go on for a while.
	Ending() <-chan struct{}
	// Woke is the timing of the wake that this request waited for, nil if the
	// instance was awake.
	Woke() *Wake
	// RequestTimeout bounds the wait for the response's headers, 0 for no bound.
	RequestTimeout() time.Duration
	// KeepAwake has the instance not rest for d from now on, instead of for what its app
	// asked for before; d is cut to what its service allows, and 0 gives the lease back.
	KeepAwake(d time.Duration)
	// Meter counts the instance's requests; it may be nil.
	Meter() *Meter
	// KeepAlive is false where the app must get a new connection for each request.
	KeepAlive() bool
	// Port is the TCP port that the app was told to listen on, 0 for none.
	Port() int
}
