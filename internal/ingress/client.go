package ingress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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
	answer, sent, err := d.ring(ctx, Connect)
	if err != nil {
		return nil, Answer{}, err
	}
	if sent.fd < 0 {
		return nil, Answer{}, errors.New("connect: answer without a connection")
	}
	conn, err := newConn(sent.fd, sent.sender)
	if err != nil {
		return nil, Answer{}, fmt.Errorf("connect: %w", err)
	}
	return conn, answer, nil
}

// ProbeApp gives a new connection to the app if it is awake; nil where it is starting
// or dozing, as the answer tells. It changes nothing about either. A doorbell that
// nobody is behind starts the instance even so: ask it of one that runs.
func (d Doorbell) ProbeApp(ctx context.Context) (net.Conn, Answer, error) {
	answer, sent, err := d.ring(ctx, Probe)
	if err != nil || sent.fd < 0 {
		return nil, answer, err
	}
	conn, err := newConn(sent.fd, sent.sender)
	if err != nil {
		return nil, Answer{}, fmt.Errorf("probe: %w", err)
	}
	return conn, answer, nil
}

// Do sends a verb whose answer carries no descriptor.
func (d Doorbell) Do(ctx context.Context, verb Verb) (Answer, error) {
	answer, sent, err := d.ring(ctx, verb)
	if sent.fd >= 0 {
		unix.Close(sent.fd)
		if err == nil {
			err = fmt.Errorf("%s: answer with a descriptor", verb)
		}
	}
	return answer, err
}

// Freeze has the app frozen until release is called, which says whether it was so all the
// time; it must be called. A process that ends without that has the app go on, too. The
// answer's Dozing is whether the app dozed before, and does afterwards. A doorbell that
// nobody is behind starts the instance: ask it of one that runs.
func (d Doorbell) Freeze(ctx context.Context) (release func(context.Context) error, a Answer, err error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return nil, Answer{}, err
	}
	if a, err = conn.freeze(ctx, string(Freeze)+"\n"); err != nil {
		conn.file.Close()
		return nil, Answer{}, err
	}
	return func(ctx context.Context) error {
		defer conn.file.Close()
		_, err := conn.freeze(ctx, "\n")
		return err
	}, a, nil
}

// freeze makes one of the two exchanges of a Freeze.
func (s stream) freeze(ctx context.Context, line string) (Answer, error) {
	_ = s.file.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = s.file.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	answer, sent, err := exchange(s, line)
	if sent.fd >= 0 {
		unix.Close(sent.fd)
		if err == nil {
			err = errors.New("answer with a descriptor")
		}
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", Freeze, err)
	}
	return answer, nil
}

// descriptor is one that came with an answer, and whose process sent it. fd is -1 where
// none came.
type descriptor struct {
	fd     int
	sender uint32 // uid
}

var none = descriptor{fd: -1}

// ring makes one exchange.
func (d Doorbell) ring(ctx context.Context, verb Verb) (Answer, descriptor, error) {
	conn, err := d.dial(ctx)
	if err != nil {
		return Answer{}, none, err
	}
	defer conn.file.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.file.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	answer, sent, err := exchange(conn, string(verb)+"\n")
	if err != nil {
		if sent.fd >= 0 {
			unix.Close(sent.fd)
		}
		if ctx.Err() != nil {
			return Answer{}, none, fmt.Errorf("%s: %w", verb, context.Cause(ctx))
		}
		return Answer{}, none, fmt.Errorf("%s: %w", verb, err)
	}
	return answer, sent, nil
}

// dial connects to the doorbell. A full backlog is waited out: for Unix sockets
// connect(2) says EAGAIN instead of waiting.
func (d Doorbell) dial(ctx context.Context) (stream, error) {
	for ctx.Err() == nil {
		conn, err := d.dialOnce()
		switch {
		case err == nil:
			return conn, nil
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ECONNREFUSED):
			return stream{}, fmt.Errorf("%w at %s", ErrNoDoorbell, string(d))
		case !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR):
			return stream{}, fmt.Errorf("ring doorbell: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Millisecond):
		}
	}
	return stream{}, fmt.Errorf("ring doorbell: %w", context.Cause(ctx))
}

// dialOnce connects without waiting. The kernel is asked to tell with each message who
// sent it (SO_PASSCRED, unix(7)): the connection itself would say who listens, and that
// is systemd.
func (d Doorbell) dialOnce() (stream, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return stream{}, os.NewSyscallError("socket", err)
	}
	err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1))
	if err == nil {
		err = os.NewSyscallError("connect", unix.Connect(fd, &unix.SockaddrUnix{Name: string(d)}))
	}
	if err != nil {
		unix.Close(fd)
		return stream{}, err
	}
	return newStream(fd, "doorbell")
}

// exchange writes a line and reads the answer. A descriptor that came is returned
// also beside an error.
func exchange(conn stream, line string) (Answer, descriptor, error) {
	if _, err := conn.file.Write([]byte(line)); err != nil {
		return Answer{}, none, hungUp(err)
	}
	text, sent, err := readAnswer(conn)
	if err != nil {
		return Answer{}, sent, err
	}
	answer, err := decode(text)
	return answer, sent, err
}

// receive waits for a message, or the end, which is io.EOF. Descriptors that come with it
// are not inherited by programs that this one starts.
func (s stream) receive(p, oob []byte) (n, oobn, flags int, err error) {
	var opErr error
	err = s.raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, flags, _, opErr = unix.Recvmsg(int(fd), p, oob, unix.MSG_CMSG_CLOEXEC)
			if opErr != unix.EINTR {
				break
			}
		}
		return opErr != unix.EAGAIN
	})
	switch {
	case err != nil:
		return 0, 0, 0, err
	case opErr != nil:
		return 0, 0, 0, os.NewSyscallError("recvmsg", opErr)
	case n == 0: // beside the sender's name
		return 0, oobn, flags, io.EOF
	}
	return n, oobn, flags, nil
}

// readAnswer reads one line and at most one descriptor; more than one is an error and
// all of them are closed.
func readAnswer(conn stream) (string, descriptor, error) {
	var line []byte
	fds := fdList{}
	// Room for the sender, which comes first, and one descriptor; alignment gives two,
	// the kernel drops the rest.
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred)+unix.CmsgSpace(4))
	buf := make([]byte, maxLine)
	for {
		n, oobn, flags, err := conn.receive(buf, oob)
		fds.take(oob[:oobn], flags)
		if err != nil {
			fds.close()
			return "", none, hungUp(err)
		}
		line = append(line, buf[:n]...)
		if end := bytes.IndexByte(line, '\n'); end >= 0 {
			sent, err := fds.single()
			return string(line[:end]), sent, err
		}
		if len(line) >= maxLine {
			fds.close()
			return "", none, errors.New("answer is too long")
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
	fds    []int
	sender *unix.Ucred // of the descriptors
	err    error
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
	var sender *unix.Ucred
	for _, m := range messages {
		if cred, err := unix.ParseUnixCredentials(&m); err == nil {
			sender = cred
			continue
		}
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // another kind of control message carries no descriptor
		}
		l.fds = append(l.fds, fds...)
		l.sender = sender
	}
}

func (l *fdList) close() {
	for _, fd := range l.fds {
		unix.Close(fd)
	}
	l.fds = nil
}

// single gives the one descriptor, or none.
func (l *fdList) single() (descriptor, error) {
	if l.err == nil && len(l.fds) > 1 {
		l.err = errors.New("answer with too many descriptors")
	}
	if l.err == nil && len(l.fds) == 1 && l.sender == nil {
		l.err = errors.New("answer with a descriptor from nobody")
	}
	if l.err != nil {
		l.close()
		return none, l.err
	}
	if len(l.fds) == 0 {
		return none, nil
	}
	return descriptor{l.fds[0], l.sender.Uid}, nil
}
