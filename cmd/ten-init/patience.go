package main

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// retryShare bounds what the looks for a starting app cost: the pause between two is no
// less than this share of the time that has passed. Where many apps start at once each
// takes long, and looks at a constant pace would take the processors from them.
const retryShare = 1.0 / 32

const (
	// deafPause is the least pause between two tries when nothing was heard: not all that
	// can be connected to has come from listen(2) behind the fence, but nearly all. deafShare
	// is the share of the time that has passed.
	deafPause = 250 * time.Millisecond
	deafShare = 4
	// heardInterval is the pause after a call was heard, which takes but microseconds if
	// the app has a processor; after heardTime it was another socket's.
	heardInterval = 100 * time.Microsecond
	heardTime     = 50 * time.Millisecond
)

// pause is the pause before the next look, when so much time has passed.
func pause(passed time.Duration) time.Duration {
	return max(retryInterval, time.Duration(float64(passed)*retryShare))
}

// deaf is the pause before the next try, when so much time has passed and nobody was heard
// or seen that one could reach.
func deaf(passed time.Duration) time.Duration { return max(deafPause, passed/deafShare) }

// nap waits for d, or less. The thread itself sleeps: a timer of the runtime's wakes
// several threads, which costs as much as the try that follows.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil)
}

// patience is the wait of somebody who tries to reach a starting app: until its ear hears
// the app, or else its lookout sees it, if it has one of these. While the app waits for a
// processor that others have, who has no ear looks the less often: there is less to see,
// and each look would take a processor from somebody.
type patience struct {
	ear   *ear
	out   *lookout
	toil  *toil
	begun time.Time
	heard time.Time // last; zero for never
	looks           // of one who tries instead
}

// newPatience is for an app that may have a lookout; else that is nil.
func newPatience(a *app, out *lookout) *patience {
	p := &patience{ear: a.ear, begun: time.Now()}
	if p.ear != nil {
		return p
	}
	p.out = out
	if a.pid > 0 {
		p.toil = newToil(a.pid)
	}
	return p
}

func (p *patience) end() {
	if p.toil != nil {
		p.toil.close()
	}
}

// first is the wait before the first try: what there is to be heard is heard.
func (p *patience) first(ctx context.Context) {
	if p.ear != nil {
		p.listen(ctx)
	}
}

// both reports whether the next try is to be on both loopbacks.
func (p *patience) both() bool { return p.ear != nil || p.out != nil || p.looks.both() }

// wait returns when another try is worth it, or ctx has ended.
func (p *patience) wait(ctx context.Context) {
	switch {
	case p.ear != nil:
		p.listen(ctx)
	case p.out != nil:
		p.watch(ctx)
	default:
		p.nap()
	}
}

// nap is the pause between two looks.
func (p *patience) nap() {
	passed := time.Since(p.begun)
	d := pause(passed)
	if p.toil != nil {
		d = p.toil.pause(passed, d)
	}
	nap(d)
}

// watch is wait with a lookout.
func (p *patience) watch(ctx context.Context) {
	until := time.Now().Add(deaf(time.Since(p.begun)))
	for {
		p.nap()
		if p.out.sees() || ctx.Err() != nil || time.Now().After(until) {
			return
		}
	}
}

// listen is wait with an ear.
func (p *patience) listen(ctx context.Context) {
	if since := time.Since(p.heard); !p.heard.IsZero() && since < heardTime {
		// It is about to; else it was another socket's.
		nap(heardPause(since))
		return
	}
	timer := time.NewTimer(deaf(time.Since(p.begun)))
	defer timer.Stop()
	select {
	case <-p.ear.heard:
		p.heard = time.Now()
		nap(heardInterval)
	case <-timer.C:
	case <-ctx.Done():
	}
}

// heardPause is the pause before the next try where something was heard so long ago.
func heardPause(since time.Duration) time.Duration {
	if since < retryInterval {
		return heardInterval
	}
	return retryInterval
}
