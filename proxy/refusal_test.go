package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestRefusalOfABody: what an app says before it ends its connection in the middle of a body is
// the answer, however the body comes. That it has ended may be seen first by who sends the body.
func TestRefusalOfABody(t *testing.T) {
	app := rawApp(t, func(conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, 64<<10)); err == nil {
			fmt.Fprint(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n")
		}
	})
	address, server := serve(t, &backend{address: app}, nil)
	var sending sync.WaitGroup
	t.Cleanup(sending.Wait)
	const size = 4 << 20
	check := func(t *testing.T, resp *http.Response, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 413 || string(body) != "no\n" {
			t.Errorf("got %s %q, %v, want 413", resp.Status, body, err)
		}
	}
	for name, head := range map[string]string{"length": fmt.Sprintf("Content-Length: %d", size), "chunks": "Transfer-Encoding: chunked"} {
		t.Run(name, func(t *testing.T) {
			for range 10 {
				conn, in := converse(t, address, "POST / HTTP/1.1\r\nHost: a.app.test\r\n"+head+"\r\n\r\n")
				sending.Go(func() {
					if name == "chunks" {
						fmt.Fprintf(conn, "%x\r\n", size)
					}
					_, _ = conn.Write(uploadOf(size))
				})
				resp, err := http.ReadResponse(bufio.NewReader(in), nil)
				check(t, resp, err)
				conn.Close()
			}
		})
	}
	t.Run("HTTP-2", func(t *testing.T) {
		client, url := overH2(t, server)
		for range 10 {
			resp, err := ask(t.Context(), client, "POST", url, strings.NewReader(string(uploadOf(size))))
			check(t, resp, err)
			resp.Body.Close()
		}
	})
}

// TestHintsAreNotForOldClients: a client of HTTP/1.0 would take them for the answer (RFC 9110,
// section 15.2); nginx before 1.29 is one, where nothing else is said.
func TestHintsAreNotForOldClients(t *testing.T) {
	address, _ := serve(t, &backend{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</x.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		fmt.Fprint(w, "ok")
	}))
	for version, want := range map[string]int{"1.0": 200, "1.1": 103} {
		_, in := converse(t, address, "GET / HTTP/"+version+"\r\nHost: a.app.test\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != want {
			t.Errorf("HTTP/%s: got %v, %v, want %d", version, resp, err, want)
		}
	}
}
