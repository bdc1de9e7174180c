package hostile

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// latency gives the 99th percentile of n requests to the neighbour, one after the other,
// or of those that are made until over is closed.
func latency(t *testing.T, s *harness.Server, n int, over <-chan struct{}) time.Duration {
	t.Helper()
	var took []time.Duration
	for len(took) < n {
		begun := time.Now()
		resp, err := s.Do(t.Context(), http.MethodGet, bob, "/health", "")
		took = append(took, time.Since(begun))
		if err != nil || resp.Status != http.StatusOK {
			t.Errorf("the neighbour's request: got %d %s %v", resp.Status, resp.Body, err)
		}
		select {
		case <-over:
			n = 0
		default:
		}
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// TestLoads has the hostile tenant use up what it can, and looks at its neighbour, and the
// daemon, meanwhile. Where nothing but the scheduler's fairness is between them (there are
// no cgroup controllers on this machine) one with a hundred busy threads gets a hundred
// shares of the processors; that is for TestNeighbour of test/limits.
func TestLoads(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: config})
	s.Spawn(mallory, bob)
	for _, load := range []struct {
		name, attack string
		args         []string
	}{
		{"logs", "logs", []string{"size", "200"}},
		{"sockets", "sockets", []string{"n", "10000"}},
		{"disk", "disk", []string{"path", "/tmp", "mb", "200"}},
		{"forks", "forks", []string{"n", "400"}},
		{"cgroups", "cgroups", []string{"n", "2000"}},
	} {
		t.Run(load.name, func(t *testing.T) {
			compare(t, s, func() (over <-chan struct{}, end func()) {
				q := url.Values{"ms": {"700"}}
				for i := 0; i+1 < len(load.args); i += 2 {
					q.Set(load.args[i], load.args[i+1])
				}
				ended, said := make(chan struct{}), ""
				go func() {
					defer close(ended)
					resp, err := s.Do(t.Context(), http.MethodPost, mallory, "/attack/"+load.attack+"?"+q.Encode(), "")
					said = fmt.Sprint(resp.Body, err)
				}()
				return ended, func() {
					<-ended
					t.Log(said)
				}
			})
		})
	}
}

const (
	requests = 300 // in a window
	most     = 2   // times the quiet p99
)

// compare compares the neighbour's 99th percentile during attacks with that of the quiet.
// Where this machine is busy with others all the time, the best of all rounds tells most of
// the attack itself.
func compare(t *testing.T, s *harness.Server, begin func() (over <-chan struct{}, end func())) {
	t.Helper()
	neighbour := harness.Neighbour{
		Window: func(over <-chan struct{}) time.Duration { return latency(t, s, requests, over) },
		Rounds: 16, Many: 8,
	}
	effect := neighbour.Under(most, begin)
	t.Log(effect)
	if ratio := min(effect.Ratio, effect.Best); ratio > most {
		t.Errorf("the neighbour's p99 is %.1f times as long, want %d at most", ratio, most)
	}
	if got := resident(t, s); got > 200 {
		t.Errorf("the daemon has %d MB", got)
	}
}
