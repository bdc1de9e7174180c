package proxy

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"tenement.dev/internal/tenant"
)

// What an instance answers is told, also where it does not; what is a client's own fault
// is not.
func TestAnsweredIsTold(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/bad":
			w.WriteHeader(http.StatusInternalServerError)
		case "/gone":
			panic(http.ErrAbortHandler)
		}
	}))
	defer app.Close()
	var mu sync.Mutex
	var got []int
	b := &backend{address: app.Listener.Addr().String()}
	p := New(Options{
		Domain: "test", Waker: b, Log: slog.New(slog.DiscardHandler),
		Answered: func(id tenant.ID, status int) {
			if id != (tenant.ID{Service: "app", Name: "a"}) {
				t.Errorf("got %s", id)
			}
			mu.Lock()
			defer mu.Unlock()
			got = append(got, status)
		},
	})
	front := httptest.NewServer(p)
	defer front.Close()
	defer p.Rest(tenant.ID{Service: "app", Name: "a"})
	for _, path := range []string{"/", "/bad", "/gone"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.URL+path, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "a.app.test"
		resp, err := front.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	b.err = &tenant.Error{Code: tenant.CodeUnavailable, Msg: "not now"} // nobody has answered
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "a.app.test"
	resp, err := front.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	mu.Lock()
	defer mu.Unlock()
	if want := []int{200, 500, 502}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
