package machine

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// Dial connects from inside the machine's own network: "127.0.0.1:8080" is its loopback. address must be an IP address and a
// port: the machine's names are not known here.
func (m *Machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	dialed := make(chan result, 1)
	go func() {
		// This thread changes its network. It is not unlocked: the runtime ends it with the goroutine.
		runtime.LockOSThread()
		conn, err := m.dialHere(ctx, network, address)
		dialed <- result{conn, err}
	}()
	r := <-dialed
	if r.err != nil {
		return nil, fmt.Errorf("connect to %s in the test machine: %w", address, r.err)
	}
	return r.conn, nil
}

// dialHere makes the calling thread one of the machine's network for good, and connects.
func (m *Machine) dialHere(ctx context.Context, network, address string) (net.Conn, error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.leader))
	if err != nil {
		return nil, err
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter its network: %w", err)
	}
	var d net.Dialer // a single literal address is dialled on this goroutine, so on this thread
	return d.DialContext(ctx, network, address)
}

// Forward carries the TCP connections that l accepts to address in the machine's own network, until ctx ends; it closes l.
// That is how a browser on the host reaches a server in the machine.
func (m *Machine) Forward(ctx context.Context, l net.Listener, address string) error {
	ctx, cancel := context.WithCancel(ctx)
	var carriers sync.WaitGroup
	defer carriers.Wait()
	defer cancel()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		client, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			l.Close()
			return fmt.Errorf("forward %s to %s in the test machine: %w", l.Addr(), address, err)
		}
		carriers.Go(func() {
			defer client.Close()
			server, err := m.Dial(ctx, "tcp", address)
			if err != nil {
				return // the client sees its connection end
			}
			defer server.Close()
			defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
			var up sync.WaitGroup
			up.Go(func() { carry(server, client) })
			carry(client, server)
			up.Wait()
		})
	}
}

// carry copies from one connection to the other and hands on the end of the stream.
func carry(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		to.Close()
		from.Close()
	}
}
