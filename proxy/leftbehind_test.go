package proxy

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
)

// TestNothingLeftBehind: what an app sends behind its answer is no answer to the next request,
// which may be another client's, however soon that comes.
func TestNothingLeftBehind(t *testing.T) {
	if slowOnly {
		return // there it is a race between net/http and the next request
	}
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	goOn, done := make(chan struct{}), make(chan struct{})
	app := rawApp(t, func(conn net.Conn) {
		for in := bufio.NewReader(conn); ; {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			switch r.URL.Path {
			case "/":
				fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				continue
			case "/none":
				fmt.Fprint(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			case "/long":
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n%0100000d", 0)
			default: // as a framework does that does not know of HEAD
				fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(poison))
			}
			<-goOn
			fmt.Fprint(conn, poison)
			done <- struct{}{}
		}
	})
	address, _ := serve(t, &backend{address: app}, nil)
	for _, first := range []string{"HEAD /head", "GET /none", "GET /long"} {
		talk(t, dial(t, address), first+" HTTP/1.1\r\nHost: a.app.test\r\n\r\n")
		goOn <- struct{}{}
		<-done
		resp := talk(t, dial(t, address), "GET / HTTP/1.1\r\nHost: a.app.test\r\n\r\n")[0]
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(body) != "ok" {
			t.Errorf("behind %s: got %s %q", first, resp.Status, body)
		}
	}
}

// TestChunksAsAppsSendThem: white space and zeros that fill up the room of a chunk's size change
// nothing.
func TestChunksAsAppsSendThem(t *testing.T) {
	address, _ := serve(t, &backend{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5   \r\nhello\r\n0000000000000006\r\n world\r\n0  \r\n\r\n")
	}))
	resp := talk(t, dial(t, address), "GET / HTTP/1.1\r\nHost: a.app.test\r\n\r\n")[0]
	if body, _ := io.ReadAll(resp.Body); string(body) != "hello world" {
		t.Errorf("got %q", body)
	}
}

// TestNamedInConnection: a client cannot have the proxy keep its own headers from the app.
func TestNamedInConnection(t *testing.T) {
	address, _ := serve(t, &backend{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			fmt.Fprintln(w, name)
		}
	}))
	names := []string{requestIDHeader, hopHeader, "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"}
	resp := talk(t, dial(t, address), "GET / HTTP/1.1\r\nHost: a.app.test\r\nConnection: "+strings.ToLower(strings.Join(names, ", "))+"\r\n\r\n")[0]
	body, _ := io.ReadAll(resp.Body)
	for _, name := range names {
		if !strings.Contains(string(body), name+"\n") {
			t.Errorf("got %q, want %s among them", body, name)
		}
	}
}

// chooser is a Router of a sticky service that has all the instances which are asked for.
type chooser struct{ noInstances }

func (chooser) Route(service, prefer string, _ []tenant.ID) (tenant.ID, bool, error) {
	return tenant.ID{Service: service, Name: cmp.Or(prefer, "first")}, true, nil
}

// TestChoiceIsForOneRequest: the instance that a request to a service was given is not the next
// one's, who may be another client behind a proxy of theirs.
func TestChoiceIsForOneRequest(t *testing.T) {
	b := &backend{}
	address, server := serve(t, b, http.HandlerFunc(mirror))
	server.proxy.router = chooser{}
	b.resting.Store(true)
	const tail = " HTTP/1.1\r\nHost: app.test\r\n"
	list := talk(t, dial(t, address),
		"GET /"+tail+"\r\n",
		"POST /"+tail+"Cookie: "+stickyCookie+"=second\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	for i, want := range []string{stickyCookie + "=first", ""} {
		if got := list[i].Header.Get("Set-Cookie"); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("request %d: got the cookie %q, want %q", i+1, got, want)
		}
	}
}
