package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// message is what is echoed: 64 bytes in one frame (RFC 6455 §5.2). Its mask is zero, so that
// the frame of a client differs from that of the answer in its head alone.
var message = bytes.Repeat([]byte("tenement"), 8)

var (
	frame = append([]byte{0x81, 0x80 | byte(len(message)), 0, 0, 0, 0}, message...)
	reply = append([]byte{0x81, byte(len(message))}, message...)
)

// echoes sends a message over each of so many WebSockets as soon as the last one has come back.
func echoes(connections int) client {
	return func(ctx context.Context, g *group, p peer, each time.Duration) (sample, error) {
		address := g.echoAddress(p)
		ctx, cancel := context.WithTimeout(ctx, each+stepTimeout)
		defer cancel()
		conns := make([]*webSocket, connections)
		defer func() {
			for _, c := range conns {
				if c != nil {
					c.Close()
				}
			}
		}()
		for i := range conns {
			var err error
			if conns[i], err = dialWebSocket(ctx, address); err != nil {
				return sample{}, err
			}
		}
		took := make([][]time.Duration, connections)
		errs := make([]error, connections)
		begun := time.Now()
		end := begun.Add(each)
		var all sync.WaitGroup
		for i, c := range conns {
			all.Go(func() { took[i], errs[i] = c.echoUntil(end) })
		}
		all.Wait()
		lasted := time.Since(begun)
		times := slices.Concat(took...)
		if err := errors.Join(errs...); err != nil || len(times) == 0 {
			return sample{}, fmt.Errorf("%d messages came back: %w", len(times), err)
		}
		slices.Sort(times)
		return sample{float64(len(times)) / lasted.Seconds(), times[len(times)*99/100]}, nil
	}
}

// webSocket is the client's end of one.
type webSocket struct {
	net.Conn
	in *bufio.Reader
}

// dialWebSocket opens one, whose waits end with ctx's deadline.
func dialWebSocket(ctx context.Context, address string) (_ *webSocket, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	// The key is the RFC's example, §1.2.
	_, err = fmt.Fprintf(conn, "GET /ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", echoHost)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body.Close()
		return nil, fmt.Errorf("handshake: status %s", resp.Status)
	}
	return &webSocket{conn, in}, nil
}

// echoUntil gives how long each message has taken to come back.
func (c *webSocket) echoUntil(end time.Time) (took []time.Duration, err error) {
	got := make([]byte, len(reply))
	for begun := time.Now(); begun.Before(end); {
		if _, err := c.Write(frame); err != nil {
			return took, err
		}
		if _, err := io.ReadFull(c.in, got); err != nil {
			return took, err
		}
		if !bytes.Equal(got, reply) {
			return took, fmt.Errorf("%q came back", got)
		}
		now := time.Now()
		took = append(took, now.Sub(begun))
		begun = now
	}
	return took, nil
}
