package dashboard

import (
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
		s.open("secret", wire.Self{}, now.Add(time.Duration(i+1)*time.Second))
	}
	if got := s.find(oldest, now); got != nil || old.live.Err() == nil || len(s.byHash) != maxSessions {
		t.Errorf("got %v and %d sessions, want the oldest gone and %d", got, len(s.byHash), maxSessions)
	}
}
