package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// upgrade is an app that switches to protocol and goes on with f.
func upgrade(protocol string, f func(conn net.Conn, in io.Reader)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
		_ = rw.Flush()
		f(conn, rw)
	})
}

// dialUpgraded opens a connection of the protocol through the proxy.
func dialUpgraded(t *testing.T, address, protocol string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a.app.test\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v %v, want 101", resp, err)
	}
	return conn, in
}

// clientClose is a client's close frame with status 1001, with a masking key of zeros.
var (
	serverClose = []byte{0x88, 2, 0x03, 0xe9}
	clientClose = []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9}
)

// TestWebSocketEnds ends WebSockets whose instance, or proxy, is about to stop: both
// sides get a close frame with status 1001, once, and nothing after it.
func TestWebSocketEnds(t *testing.T) {
	for _, how := range []string{"instance", "proxy"} {
		for _, app := range []string{"polite", "other status", "no status", "rude", "talking", "mid-frame"} {
			t.Run(how+" "+app, func(t *testing.T) {
				t.Parallel()
				heard := make(chan []byte, 1)
				b := &backend{ending: make(chan struct{})}
				address, server := serve(t, b, upgrade("websocket", func(conn net.Conn, in io.Reader) {
					fmt.Fprint(conn, "\x81\x02hi")
					switch app {
					case "talking": // until nobody listens any more
						for {
							if _, err := fmt.Fprint(conn, "\x81\x02hi"); err != nil {
								break
							}
							time.Sleep(time.Millisecond)
						}
					case "mid-frame":
						fmt.Fprint(conn, "\x81\x7dnot all of it")
					}
					got := make([]byte, len(clientClose))
					_, _ = io.ReadFull(in, got)
					heard <- got
					switch app {
					case "polite":
						_, _ = conn.Write(serverClose)
						return
					case "other status": // 1000, as many libraries have it, straight after something else
						_, _ = fmt.Fprint(conn, "\x81\x02hi\x88\x02\x03\xe8")
						return
					case "no status":
						_, _ = fmt.Fprint(conn, "\x88\x00")
						return
					}
					_, _ = io.Copy(io.Discard, in)
				}))
				conn, in := dialUpgraded(t, address, "websocket")
				first := make([]byte, 4)
				if _, err := io.ReadFull(in, first); err != nil || string(first) != "\x81\x02hi" {
					t.Fatalf("got %q %v", first, err)
				}
				if app == "mid-frame" {
					if _, err := io.ReadFull(in, make([]byte, len("\x81\x7dnot all of it"))); err != nil {
						t.Fatal(err)
					}
				}
				drained := make(chan error, 1)
				if how == "instance" {
					close(b.ending)
					drained <- nil
				} else {
					go func() {
						ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
						defer cancel()
						drained <- server.Drain(ctx)
					}()
				}
				var got []byte
				for {
					c, err := in.ReadByte()
					if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error("it does not end")
					}
					if err != nil {
						break
					}
					got = append(got, c)
					if bytes.HasSuffix(got, serverClose) {
						if _, err := conn.Write(clientClose); err != nil {
							t.Errorf("answer the close frame: %v", err)
						}
					}
				}
				want := serverClose
				if app == "mid-frame" { // a frame within a frame would be garbage
					want = nil
				}
				got = bytes.ReplaceAll(got, []byte("\x81\x02hi"), nil)
				if !bytes.Equal(got, want) {
					t.Errorf("client: got %x, want %x", got, want)
				}
				if heard := <-heard; !bytes.Equal(heard, clientClose) {
					t.Errorf("app: got %x, want %x", heard, clientClose)
				}
				if err := <-drained; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A client that answers nothing is waited for, but not long.
func TestSilentClientOfAWebSocket(t *testing.T) {
	b := &backend{ending: make(chan struct{})}
	address, _ := serve(t, b, upgrade("websocket", func(_ net.Conn, in io.Reader) { _, _ = io.Copy(io.Discard, in) }))
	_, in := dialUpgraded(t, address, "websocket")
	begun := time.Now()
	close(b.ending)
	got, err := io.ReadAll(in) // until a deadline that is far later
	if err != nil || !bytes.Equal(got, serverClose) {
		t.Errorf("got %x %v, want %x", got, err, serverClose)
	}
	if took := time.Since(begun); took < partTime {
		t.Errorf("the end took %v, want it waited for", took)
	}
}

func TestOtherUpgradeEnds(t *testing.T) {
	b := &backend{ending: make(chan struct{})}
	address, _ := serve(t, b, upgrade("chat", func(_ net.Conn, in io.Reader) { _, _ = io.Copy(io.Discard, in) }))
	_, in := dialUpgraded(t, address, "chat")
	close(b.ending)
	if got, err := io.ReadAll(in); err != nil || len(got) > 0 {
		t.Errorf("got %x %v, want the end", got, err)
	}
}

// An event stream ends as if the app had ended it, so that clients connect again.
func TestEventStreamEnds(t *testing.T) {
	b := &backend{ending: make(chan struct{})}
	address, _ := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	req := request(t, "http://"+address)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, len("data: 1\n\n"))
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	close(b.ending)
	if rest, err := io.ReadAll(resp.Body); err != nil || string(first)+string(rest) != "data: 1\n\n" {
		t.Errorf("got %q %q %v, want a stream that ends well", first, rest, err)
	}
}

// TestRefusedUpgrade: an app that changes to another protocol than the client has asked for is
// not waited for by a drain, and its connection is closed.
func TestRefusedUpgrade(t *testing.T) {
	closed := make(chan struct{})
	address, server := serve(t, &backend{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
		_, _ = io.Copy(io.Discard, rw)
		closed <- struct{}{}
	}))
	for _, more := range []string{"", "Connection: Upgrade\r\nUpgrade: websocket\r\n"} {
		resp := talk(t, dial(t, address), "GET / HTTP/1.1\r\nHost: a.app.test\r\n"+more+"\r\n")[0]
		if resp.StatusCode != http.StatusBadGateway {
			t.Errorf("got %s, want 502", resp.Status)
		}
		select {
		case <-closed:
		case <-time.After(20 * time.Second):
			t.Error("the app's connection is not closed")
		}
		if n := server.proxy.upgrades.Load(); n != 0 {
			t.Errorf("%d connections speak another protocol, want 0", n)
		}
	}
}
