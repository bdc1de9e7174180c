package ingress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoDoorbell says that nobody holds the doorbell: the instance is not loaded.
var ErrNoDoorbell = errors.New("no doorbell")

// ErrHungUp says that the connection to the doorbell ended without an answer: the
// process behind it went away. Ringing again starts the next one.
var ErrHungUp = errors.New("doorbell hung up")

// Doorbell is the path of an instance's doorbell. All its methods wait until ctx
// ends; an answer that says no is a *Refusal.
type Doorbell string

// Connect has the app woken and gives a new connection to it.
func (d Doorbell) Connect(ctx context.Context) (net.Conn, Answer, error) {
	answer, fd, err := d.ring(ctx, Connect)
	if err != nil {
		return nil, Answer{}, err
	}
	if fd < 0 {
		return nil, Answer{}, errors.New("connect: answer without a connection")
	}
	conn, err := newConn(fd)
	if err != nil {
		return nil, Answer{}, fmt.Errorf("connect: %w", err)
	}
	return conn, answer, nil
}

// Do sends a verb whose answer carries no descriptor.
func (d Doorbell) Do(ctx context.Context, verb Verb) (Answer, error) {
	answer, fd, err := d.ring(ctx, verb)
	if fd >= 0 {
		unix.Close(fd)
		if err == nil {
			err = fmt.Errorf("%s: answer with a descriptor", verb)
		}
	}
	return answer, err
}

// ring makes one exchange. The descriptor is -1 where the answer carried none.
func (d Doorbell) ring(ctx context.Context, verb Verb) (Answer, int, error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return Answer{}, -1, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	answer, fd, err := exchange(conn, verb)
	if err != nil {
		if fd >= 0 {
			unix.Close(fd)
		}
		if ctx.Err() != nil {
			return Answer{}, -1, fmt.Errorf("%s: %w", verb, context.Cause(ctx))
		}
		return Answer{}, -1, fmt.Errorf("%s: %w", verb, err)
	}
	return answer, fd, nil
}

// dial connects to the doorbell. A full backlog is waited out: for Unix sockets
// connect(2) says EAGAIN instead of waiting.
func (d Doorbell) dial(ctx context.Context) (*net.UnixConn, error) {
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "unix", string(d))
		switch {
		case err == nil:
			if unixConn, ok := conn.(*net.UnixConn); ok {
				return unixConn, nil
			}
			conn.Close()
			return nil, fmt.Errorf("ring doorbell: connection of type %T", conn)
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
			return nil, fmt.Errorf("%w at %s", ErrNoDoorbell, string(d))
		case !errors.Is(err, unix.EAGAIN):
			return nil, fmt.Errorf("ring doorbell: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("ring doorbell: %w", context.Cause(ctx))
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// exchange writes the verb and reads the answer. A descriptor that came is returned
// also beside an error.
func exchange(conn *net.UnixConn, verb Verb) (Answer, int, error) {
	if _, err := conn.Write([]byte(string(verb) + "\n")); err != nil {
		return Answer{}, -1, hungUp(err)
	}
	line, fd, err := readAnswer(conn)
	if err != nil {
		return Answer{}, fd, err
	}
	answer, err := decode(line)
	return answer, fd, err
}

// readAnswer reads one line and at most one descriptor; more than one is an error and
// all of them are closed.
func readAnswer(conn *net.UnixConn) (string, int, error) {
	var line []byte
	fds := fdList{}
	// Room for one descriptor; alignment gives two, the kernel drops the rest.
	oob := make([]byte, unix.CmsgSpace(4))
	buf := make([]byte, maxLine)
	for {
		n, oobn, flags, _, err := conn.ReadMsgUnix(buf, oob)
		fds.take(oob[:oobn], flags)
		if err != nil {
			fds.close()
			return "", -1, hungUp(err)
		}
		line = append(line, buf[:n]...)
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			fd, err := fds.single()
			return string(line[:end]), fd, err
		}
		if len(line) >= maxLine {
			fds.close()
			return "", -1, errors.New("answer is too long")
		}
	}
}

// hungUp turns the ways in which a connection ends into ErrHungUp.
func hungUp(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("%w: %w", ErrHungUp, err)
	}
	return err
}

// fdList collects the descriptors of an answer.
type fdList struct {
	fds []int
	err error
}

func (l *fdList) take(oob []byte, flags int) {
	if flags&unix.MSG_CTRUNC != 0 {
		l.err = errors.New("answer with too many descriptors")
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		l.err = fmt.Errorf("parse control message: %w", err)
		return
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // another kind of control message carries no descriptor
		}
		l.fds = append(l.fds, fds...)
	}
}

func (l *fdList) close() {
	for _, fd := range l.fds {
		unix.Close(fd)
	}
	l.fds = nil
}

// single gives the one descriptor, or -1 for none.
func (l *fdList) single() (int, error) {
	if l.err == nil && len(l.fds) > 1 {
		l.err = errors.New("answer with too many descriptors")
	}
	if l.err != nil {
		l.close()
		return -1, l.err
	}
	if len(l.fds) == 0 {
		return -1, nil
	}
	return l.fds[0], nil
}
