package api

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
	"tenement.dev/test/fakeclock"
)

// Where nothing is said something is sent now and then, and nothing else.
func TestHeartbeat(t *testing.T) {
	for events, want := range map[bool]string{
		false: `\n{"time":"0001-01-01T00:00:00Z","message":"hi","priority":0}\n\n`,
		true:  `:\n\ndata: {"time":"0001-01-01T00:00:00Z","message":"hi","priority":0}\n\n:\n\n`,
	} {
		fakeclock.Test(t, func(t *testing.T) {
			w := httptest.NewRecorder()
			s := &stream{w: w, flush: func() error { return nil }, events: events}
			stop := s.keepAlive(t.Context(), func() { t.Error("gone") })
			time.Sleep(2*heartbeat + time.Second) // the first tick finds that nothing was sent since the one before
			if err := s.line(wire.LogLine{LogEntry: &wire.LogEntry{Message: "hi"}}, true); err != nil {
				t.Error(err)
			}
			time.Sleep(2 * heartbeat)
			stop()
			if got := quoteLines(w.Body.String()); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func quoteLines(s string) (out string) {
	for _, r := range s {
		if r == '\n' {
			out += `\n`
			continue
		}
		out += string(r)
	}
	return out
}

// What happens as soon as a follower hears that it follows is told to it.
func TestEventsFromTheFirstByteOn(t *testing.T) {
	for range 50 { // who reads events is another goroutine
		fakeclock.Test(t, func(t *testing.T) {
			a := &API{events: event.NewBus(4)}
			w := &prompt{ResponseRecorder: httptest.NewRecorder()}
			w.first = func() { a.events.Publish(event.Event{Kind: event.Started}) }
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			a.streamEvents(ctx, w, wanted{by: &principal{admin: true}}, event.ID{})
			if got := w.Body.String(); !strings.Contains(got, "event: daemon_started\n") {
				t.Fatalf("got %q, want the event in it", got)
			}
		})
	}
}

// prompt calls first with the first byte that is written.
type prompt struct {
	*httptest.ResponseRecorder
	first func()
}

func (p *prompt) Write(b []byte) (int, error) {
	if p.first != nil {
		p.first()
		p.first = nil
	}
	return p.ResponseRecorder.Write(b)
}

// Who cannot be sent a heartbeat has gone.
func TestHeartbeatOfOneWhoHasGone(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		s := &stream{w: httptest.NewRecorder(), flush: func() error { return errors.New("broken pipe") }}
		ctx, cancel := context.WithCancel(t.Context())
		stop := s.keepAlive(ctx, cancel)
		begun := time.Now()
		<-ctx.Done()
		stop()
		if took := time.Since(begun); took > 3*heartbeat {
			t.Errorf("it took %v", took)
		}
	})
}

// There are so many places for those who read logs; the next one is told to come back.
func TestTooManyStreams(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		a := &API{logPlaces: make(chan struct{}, 1), tenantPlaces: make(chan struct{}, 1)}
		leave, err := a.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.enter(t.Context()); tenant.CodeOf(err) != tenant.CodeUnavailable {
			t.Errorf("got %v, want %s", err, tenant.CodeUnavailable)
		}
		time.AfterFunc(time.Second, leave)
		leave, err = a.enter(t.Context())
		if err != nil {
			t.Errorf("after one left: %v", err)
		}
		leave()
	})
}

// Tenants leave places for admins.
func TestTenantsLeavePlaces(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		a := &API{logPlaces: make(chan struct{}, 2), tenantPlaces: make(chan struct{}, 1)}
		admin := context.WithValue(t.Context(), principalKey{}, &principal{admin: true})
		guest := context.WithValue(t.Context(), principalKey{}, &principal{tenant: "alice"})
		leaveGuest, err := a.enter(guest)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.enter(guest); tenant.CodeOf(err) != tenant.CodeUnavailable {
			t.Errorf("a second tenant: got %v, want %s", err, tenant.CodeUnavailable)
		}
		leaveAdmin, err := a.enter(admin)
		if err != nil {
			t.Fatalf("an admin: %v", err)
		}
		leaveGuest()
		second, err := a.enter(admin)
		if err != nil {
			t.Fatalf("another one: %v", err)
		}
		if _, err := a.enter(guest); tenant.CodeOf(err) != tenant.CodeUnavailable {
			t.Errorf("where all are taken: got %v, want %s", err, tenant.CodeUnavailable)
		}
		leaveAdmin()
		second()
		if n := len(a.logPlaces) + len(a.tenantPlaces); n > 0 {
			t.Errorf("got %d taken after all have left", n)
		}
	})
}

// However many have streams, all together have a bound, and who leaves makes room.
func TestStreamsOfAll(t *testing.T) {
	var s streams
	user := func(i int) *principal { return &principal{actor: tenant.Actor(fmt.Sprintf("uid %d", i))} }
	for i := range maxStreams {
		if err := s.open(user(i / maxStreamsOfUser)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.open(user(0)); tenant.CodeOf(err) != tenant.CodeLimit {
		t.Errorf("one who has as many as he may: got %v, want %s", err, tenant.CodeLimit)
	}
	if err := s.open(user(-1)); tenant.CodeOf(err) != tenant.CodeUnavailable {
		t.Errorf("one who has none: got %v, want %s", err, tenant.CodeUnavailable)
	}
	s.close(user(0))
	if err := s.open(user(-1)); err != nil {
		t.Errorf("after one has left: %v", err)
	}
	for i := range maxStreams - 1 {
		s.close(user((i + 1) / maxStreamsOfUser))
	}
	s.close(user(-1))
	if s.all != 0 || len(s.by) != 0 {
		t.Errorf("after all have left: got %d, %v", s.all, s.by)
	}
}

// However many tokens a tenant has, all together have a bound, and all tenants one that leaves
// some for admins.
func TestStreamsOfTenants(t *testing.T) {
	var s streams
	token := func(name string, i int) *principal {
		text := fmt.Sprintf("%s-%d", name, i)
		return &principal{actor: tenant.Actor("token " + text), token: text, tenant: name}
	}
	fill := func(name string) {
		t.Helper()
		for i := range maxStreamsOfTenant {
			if err := s.open(token(name, i/maxStreamsOfToken)); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill("t0")
	if err := s.open(token("t0", maxStreamsOfTenant)); tenant.CodeOf(err) != tenant.CodeLimit || !strings.Contains(err.Error(), "the tokens of t0 have 32 streams") {
		t.Errorf("one more of a tenant, by a new token: got %v, want %s", err, tenant.CodeLimit)
	}
	if maxStreamsOfTenant >= maxTenantLogs {
		t.Error("one tenant can read all logs that tenants may")
	}
	n := maxStreamsOfTenants / maxStreamsOfTenant
	for i := 1; i < n; i++ {
		fill(fmt.Sprintf("t%d", i))
	}
	if err := s.open(token("last", 0)); tenant.CodeOf(err) != tenant.CodeUnavailable {
		t.Errorf("one more of all tenants: got %v, want %s", err, tenant.CodeUnavailable)
	}
	admin := &principal{actor: "token ab", token: "ab", admin: true}
	if err := s.open(admin); err != nil {
		t.Errorf("an admin: %v", err)
	}
	s.close(admin)
	for i := range n {
		for j := range maxStreamsOfTenant {
			s.close(token(fmt.Sprintf("t%d", i), j/maxStreamsOfToken))
		}
	}
	if s.all+s.tenants != 0 || len(s.by)+len(s.of) != 0 {
		t.Errorf("after all have left: got %d, %d, %v, %v", s.all, s.tenants, s.by, s.of)
	}
}

// A stream that has to end does, also where its client takes nothing.
func TestStreamOfAClientThatTakesNothing(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		a := &API{logs: chatter{}, logPlaces: make(chan struct{}, 1), tenantPlaces: make(chan struct{}, 1)}
		a.streaming, a.endStreams = context.WithCancel(t.Context())
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		w := &stuck{ResponseRecorder: httptest.NewRecorder(), late: make(chan struct{})}
		const end = 5 * time.Second // before a heartbeat waits, too
		time.AfterFunc(end, a.EndStreams)
		begun := time.Now()
		if err := a.streamLog(w, r, LogQuery{Unit: "x", Follow: true}); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took != end+lastWrites {
			t.Errorf("it ended after %v, want %v", took, end+lastWrites)
		}
		if !w.deadline.IsZero() {
			t.Error("the deadline is left to the connection's next request")
		}
	})
}

// chatter is a log without an end.
type chatter struct{}

func (chatter) Read(ctx context.Context, _ LogQuery) iter.Seq2[wire.LogEntry, error] {
	return func(yield func(wire.LogEntry, error) bool) {
		for ctx.Err() == nil && yield(wire.LogEntry{Message: "hi"}, nil) {
			time.Sleep(time.Second)
		}
	}
}

// stuck is a connection whose client takes nothing: only a deadline ends a write.
type stuck struct {
	*httptest.ResponseRecorder
	mu       sync.Mutex
	deadline time.Time
	late     chan struct{}
}

func (s *stuck) Write([]byte) (int, error) {
	<-s.late
	return 0, os.ErrDeadlineExceeded
}

func (s *stuck) SetWriteDeadline(at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.deadline = at; !at.IsZero() {
		time.AfterFunc(time.Until(at), func() { close(s.late) })
	}
	return nil
}

// Lines that are an addition to an answer are left out where too many logs are read.
func TestLastLinesWithoutAPlace(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		a := &API{logs: said{}, logPlaces: make(chan struct{}, 1), tenantPlaces: make(chan struct{}, 1)}
		if got := a.lastWords(t.Context(), "x"); len(got) != 1 {
			t.Errorf("got %q, want a line", got)
		}
		leave, err := a.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
		begun := time.Now()
		if got := a.lastWords(t.Context(), "x"); len(got) > 0 {
			t.Errorf("got %q, want nothing", got)
		}
		if got := a.lastLines(t.Context(), "x", time.Time{}, true); len(got) > 0 {
			t.Errorf("got %q, want nothing", got)
		}
		if took := time.Since(begun); took > 2*tailFirst {
			t.Errorf("it took %v", took)
		}
	})
}

// What goes on coming in after a failure is known is waited for to its end.
func TestLastLinesOfAChattyApp(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		log := &growing{}
		go func() {
			for i := range 40 {
				log.add(fmt.Sprint("line ", i))
				time.Sleep(tailPoll / 10)
			}
		}()
		a := &API{logs: log, logPlaces: make(chan struct{}, 1), tenantPlaces: make(chan struct{}, 1)}
		got := a.lastLines(t.Context(), "x", time.Time{}, false)
		if len(got) != tailLines || got[tailLines-1] != "line 39" {
			t.Errorf("got %q, want the last %d of 40 lines", got, tailLines)
		}
	})
}

// growing is a log that lines are added to.
type growing struct {
	mu    sync.Mutex
	lines []string
}

func (g *growing) add(line string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lines = append(g.lines, line)
}

func (g *growing) Read(context.Context, LogQuery) iter.Seq2[wire.LogEntry, error] {
	return func(yield func(wire.LogEntry, error) bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		for i, line := range g.lines {
			if !yield(wire.LogEntry{Message: line, Cursor: fmt.Sprint(i)}, nil) {
				return
			}
		}
	}
}

// A log that is asked for as the daemon stops is no log too many.
func TestLogOfADaemonThatStops(t *testing.T) {
	a := &API{logPlaces: make(chan struct{}), tenantPlaces: make(chan struct{}, 1)}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	_, err := a.enter(ctx)
	if tenant.CodeOf(err) != tenant.CodeUnavailable || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("got %v, want that it is stopping", err)
	}
}

// said is a log of one line.
type said struct{}

func (said) Read(context.Context, LogQuery) iter.Seq2[wire.LogEntry, error] {
	return func(yield func(wire.LogEntry, error) bool) { yield(wire.LogEntry{Message: "hi"}, nil) }
}
