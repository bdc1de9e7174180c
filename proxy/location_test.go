package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// A redirect to where the app listens leads to where the client asked; every other one is passed on as it is.
func TestRedirectToTheAppItself(t *testing.T) {
	b := &backend{}
	address, _ := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to, ok := r.Header["To"]; ok {
			w.Header()["Location"] = to
		}
		w.WriteHeader(http.StatusFound)
		_, _ = io.WriteString(w, "moved")
	}))
	_, port, _ := strings.Cut(b.address, ":")
	client := &http.Transport{} // which follows nothing, and reads no Location
	defer client.CloseIdleConnections()
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, c := range []struct{ to, want string }{
			{"http://localhost:" + port + "/login?next=/a#b", "http://a.app.test/login?next=/a#b"},
			{"http://127.0.0.1:" + port, "http://a.app.test"},
			{"http://[::1]:" + port + "?a", "http://a.app.test?a"},
			{"http://0.0.0.0:" + port + "//evil.example", "http://a.app.test//evil.example"},
			{"http://localhost:" + port + "1/callback", "http://localhost:" + port + "1/callback"}, // a program of the client's
			{"http://localhost:" + port + ".evil.example/", "http://localhost:" + port + ".evil.example/"},
			{"http://localhost:" + port + "@evil.example/", "http://localhost:" + port + "@evil.example/"},
			{"https://localhost:" + port + "/", "https://localhost:" + port + "/"},
			{"http://localhost/", "http://localhost/"},
			{"http://a.app.test:" + port + "/", "http://a.app.test:" + port + "/"},
			{"/login", "/login"},
		} {
			req, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = "a.app.test"
			req.Header.Set("To", c.to)
			resp, err := client.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if got := resp.Header.Get("Location"); got != c.want || resp.StatusCode != http.StatusFound || string(body) != "moved" || err != nil {
				t.Errorf("%s, redirected to %q: got %d %q with %q (%v), want 302 %q", method, c.to, resp.StatusCode, got, body, err, c.want)
			}
		}
	}
}
