package tenant

import (
	"sync/atomic"
	"time"
)

// Meter counts what an instance's requests amount to. A nil Meter counts nothing. The
// zero value is ready for use, by several goroutines.
type Meter struct{ requests, received, sent atomic.Int64 }

// Request counts a request.
func (m *Meter) Request() {
	if m != nil {
		m.requests.Add(1)
	}
}

// Received counts bytes of clients' bodies and upgraded connections, Sent those to them.
func (m *Meter) Received(n int) {
	if m != nil {
		m.received.Add(int64(n))
	}
}

// Sent counts bytes to clients, see Received.
func (m *Meter) Sent(n int) {
	if m != nil {
		m.sent.Add(int64(n))
	}
}

// Traffic is what has been counted.
func (m *Meter) Traffic() Traffic {
	if m == nil {
		return Traffic{}
	}
	return Traffic{Requests: m.requests.Load(), Received: m.received.Load(), Sent: m.sent.Load()}
}

// Traffic is a number of requests that an app got, and the bytes of their bodies and of
// upgraded connections, headers not counted: Received from clients, Sent to them.
type Traffic struct{ Requests, Received, Sent int64 }

// Minus is what t has that before has not.
func (t Traffic) Minus(before Traffic) Traffic {
	return Traffic{t.Requests - before.Requests, t.Received - before.Received, t.Sent - before.Sent}
}

// Served is what is known of a request when it is over.
type Served struct {
	// Status is that of the answer, 0 where there was none.
	Status int
	// Held is how long it waited until its instance took it, App how long that then took
	// for the head of its answer, Total is all to the answer's last byte. They are 0 where
	// no app has answered, and Total for streams, which may last for days.
	Held, App, Total time.Duration
}

// Happening is something in an instance's life that is worth counting.
type Happening uint8

// The happenings.
const (
	Dozed         Happening = iota // it dozes
	Slept                          // it was stopped
	HealthFailed                   // a health check of an awake instance failed
	StartedAgain                   // it is started again since it ended or was unhealthy
	numHappenings                  // must be last
)

// NumHappenings is how many there are.
const NumHappenings = int(numHappenings)
