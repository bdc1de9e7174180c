package dashboard

import (
	"strconv"
	"testing"
	"time"

	"tenement.dev/internal/wire"
)

func TestSessions(t *testing.T) {
	var s sessions
	now := time.Now()
	name, first := s.open("secret", wire.Self{}, now)
	if got := s.find(name, now); got != first {
		t.Errorf("got %v, want the session", got)
	}
	if got := s.find(name, now.Add(sessionLife)); got != nil || first.live.Err() == nil {
		t.Errorf("after its life: got %v, %v, want none, and its streams ended", got, first.live.Err())
	}
	// The oldest make room.
	oldest, old := s.open("secret", wire.Self{}, now)
	for i := range maxSessions {
		s.open("secret", wire.Self{Token: strconv.Itoa(i)}, now.Add(time.Duration(i+1)*time.Second))
	}
	if got := s.find(oldest, now); got != nil || old.live.Err() == nil || len(s.byHash) != maxSessions {
		t.Errorf("got %v and %d sessions, want the oldest gone and %d", got, len(s.byHash), maxSessions)
	}
}

// Who signs in again and again ends sessions of his own token, and nobody else's.
func TestSessionsOfOneToken(t *testing.T) {
	var s sessions
	now := time.Now()
	name, _ := s.open("operator's", wire.Self{Token: "operator", Admin: true}, now)
	first, _ := s.open("alice's", wire.Self{Token: "alice"}, now)
	for i := range 2 * maxSessions {
		s.open("alice's", wire.Self{Token: "alice"}, now.Add(time.Duration(i+1)*time.Second))
	}
	if s.find(name, now) == nil {
		t.Error("the operator is signed out")
	}
	if got := s.find(first, now); got != nil || len(s.byHash) != maxOwn+1 {
		t.Errorf("alice's first session: got %v of %d sessions, want it gone, and %d", got, len(s.byHash), maxOwn+1)
	}
}
