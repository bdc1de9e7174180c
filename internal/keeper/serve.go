package keeper

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// What bounds who asks: how many may do so at a time, the others wait to be accepted; for
// how long somebody may take to say what, and to hear; how long an answer may take, which
// is more than any stop_grace that makes sense; and for how long calls go on when the
// keeper is to end.
const (
	maxCalls   = 128
	talkTime   = 5 * time.Second
	callTime   = 15 * time.Minute
	finishTime = 30 * time.Second
)

// ServerOptions is what a Server needs.
type ServerOptions struct {
	Units    Units
	Hints    <-chan units.UnitState
	Features Features
	// Host has the paths RuntimeDir and InitPath; the rest is what the probe has found.
	Host units.Host
	// Config is the absolute path of tenement.toml.
	Config string
	// StateDir holds what must survive a reboot.
	StateDir string
	// Proxy is who may ask, beside root.
	Proxy tenant.Account
	// Idle is after how long without anybody who asks Serve returns.
	Idle time.Duration
	Log  *slog.Logger
}

// Server does the keeper's work for another process, which has no privilege. See talk.go
// for what it is asked, and verbs.go for what becomes of it.
type Server struct {
	o       ServerOptions
	notes   notes
	refused throttle
	talk    time.Duration // talkTime
	// turns has maxCalls tokens: a call takes one, who replaces what follows all of them.
	turns *semaphore.Weighted
	works *works
}

// NewServer makes a Server.
func NewServer(o ServerOptions) *Server {
	return &Server{o: o, notes: notesOf(o.Host.RuntimeDir), talk: talkTime, turns: semaphore.NewWeighted(maxCalls)}
}

// Serve answers who connects to l until ctx ends, or nobody has asked for Idle. Then calls
// in progress may end; a connection that nobody has accepted is the next keeper's.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) error {
	defer context.AfterFunc(ctx, func() { _ = l.SetDeadline(time.Unix(1, 0)) })()
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer func() {
		timer := time.AfterFunc(finishTime, cancel)
		running.Wait()
		timer.Stop()
		cancel()
		if s.works != nil {
			s.works.end()
		}
	}()
	slots := make(chan struct{}, maxCalls)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		if err := l.SetDeadline(time.Now().Add(s.o.Idle)); err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if ctx.Err() != nil {
			return nil
		}
		conn, err := l.AcceptUnix()
		var late net.Error
		switch {
		case errors.As(err, &late) && late.Timeout():
			if ctx.Err() != nil || len(slots) == 1 { // ours alone
				return nil
			}
			<-slots
			continue
		case err != nil:
			return fmt.Errorf("accept: %w", err)
		}
		running.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			s.serve(calls, conn)
		})
	}
}

// serve answers one connection's request.
func (s *Server) serve(ctx context.Context, conn *net.UnixConn) {
	who, err := s.admit(conn)
	if err != nil {
		s.refuse(who, request{}, err)
		_ = conn.SetDeadline(time.Now().Add(s.talk))
		_ = writeMessage(conn, reply{Fault: faultOf(err)})
		return
	}
	var r request
	_ = conn.SetDeadline(time.Now().Add(s.talk))
	in := bufio.NewReader(conn)
	if err := readMessage(in, maxRequest, &r); err != nil {
		if !isHangup(err) {
			s.refuse(who, request{}, err)
		}
		return
	}
	most := callTime
	if ofData[r.Verb] {
		most = streamTime
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	_ = conn.SetDeadline(time.Time{})
	gone := make(chan struct{})
	if r.Verb == verbUnpack {
		close(gone) // its stream tells
	} else {
		// Who hangs up, or says more, does not wait for the answer.
		go func() {
			defer close(gone)
			_, _ = in.ReadByte()
			cancel()
		}()
	}
	answer, err := s.answer(ctx, who, conn, in, r)
	var no *refusal
	if errors.As(err, &no) {
		s.refuse(who, r, err)
	}
	if ctx.Err() == nil { // else nobody listens, or they are to ask the next keeper
		answer.Fault = faultOf(err)
		_ = conn.SetWriteDeadline(time.Now().Add(s.talk))
		if err := writeMessage(conn, answer); err != nil && !isHangup(err) {
			s.o.Log.Warn("answer not delivered", "verb", r.Verb, "err", err)
		}
	}
	conn.Close()
	<-gone
}

// answer does what is asked, if it is there to be asked for, and by whom.
func (s *Server) answer(ctx context.Context, who unix.Ucred, conn net.Conn, in *bufio.Reader, r request) (reply, error) {
	if err := r.check(); err != nil {
		return reply{}, &refusal{err}
	}
	if err := s.admitData(who, r); err != nil {
		return reply{}, &refusal{err}
	}
	if !ofData[r.Verb] {
		return s.do(ctx, r)
	}
	var answer reply
	var err error
	if r.Verb == verbPack || r.Verb == verbUnpack {
		answer, err = s.stream(ctx, conn, in, r)
	} else {
		answer, err = s.do(ctx, r)
	}
	if err == nil && who.Uid != 0 {
		err = s.notes.used(r)
	}
	return answer, err
}

// admit asks the kernel who connected (unix(7), SO_PEERCRED).
func (s *Server) admit(conn *net.UnixConn) (who unix.Ucred, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return who, err
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, cerr); err != nil {
		return who, fmt.Errorf("read peer credentials: %w", err)
	}
	if cred.Uid != 0 && int(cred.Uid) != s.o.Proxy.UID {
		return *cred, &refusal{&tenant.Error{
			Code: tenant.CodeInvalid, Op: "ask the keeper",
			Msg:  fmt.Sprintf("uid %d has nothing to ask the keeper", cred.Uid),
			Hint: "it answers root and the user of tenement.service",
		}}
	}
	return *cred, nil
}

// refusal is an error about something that the other side is not to have.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// refuse logs what was refused, to whom.
func (s *Server) refuse(who unix.Ucred, r request, err error) {
	missed, ok := s.refused.allow(time.Now())
	if !ok {
		return
	}
	s.o.Log.Warn("refused", "verb", short(string(r.Verb)), "service", short(r.Service), "name", short(r.Name), "uid", who.Uid, "pid", who.Pid,
		"err", short(err.Error()), "unlogged", missed)
}

// short bounds what others have written.
func short(s string) string {
	const most = 300
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// throttle bounds how often something is logged: burst at once, and one each second.
type throttle struct {
	mu     sync.Mutex // guards what follows
	left   float64
	at     time.Time
	missed int
}

const throttleBurst = 50

// allow reports whether to log now, and how many have not been since the last.
func (t *throttle) allow(now time.Time) (missed int, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at.IsZero() {
		t.left = throttleBurst
	} else {
		t.left = min(throttleBurst, t.left+now.Sub(t.at).Seconds())
	}
	t.at = now
	if t.left < 1 {
		t.missed++
		return 0, false
	}
	t.left--
	missed, t.missed = t.missed, 0
	return missed, true
}

// isHangup reports whether an error says only that the other side has gone.
func isHangup(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET)
}
