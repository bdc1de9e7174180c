package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestOnceMadeOnFreshConnections: what is not made again where the app has closed the connection
// goes over one that the app has used just now.
func TestOnceMadeOnFreshConnections(t *testing.T) {
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.RemoteAddr)
	})
	large := strings.Repeat("x", 100<<10)
	for name, request := range map[string]string{
		"no body": "POST / HTTP/1.1\r\nHost: a.app.test\r\nContent-Length: 0\r\n\r\n",
		"body":    "PUT / HTTP/1.1\r\nHost: a.app.test\r\nContent-Length: 5\r\n\r\nhello",
		"upload":  fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.app.test\r\nContent-Length: %d\r\n\r\n%s", len(large), large),
		"chunks":  "POST / HTTP/1.1\r\nHost: a.app.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"DELETE":  "DELETE / HTTP/1.1\r\nHost: a.app.test\r\n\r\n",
	} {
		for _, fresh := range []time.Duration{time.Nanosecond, time.Hour} {
			t.Run(fmt.Sprintf("%s, %v", name, fresh), func(t *testing.T) {
				address, _ := serve(t, &backend{}, app, func(s *Server) { s.proxy.pools.fresh = fresh })
				var on [2]string // the connections
				for i := range on {
					resp := talk(t, dial(t, address), request)[0]
					body, err := io.ReadAll(resp.Body)
					if err != nil || resp.StatusCode != 200 {
						t.Fatalf("got %s, %v", resp.Status, err)
					}
					on[i] = string(body)
				}
				if got, want := on[0] == on[1], fresh == time.Hour; got != want {
					t.Errorf("the second one went over the connection of the first one: got %v, want %v", got, want)
				}
			})
		}
	}
}
