package proxy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestStalledClient: a client that takes nothing of an answer any more does not keep its
// instance for ever, whichever way the answer goes.
func TestStalledClient(t *testing.T) {
	b := &backend{}
	address, server := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		part := strings.Repeat("x", 64<<10)
		switch r.URL.Path {
		case "/pieces": // which a server may keep back until it is told to send them
			part = part[:2<<10]
		case "/length":
			w.Header().Set("Content-Length", fmt.Sprint(1<<40))
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream") // the reverse proxy has it
			part = "data: " + part[:2<<10] + "\n\n"
		}
		for r.Context().Err() == nil {
			if _, err := fmt.Fprint(w, part); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	}), func(s *Server) { s.proxy.stall = 200 * time.Millisecond })
	paths := []string{"/length", "/chunks", "/pieces", "/events"}
	for _, path := range paths {
		conn := dial(t, address)
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a.app.test\r\n\r\n", path)
		waitFor(t, func() bool { return b.acquired.Load() > 0 && b.held.Load() == 0 })
		b.acquired.Store(0)
		conn.Close()
	}
	client, url := overH2(t, server)
	for _, path := range paths {
		resp, err := ask(t.Context(), client, "GET", url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		waitFor(t, func() bool { return b.acquired.Load() > 0 && b.held.Load() == 0 })
		b.acquired.Store(0)
		resp.Body.Close()
	}
}
