package ingress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxRequest bounds the line of a request, in bytes.
const maxRequest = 256

// verbTimeout bounds how long a connection to the doorbell may stay silent.
const verbTimeout = 5 * time.Second

// Call is one connection to the doorbell, on ten-init's side.
type Call struct {
	Verb Verb
	conn *net.UnixConn
}

// ReadCall reads the verb from a connection that was accepted on the doorbell. On an
// error the connection is closed.
func ReadCall(conn *net.UnixConn) (*Call, error) {
	verb, err := readVerb(conn)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &Call{Verb: verb, conn: conn}, nil
}

func readVerb(conn *net.UnixConn) (Verb, error) {
	if err := conn.SetReadDeadline(time.Now().Add(verbTimeout)); err != nil {
		return "", fmt.Errorf("read verb: %w", err)
	}
	var buf [maxRequest]byte
	length := 0
	for {
		n, err := conn.Read(buf[length:])
		if err != nil {
			return "", fmt.Errorf("read verb: %w", err)
		}
		length += n
		if end := bytes.IndexByte(buf[:length], '\n'); end >= 0 {
			// What follows the verb is from a newer client.
			verb, _, _ := bytes.Cut(buf[:end], []byte(" "))
			return Verb(verb), nil
		}
		if length == len(buf) {
			return "", errors.New("read verb: too long")
		}
	}
}

// Answer answers yes and hangs up. app is the connection to pass along, or nil; it
// stays open for the caller of Answer to close.
func (c *Call) Answer(a Answer, app syscall.Conn) error {
	if app == nil {
		return c.write([]byte(a.encode()), nil)
	}
	raw, err := app.SyscallConn()
	if err != nil {
		return fmt.Errorf("pass connection: %w", err)
	}
	var writeErr error
	if err := raw.Control(func(fd uintptr) {
		writeErr = c.write([]byte(a.encode()), unix.UnixRights(int(fd)))
	}); err != nil {
		return fmt.Errorf("pass connection: %w", err)
	}
	return writeErr
}

// Hold answers yes, and stays on the line until the caller lets go, hangs up or ctx ends;
// leave is true where the caller waits for another answer.
func (c *Call) Hold(ctx context.Context, a Answer) (leave bool) {
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = c.conn.SetWriteDeadline(time.Now().Add(verbTimeout))
	if _, err := c.conn.Write([]byte(a.encode())); err != nil {
		return false
	}
	_ = c.conn.SetReadDeadline(time.Time{})
	if ctx.Err() != nil {
		return true
	}
	var line [1]byte
	_, err := c.conn.Read(line[:])
	return err == nil || ctx.Err() != nil
}

// Close hangs up without an answer.
func (c *Call) Close() { c.conn.Close() }

// Refuse answers no and hangs up.
func (c *Call) Refuse(r *Refusal) error {
	return c.write([]byte(r.encode()), nil)
}

func (c *Call) write(line, oob []byte) error {
	defer c.conn.Close()
	if err := c.conn.SetWriteDeadline(time.Now().Add(verbTimeout)); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if _, _, err := c.conn.WriteMsgUnix(line, oob, nil); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}
