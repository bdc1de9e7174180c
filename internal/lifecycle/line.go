package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"tenement.dev/internal/ingress"
)

// trialTime is how long an app that holds an unused connection of ours may take to
// answer on another one.
const trialTime = 100 * time.Millisecond

// maxLost is how often an app may have closed a connection that was kept for the next
// check; many do after some seconds.
const maxLost = 2

// line is the connection that is kept from one check to the next, which costs a fifth of
// a new one. Only apps get to hold one that have shown that they answer others
// meanwhile: one that serves a connection at a time would answer nobody.
type line struct {
	conn  net.Conn // nil: none
	tried bool     // whether the app answers others meanwhile
	never bool     // it does not, or closes what it is to hold
	lost  int
}

func (l *line) close() {
	if l.conn != nil {
		l.conn.Close()
		l.conn = nil
	}
}

// check is one look at an app's health: that of the process which began at startedAt.
// The doorbell is rung within ringing, the app has until asking ends: a ring that was
// given up in between could start an instance that is being stopped.
type check struct {
	m               *Manager
	inst            *instance
	path            string
	startedAt       int64
	ringing, asking context.Context
	line            line
}

// run makes the check; the error says why the app is not healthy. c.line is then what is
// kept.
func (c *check) run() error {
	if c.line.conn != nil {
		again, err := askHealth(c.asking, c.line.conn, c.path, true)
		if err != nil || !again {
			c.line.close()
		}
		if !isLost(err) {
			return err
		}
		c.line.lost++
		c.line.never = c.line.lost >= maxLost
	}
	conn, err := c.ring()
	if err != nil {
		return err
	}
	again, err := askHealth(c.asking, conn, c.path, !c.line.never)
	if err == nil && again && !c.line.never {
		c.line.conn = conn
		c.try()
		return nil
	}
	conn.Close()
	return err
}

// try finds out, once for each process, whether the app answers others while it holds
// the connection that is kept.
func (c *check) try() {
	if c.line.tried {
		return
	}
	c.line.tried = true
	conn, err := c.ring()
	if err == nil {
		ctx, cancel := context.WithTimeout(c.asking, trialTime)
		defer cancel()
		_, err = askHealth(ctx, conn, c.path, false)
		conn.Close()
	}
	if err != nil {
		c.line.close()
		c.line.never = true
	}
}

// ring gets a new connection to the app, if it is still the same one and awake.
func (c *check) ring() (net.Conn, error) {
	conn, answer, err := c.m.doorbell(c.inst.id).ProbeApp(c.ringing)
	var refusal *ingress.Refusal
	switch {
	case errors.As(err, &refusal) && refusal.Class == ingress.ClassRefused:
		return nil, errors.New("the app refuses connections")
	case refusal != nil, errors.Is(err, ingress.ErrHungUp), errors.Is(err, ingress.ErrNoDoorbell):
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	case err != nil:
		return nil, err
	case answer.InitAt != c.startedAt:
		if conn != nil {
			conn.Close()
		}
		return nil, errAnother
	case conn == nil:
		return nil, errUnknown
	}
	return conn, nil
}

// isLost reports whether the app has closed the connection instead of answering.
func isLost(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
