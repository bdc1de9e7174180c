package proxy

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/templates"
)

// People get the service's own page, and only its own.
func TestOwnPages(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "404.html"), []byte("<p>{{.Host}} is not here ({{.RequestID}})"), 0o600); err != nil {
		t.Fatal(err)
	}
	pages, faults, err := templates.ReadPages(dir)
	if err != nil || len(faults) > 0 {
		t.Fatal(faults, err)
	}
	b := &backend{err: &tenant.Error{Code: tenant.CodeNotFound, ID: tenant.ID{Service: "app", Name: "a"}}}
	p := New(Options{Domain: "test", Waker: b, Log: slog.New(slog.DiscardHandler), Pages: func(service string) *templates.Pages {
		if service == "app" {
			return pages
		}
		return nil
	}})
	get := func(host, accept string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "http://"+host+"/", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		return w
	}
	w := get("a.app.test", "text/html")
	if want := "<p>a.app.test is not here (" + w.Header().Get(requestIDHeader) + ")"; w.Code != 404 || w.Body.String() != want || w.Header().Get("Content-Security-Policy") != "" {
		t.Errorf("got %d %s, want %s", w.Code, w.Body, want)
	}
	if w := get("a.app.test", "*/*"); strings.Contains(w.Body.String(), "is not here") {
		t.Errorf("a program gets %s", w.Body)
	}
	b.err = &tenant.Error{Code: tenant.CodeFailed, ID: tenant.ID{Service: "app", Name: "a"}}
	if w := get("a.app.test", "text/html"); w.Code != 503 || strings.Contains(w.Body.String(), "is not here") || w.Header().Get("Content-Security-Policy") == "" {
		t.Errorf("another status: got %d %s", w.Code, w.Body)
	}
	b.err = &tenant.Error{Code: tenant.CodeNotFound, ID: tenant.ID{Service: "other", Name: "a"}}
	if w := get("a.other.test", "text/html"); strings.Contains(w.Body.String(), "is not here") {
		t.Errorf("another service: got %s", w.Body)
	}
}
