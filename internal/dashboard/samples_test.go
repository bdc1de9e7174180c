package dashboard

import (
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// world are instances.
type world []*tenant.Snapshot

func (w world) Glance() iter.Seq2[tenant.ID, tenant.Glance] {
	return func(yield func(tenant.ID, tenant.Glance) bool) {
		for _, s := range w {
			if !yield(s.ID, tenant.Glance{State: s.State}) {
				return
			}
		}
	}
}

func (w world) Get(id tenant.ID) (tenant.Snapshot, error) {
	for _, s := range w {
		if s.ID == id {
			return *s, nil
		}
	}
	return tenant.Snapshot{}, errors.New("gone")
}

func TestSamples(t *testing.T) {
	alice := tenant.ID{Service: "notes", Name: "alice"}
	one := tenant.Snapshot{ID: alice, State: tenant.Awake, Wakes: 3}
	var cpu time.Duration
	s := newSamples(world{&one}, func(tenant.ID) (time.Duration, int64, error) {
		return cpu, 64 << 20, nil
	})
	now := time.Unix(1000, 0)
	s.take(now)
	one.Traffic.Requests, one.Thaws, cpu = 50, 2, time.Second
	s.take(now.Add(10 * time.Second))
	one.State = tenant.Asleep
	s.take(now.Add(20 * time.Second))
	got := s.of(alice)
	if len(got.At) != 3 || got.Requests[0] != nil || *got.Requests[1] != 5 || *got.CPU[1] != 10 || *got.Memory[1] != 64 || *got.Wakes[1] != 2 {
		t.Errorf("got %+v", got)
	}
	if got.CPU[2] != nil || got.Memory[2] != nil || *got.Requests[2] != 0 {
		t.Errorf("asleep: got CPU %v, memory %v, want neither", got.CPU[2], got.Memory[2])
	}
	// After the time that is kept nothing is left of one that sleeps, and it gets nothing new.
	s.take(now.Add(20*time.Second + keptSamples*sampleEvery))
	if got := s.of(alice); len(got.At) != 0 || len(s.byID) != 0 {
		t.Errorf("long asleep: got %d samples", len(got.At))
	}
}

// However many run and for however long, samples have a bound.
func TestSamplesAreBounded(t *testing.T) {
	list := make(world, maxSeries+50)
	for i := range list {
		list[i] = &tenant.Snapshot{ID: tenant.ID{Service: "notes", Name: fmt.Sprintf("i%d", i)}, State: tenant.Awake}
	}
	s := newSamples(list, func(tenant.ID) (time.Duration, int64, error) { return 0, 0, errors.New("gone") })
	for i := range keptSamples + 20 {
		s.take(time.Unix(int64(10*i), 0))
	}
	got := s.of(list[0].ID)
	if len(s.byID) != maxSeries || len(got.At) != keptSamples || got.At[0] != 200 || got.At[keptSamples-1] != 10*(keptSamples+19) {
		t.Errorf("got %d series, %d samples from %d", len(s.byID), len(got.At), got.At[0])
	}
	if got.Memory[0] != nil || got.CPU[5] != nil {
		t.Errorf("what is not known: got %v, %v", got.Memory[0], got.CPU[5])
	}
}

func TestReadDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"": 0, " 30m ": 30 * time.Minute, "2h": 2 * time.Hour, "7d": 168 * time.Hour, "0": 0} {
		if got, err := readDuration(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"soon", "-5m", "1w", "9999999d"} {
		if got, err := readDuration(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}
