package chaos

import (
	"fmt"
	"sync"
	"time"
)

// settle is for how long after an end the trace of what has ended may still be met: a
// connection that is closed, but has not been read to its end yet.
const settle = 300 * time.Millisecond

// spans are times at which something was broken on purpose.
type spans struct {
	mu   sync.Mutex
	list []span
}

// span is one of them; to is zero while it lasts.
type span struct {
	from, to time.Time
	what     string
}

// begin notes that something breaks from now on, until end is called.
func (s *spans) begin(what string) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, span{from: time.Now(), what: what})
	i := len(s.list) - 1
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.list[i].to = time.Now().Add(settle)
	}
}

// during tells of what was broken between two moments, or gives nothing.
func (s *spans) during(from, to time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.list {
		if !b.from.After(to) && (b.to.IsZero() || b.to.After(from)) {
			return b.what
		}
	}
	return ""
}

// tenant is what the test knows of one tenant.
type tenant struct {
	service, name string
	// ends are those of its process; wipes those of its data, which it does not exist
	// during either; pauses those in which its requests are refused.
	ends, wipes, pauses spans
	// operator is held by who works on it.
	operator sync.Mutex

	mu    sync.Mutex
	tried map[string]*note // all that were ever sent
}

// note is one that was sent; acked is zero until that was answered.
type note struct{ sent, acked time.Time }

func newTenant(service string, n int) *tenant {
	return &tenant{service: service, name: fmt.Sprintf("t%d", n), tried: map[string]*note{}}
}

func (t *tenant) id() string { return t.service + ":" + t.name }

// write gives a note that no other one equals.
func (t *tenant) write() (text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text = fmt.Sprintf("%s/%d", t.id(), len(t.tried)+1)
	t.tried[text] = &note{sent: time.Now()}
	return text
}

// ack notes that the app has said that it has the note.
func (t *tenant) ack(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tried[text].acked = time.Now()
}

// check compares the notes that a request has been given, which lasted from one moment to
// the other, with those that have been acknowledged.
func (t *tenant) check(notes []string, from, to time.Time) error {
	there := map[string]int{}
	for _, text := range notes {
		there[text]++
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for text, times := range there {
		if t.tried[text] == nil {
			return fmt.Errorf("%s has the note %q, which nobody gave it", t.id(), text)
		}
		if times > 1 {
			return fmt.Errorf("%s has the note %q %d times", t.id(), text, times)
		}
	}
	for text, n := range t.tried {
		if there[text] == 0 && !n.acked.IsZero() && n.acked.Before(from) && t.wipes.during(n.sent, to) == "" {
			return fmt.Errorf("%s has lost the note %q, acknowledged %v ago", t.id(), text, to.Sub(n.acked))
		}
	}
	return nil
}
