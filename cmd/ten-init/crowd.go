package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	// busyPatience is how long a connection is tried for with an app whose backlog is full
	// and that takes nobody else's meanwhile either, and connectPatience with one that does.
	busyPatience    = 10 * time.Second
	connectPatience = time.Minute
	// crowdPlaces is how many try at a time. Where the backlog is full each of them has a
	// thread, and takes processor time that the app could have.
	crowdPlaces = 64
)

// errCrowded says that so many others tried to connect that there was no place to.
var errCrowded = errors.New("connect: too many others wait for the app to accept a connection")

// crowd is those who connect to an app that is ready.
type crowd struct {
	places chan struct{}
	// patience is busyPatience.
	patience time.Duration
	taken    atomic.Pointer[time.Time] // when a connection was accepted last
}

func newCrowd() *crowd {
	return &crowd{places: make(chan struct{}, crowdPlaces), patience: busyPatience}
}

// enter waits for a place, which leave gives back; false where there is none.
func (c *crowd) enter(ctx context.Context, begun time.Time) bool {
	select {
	case c.places <- struct{}{}:
		return true
	default:
	}
	look := time.NewTicker(tryTimeout)
	defer look.Stop()
	for !c.stuck(begun) {
		select {
		case c.places <- struct{}{}:
			return true
		case <-look.C:
		case <-ctx.Done():
			return false
		}
	}
	return false
}

func (c *crowd) leave() { <-c.places }

// accepted notes that the app has taken a connection.
func (c *crowd) accepted() {
	now := time.Now()
	c.taken.Store(&now)
}

// stuck reports whether the app has taken nobody's connection for too long, for who has
// waited since then.
func (c *crowd) stuck(since time.Time) bool {
	if taken := c.taken.Load(); taken != nil && taken.After(since) {
		since = *taken
	}
	return time.Since(since) > c.patience
}
