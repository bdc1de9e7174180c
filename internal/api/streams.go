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
	// maxStreamsOfTenant is how many all tokens of one tenant may have together: some of the
	// logs that tenants may read are left for other ones. maxStreamsOfTenants is how many all
	// tenants may have, so that some are left for admins.
	maxStreamsOfTenant  = 32
	maxStreamsOfTenants = maxStreams - 128
)

// streams are those that are open, and whose they are. The zero value is ready.
type streams struct {
	mu           sync.Mutex
	all, tenants int
	by           map[tenant.Actor]int
	of           map[string]int // by tenant
}

// open counts one more in, unless there are too many.
func (s *streams) open(p *principal) error {
	most := maxStreamsOfUser
	if p.token != "" {
		most = maxStreamsOfToken
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	full := ""
	switch {
	case s.by[p.actor] >= most:
		full = fmt.Sprintf("%s has %d streams open, and may have no more", p.actor, most)
	case p.guest() && s.of[p.tenant] >= maxStreamsOfTenant:
		full = fmt.Sprintf("the tokens of %s have %d streams open together, and may have no more", p.tenant, maxStreamsOfTenant)
	}
	if full != "" {
		return &tenant.Error{
			Code: tenant.CodeLimit, Op: "open stream", RetryAfter: streamWait,
			Msg:  full,
			Hint: "end some of those that follow logs, events or rollouts",
		}
	}
	if s.all >= maxStreams || p.guest() && s.tenants >= maxStreamsOfTenants {
		return &tenant.Error{
			Code: tenant.CodeUnavailable, Op: "open stream", RetryAfter: streamWait,
			Msg:  fmt.Sprintf("%d streams are open, and there can be no more", s.all),
			Hint: "try again later",
		}
	}
	if s.by == nil {
		s.by, s.of = map[tenant.Actor]int{}, map[string]int{}
	}
	s.all++
	s.by[p.actor]++
	if p.guest() {
		s.tenants++
		s.of[p.tenant]++
	}
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
	if !p.guest() {
		return
	}
	s.tenants--
	if s.of[p.tenant]--; s.of[p.tenant] == 0 {
		delete(s.of, p.tenant)
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
