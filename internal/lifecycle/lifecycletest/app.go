package lifecycletest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
)

// App is how an instance's process behaves. The zero value starts, answers and ends
// at once.
type App struct {
	// Boot is the time from the start of the unit to ten-init's first instruction; at
	// least a millisecond, as nothing starts in no time.
	Boot time.Duration
	// Ready is the time from there to the first accepted connection.
	Ready time.Duration
	// Serve is the time that an answer to a request takes.
	Serve time.Duration
	// Freeze is the time that a doze takes.
	Freeze time.Duration
	// Stop is the time from SIGTERM to the end.
	Stop time.Duration

	// UnitFails: systemd cannot start the unit; nobody answers the doorbell.
	UnitFails bool
	// Refusal: ten-init refuses all calls with it when Ready is over, and the unit
	// fails.
	Refusal *ingress.Refusal
	// NeverReady: the app accepts no connection; it ends at the startup timeout.
	NeverReady bool
	// Mute: ten-init takes calls and never answers.
	Mute bool
	// Stuck: ten-init takes calls while it dozes, and never answers.
	Stuck bool
	// CannotFreeze: ten-init refuses to doze.
	CannotFreeze bool
	// Unfrozen: ten-init does not get it frozen in time, for as long as SetApp says so.
	Unfrozen bool
	// StopFails: the unit has failed after a stop, as with an app that had to be killed.
	StopFails bool
	// Unseen: the manager does not see how it ends when it crashes, and takes it for well.
	Unseen bool
	// Pretends: ten-init says that it is armed, whatever it does.
	Pretends bool
	// Unhealthy: every request is answered with 500.
	Unhealthy bool
	// Status gives the status of each answer, 0 for none at all; it may be nil.
	Status func() int
	// Single: the app serves one connection at a time, to its end.
	Single bool
	// Exit: the app ends by itself, well, when this is closed; it may be nil.
	Exit <-chan struct{}
}

// serve answers HTTP requests on the app's side of a connection, with the number of
// the run as body, until the run ends.
func (s *Systemd) serve(r *run, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(r.ctx, func() { conn.Close() })
	defer stop()
	if r.app.Single {
		select {
		case r.single <- struct{}{}:
			defer func() { <-r.single }()
		case <-r.ctx.Done():
			return
		}
	}
	in := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if entry := request.Header.Get(tenant.ScheduleHeader); entry != "" {
			s.mu.Lock()
			s.scheduled[r.id] = append(s.scheduled[r.id], request.Method+" "+request.URL.RequestURI()+" "+entry)
			s.mu.Unlock()
		}
		if !pause(r.ctx, r.app.Serve) || !s.awaitThaw(r) {
			return
		}
		status := http.StatusOK
		if r.app.Unhealthy {
			status = http.StatusInternalServerError
		}
		if r.app.Status != nil {
			status = r.app.Status()
		}
		if status == 0 {
			<-r.ctx.Done()
			return
		}
		body := fmt.Sprint(r.number)
		if _, err := fmt.Fprintf(conn, "HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body); err != nil {
			return
		}
	}
}

// awaitThaw waits while the run is frozen; false if it ended.
func (s *Systemd) awaitThaw(r *run) bool {
	for {
		s.mu.Lock()
		thawed := r.thawed
		s.mu.Unlock()
		if thawed == nil {
			return r.ctx.Err() == nil
		}
		select {
		case <-thawed:
		case <-r.ctx.Done():
			return false
		}
	}
}

// pause waits for d; false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
