package proxy

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

func TestPaused(t *testing.T) {
	const message = `Back at <b>noon</b> & "soon"`
	address, _ := serve(t, &backend{err: &tenant.Error{
		Code: tenant.CodePaused, Msg: "secret", Hint: "unpause it", Public: message, RetryAfter: 90*time.Second + time.Millisecond,
	}}, nil)
	far := []string{"X-Forwarded-For", "9.9.9.9"} // a client elsewhere
	check := func(resp *http.Response, err error) {
		t.Helper()
		if err != nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "91" || resp.Header.Get("Cache-Control") != "no-store" ||
			resp.Header.Get("Tenement-Error") != "paused" {
			t.Fatalf("got %v, %v", resp, err)
		}
	}
	resp, body, err := get(t, address, http.MethodGet, far...)
	check(resp, err)
	var answer struct {
		Error struct {
			Status        int
			Code, Message string
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("a program gets %q (%s): %v", body, resp.Header.Get("Content-Type"), err)
	}
	if got := answer.Error; got.Status != 503 || got.Code != "paused" || got.Message != message {
		t.Errorf("a program gets %+v", got)
	}
	resp, body, err = get(t, address, http.MethodGet, append(far, "Accept", "text/html")...)
	check(resp, err)
	if !strings.Contains(body, "Back at &lt;b&gt;noon&lt;/b&gt; &amp;") || strings.Contains(body, "<b>") || strings.Contains(body, "secret") {
		t.Errorf("a person gets %s", body)
	}
	resp, body, err = get(t, address, http.MethodHead, far...)
	check(resp, err)
	if body != "" {
		t.Errorf("HEAD gets the body %q", body)
	}
}

func TestErrorAsJSON(t *testing.T) {
	address, _ := serve(t, &backend{err: &tenant.Error{Code: tenant.CodeFailed, Msg: "it has failed", Hint: "do that"}}, nil)
	for accept, want := range map[string]bool{
		"application/json": true, "text/plain, Application/JSON;q=0.9": true, "application/problem+json": true,
		"": false, "*/*": false, "text/json-seq": false,
	} {
		resp, body, err := get(t, address, http.MethodGet, "Accept", accept)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Content-Type") == "application/json" && json.Valid([]byte(body)); got != want {
			t.Errorf("%q: got JSON %t, want %t: %s", accept, got, want, body)
		}
		if !strings.Contains(body, "it has failed") {
			t.Errorf("%q: a client on this machine is not told: %s", accept, body)
		}
		if _, body, _ := get(t, address, http.MethodGet, "Accept", accept, "X-Forwarded-For", "9.9.9.9"); strings.Contains(body, "it has failed") {
			t.Errorf("%q: a client elsewhere is told %s", accept, body)
		}
	}
}
