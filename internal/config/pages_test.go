package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tenement.dev/templates"
)

func TestErrorPages(t *testing.T) {
	dir := world(t)
	pages := filepath.Join(dir, "pages")
	if err := os.Mkdir(pages, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(pages, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const text = "[service.web]\ncommand = \"/bin/true\"\nerror_pages = \"pages\"\n"
	write("404.html", "ours {{.Status}}")
	c := must(t, dir, text)
	html, own, err := templates.Page{Status: 404}.Render(c.Services["web"].Pages)
	if err != nil || !own || string(html) != "ours 404" || c.Services["web"].ErrorPages != pages {
		t.Errorf("got %q, %t, %v", html, own, err)
	}
	// Faults are told with the page's file and line, beside those of tenement.toml.
	write("502.html", "a\n{{.Nothing}}")
	_, err = parseIn(dir, text+"colour = 1\n")
	var faults Faults
	if !errors.As(err, &faults) || len(faults) != 2 {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{filepath.Join(pages, "502.html") + ":2: ", "4: service.web.colour: unknown key"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	if _, err := parseIn(dir, strings.Replace(text, "pages\"", "nowhere\"", 1)); err == nil || !strings.Contains(err.Error(), "3: service.web.error_pages: the directory "+dir+"/nowhere cannot be read") {
		t.Errorf("got %v", err)
	}
}
