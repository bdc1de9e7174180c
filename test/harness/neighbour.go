package harness

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Neighbour compares how long a tenant's requests take while another one attacks with how
// long they take in the quiet before, between and after the attacks.
type Neighbour struct {
	// Window gives the 99th percentile of a window's requests, or of those that are made
	// until over is closed.
	Window func(over <-chan struct{}) time.Duration
	// Floor is the shortest time that says something: what is quicker counts as this.
	Floor time.Duration
	// Rounds bounds how often attack and quiet alternate. From as many as Many on it is
	// the worst quiet that attacks are compared with.
	Rounds, Many int
}

// Effect is what an attack has on a neighbour.
type Effect struct {
	During, Quiet []time.Duration
	// Ratio is how many times as long the neighbour's requests take during it; Best is
	// the lowest of any round.
	Ratio, Best float64
}

func (e Effect) String() string {
	return fmt.Sprintf("p99 during %v, and without %v: %.1f times as long", e.During, e.Quiet, e.Ratio)
}

// fewest is how many rounds there are at least.
const fewest = 3

// Under measures rounds until their ratio is at most that much, or there have been enough.
// What the attack does is there in each round, and what else goes on here comes and goes,
// in quiet as in attacks: so medians of the rounds are compared, of as many as it takes.
// Where many do not tell the two apart, the worst quiet is what the neighbour has to live
// with anyway. begin begins an attack; over is closed when it has ended by itself, and end
// waits for that.
func (n Neighbour) Under(most float64, begin func() (over <-chan struct{}, end func())) Effect {
	e := Effect{Quiet: []time.Duration{n.Window(nil)}, Best: math.Inf(1)}
	for round := 1; round <= n.Rounds; round++ {
		over, end := begin()
		e.During = append(e.During, n.Window(over))
		end()
		e.Best = min(e.Best, n.ratio(e.During[round-1], e.Quiet[round-1]))
		e.Quiet = append(e.Quiet, n.Window(nil))
		bound := Median(e.Quiet)
		if round >= n.Many {
			bound = slices.Max(e.Quiet)
		}
		e.Ratio = n.ratio(Median(e.During), bound)
		if round >= fewest && e.Ratio <= most {
			break
		}
	}
	return e
}

func (n Neighbour) ratio(during, quiet time.Duration) float64 {
	return float64(max(during, n.Floor)) / float64(max(quiet, n.Floor, 1))
}

// Median is the middle one of durations, zero of none.
func Median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(list))[len(list)/2]
}
