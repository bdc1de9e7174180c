package event

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/fakeclock"
)

var alice = tenant.ID{Service: "notes", Name: "alice"}

// take gives the next n steps of a follower: events by number, gaps as negative counts.
func take(t *testing.T, b *Bus, after ID, n int) (got []int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for e, err := range b.Follow(ctx, after) {
		var gap *Gap
		if errors.As(err, &gap) {
			got = append(got, -int64(gap.Missed))
		} else {
			got = append(got, int64(e.ID.N))
		}
		if len(got) == n {
			break
		}
	}
	return got
}

func publish(b *Bus, n int) {
	for range n {
		b.Publish(Event{Kind: State, Instance: alice})
	}
}

func TestFollow(t *testing.T) {
	b := NewBus(4)
	publish(b, 6) // 3 to 6 are kept
	run := b.Last().Run
	for name, c := range map[string]struct {
		after ID
		want  []int64
	}{
		"after one that is kept":   {ID{run, 4}, []int64{5, 6}},
		"after the one that isn't": {ID{run, 2}, []int64{3, 4, 5, 6}},
		"too late":                 {ID{run, 1}, []int64{-1, 3, 4, 5, 6}},
		"from the start":           {b.Start(), []int64{-2, 3, 4, 5, 6}},
		"of another daemon":        {ID{run - 1, 5}, []int64{0, 3, 4, 5, 6}},
		"from the future":          {ID{run, 9}, []int64{0, 3, 4, 5, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := take(t, b, c.after, len(c.want)); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// A follower waits for events, gets those after its call, and leaves with its context.
func TestFollowWaits(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		b := NewBus(8)
		publish(b, 3)
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan uint64)
		done := make(chan struct{})
		events := b.Follow(ctx, ID{})
		publish(b, 1)
		go func() {
			defer close(done)
			for e := range events {
				got <- e.ID.N
			}
		}()
		if n := <-got; n != 4 {
			t.Errorf("got event %d first, want 4", n)
		}
		synctest.Wait() // it waits
		publish(b, 1)
		if n := <-got; n != 5 {
			t.Errorf("got event %d, want 5", n)
		}
		cancel()
		<-done
	})
}

// Whoever publishes is held up by nobody, and the slow one learns what it has missed.
func TestFollowSlow(t *testing.T) {
	b := NewBus(8)
	publish(b, 1)
	var steps []int64
	for e, err := range b.Follow(t.Context(), b.Start()) {
		var gap *Gap
		if errors.As(err, &gap) {
			steps = append(steps, -int64(gap.Missed))
			continue
		}
		steps = append(steps, int64(e.ID.N))
		if e.ID.N == 1 {
			publish(b, 100) // all while it is busy with the first
		}
		if e.ID.N == 101 {
			break
		}
	}
	want := []int64{1, -92, 94, 95, 96, 97, 98, 99, 100, 101}
	if !slices.Equal(steps, want) {
		t.Errorf("got %v, want %v", steps, want)
	}
}

func TestPublishAllocatesNothing(t *testing.T) {
	b := NewBus(64)
	e := Event{Kind: State, Instance: alice, Time: time.Now()}
	if n := testing.AllocsPerRun(1000, func() { b.Publish(e) }); n > 0 {
		t.Errorf("Publish allocates %v times, want none", n)
	}
}

func TestNilBus(t *testing.T) {
	var b *Bus
	b.Publish(Event{Kind: State})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for e, err := range b.Follow(ctx, ID{}) {
		t.Errorf("got %v, %v of no bus", e, err)
	}
}

func TestEventJSON(t *testing.T) {
	e := Event{
		ID: ID{36, 7}, Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Kind: Woke, Instance: alice, Actor: "root",
		Fields: []slog.Attr{slog.Duration("total", 72500*time.Microsecond), slog.String("cause", "GET request"), slog.Int("n", 3)},
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"10-7","time":"2026-01-02T03:04:05.000006Z","kind":"woke","instance":"notes:alice","actor":"root",` +
		`"fields":{"cause":"GET request","n":3,"total_ms":72.5}}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if got := e.Field("cause").String(); got != "GET request" {
		t.Errorf("got field %q", got)
	}
}

func TestParseID(t *testing.T) {
	id := ID{Run: 1763784000000000, N: 12}
	if got, err := ParseID(id.String()); err != nil || got != id {
		t.Errorf("got %v, %v, want %v", got, err, id)
	}
	for _, s := range []string{"", "-", "x", "1-", "-1", "1-x", "!-1", "1-1-1", "1--1", strings.Repeat("0", 50) + "-1"} {
		if got, err := ParseID(s); tenant.CodeOf(err) != tenant.CodeInvalid {
			t.Errorf("ParseID(%q) = %v, %v", s, got, err)
		}
	}
}
