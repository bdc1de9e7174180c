package api

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"tenement.dev/internal/tenant"
)

const (
	// maxStreams is how many streams may be open: logs, events and rollouts that are
	// followed, and answers with logs.
	maxStreams = 1024
	// maxStreamsOfToken is how many of them one token may have, and maxStreamsOfUser one
	// user of this machine.
	maxStreamsOfToken = 16
	maxStreamsOfUser  = 64
)

// streams are those that are open, and whose they are. The zero value is ready.
type streams struct {
	mu  sync.Mutex
	all int
	by  map[tenant.Actor]int
}

// open counts one more in, unless there are too many.
func (s *streams) open(p *principal) error {
	most := maxStreamsOfUser
	if p.token != "" {
		most = maxStreamsOfToken
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[p.actor] >= most {
		return &tenant.Error{
			Code: tenant.CodeLimit, Op: "open stream", RetryAfter: streamWait,
			Msg:  fmt.Sprintf("%s has %d streams open, and may have no more", p.actor, most),
			Hint: "end some of those that follow logs, events or rollouts",
		}
	}
	if s.all >= maxStreams {
		return &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "open stream", RetryAfter: streamWait,
			Msg:  fmt.Sprintf("%d streams are open, and there can be no more", s.all),
			Hint: "try again later",
		}
	}
	if s.by == nil {
		s.by = map[tenant.Actor]int{}
	}
	s.all++
	s.by[p.actor]++
	return nil
}

// close counts one out.
func (s *streams) close(p *principal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.by[p.actor]--; s.by[p.actor] == 0 {
		delete(s.by, p.actor)
	}
}

// Streams is how many streams are open.
func (a *API) Streams() int {
	a.open.mu.Lock()
	defer a.open.mu.Unlock()
	return a.open.all
}

// lastWrites bounds, once a stream has to end, the write to a client that takes nothing.
const lastWrites = 5 * time.Second

// endWrites has the writes to a client that takes nothing fail soon after ctx has ended:
// whoever waits in one learns nothing of ctx. The function that it returns ends that.
func endWrites(ctx context.Context, w http.ResponseWriter) (stop func()) {
	control := http.NewResponseController(w)
	done := make(chan struct{})
	withdraw := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = control.SetWriteDeadline(time.Now().Add(lastWrites))
	})
	return func() {
		if !withdraw() {
			<-done
		}
		_ = control.SetWriteDeadline(time.Time{})
	}
}

// openStream gives the context of a stream, if there is a place for it. The context ends
// with its request, with the server, and when who makes the request may not any more;
// done gives the place back.
func (a *API) openStream(r *http.Request) (ctx context.Context, done func(), err error) {
	p := who(r)
	if err := a.open.open(p); err != nil {
		return nil, nil, err
	}
	until := p.expires
	if until.IsZero() {
		until = time.Now().Add(maxTokenLife)
	}
	ctx, cancel := context.WithDeadline(r.Context(), until)
	stops := []func() bool{context.AfterFunc(a.streaming, cancel)}
	if p.live != nil {
		stops = append(stops, context.AfterFunc(p.live, cancel))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
		a.open.close(p)
	}, nil
}
