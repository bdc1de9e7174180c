package proxy

import (
	"net/http"
	"time"

	"tenement.dev/internal/tenant"
)

// Observer is told of each request when it is over; service is "" where the host name
// led to none that could be. It is called on the request's way and must not wait.
type Observer interface {
	Request(service string, s tenant.Served)
}

// answer is the way back of one request, and what is known of the request meanwhile. It
// is all that the proxy allocates for that.
type answer struct {
	http.ResponseWriter
	begun   time.Time
	service string
	status  int
	// returned: the handler did, and did not panic.
	returned bool
	visit    visit
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 && status >= 200 { // others are followed by the answer
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(p)
	a.visit.meter.Sent(n)
	return n, err
}

// answerOf gives the answer that a request's writer leads to.
func answerOf(w http.ResponseWriter) *answer {
	for {
		switch inner := w.(type) {
		case *answer:
			return inner
		case interface{ Unwrap() http.ResponseWriter }:
			w = inner.Unwrap()
		default:
			return &answer{ResponseWriter: w} // nobody looks at it
		}
	}
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// served tells of the request, which is over.
func (a *answer) served() tenant.Served {
	v := &a.visit
	s := tenant.Served{Status: a.status}
	if s.Status == 0 && a.returned {
		s.Status = http.StatusOK // as net/http has it
	}
	if v.status == http.StatusSwitchingProtocols {
		s.Status = v.status // which goes over the connection itself
	}
	if v.answered.IsZero() {
		return s
	}
	s.Held, s.App = v.acquired.Sub(a.begun), v.answered.Sub(v.acquired)
	if !v.stream {
		s.Total = time.Since(a.begun)
	}
	return s
}
