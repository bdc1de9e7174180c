package templates

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func dirOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOwnPages(t *testing.T) {
	dir := dirOf(t, map[string]string{
		"404.html":     `{{template "_head.html" .}}none: {{.Host}} {{.RequestID}}`,
		"error.html":   `{{.Status}} {{.Code}} {{.Title}}: {{.Text}} {{with .Detail}}{{.}}{{end}}`,
		"paused.html":  `{{.Message}} <a href="{{.Host}}">x</a> {{.RetryAfter}}`,
		"waiting.html": `<script nonce="{{.Nonce}}">f({{.Progress}})</script>`,
		"_head.html":   `<h1>{{.Title}}</h1>`,
		"notes.txt":    `{{`,
		".404.html":    `{{`,
	})
	pages, faults, err := ReadPages(dir)
	if err != nil || len(faults) > 0 {
		t.Fatalf("got %v, %v", faults, err)
	}
	for _, test := range []struct {
		page Page
		want string
	}{
		{Page{Status: 404, Title: "<T>", Host: "a.example", RequestID: "r1"}, "<h1>&lt;T&gt;</h1>none: a.example r1"},
		{Page{Status: 502, Code: "bad_gateway", Title: "T", Text: "x & y"}, "502 bad_gateway T: x &amp; y "},
		{Page{Status: 503, Code: "paused", Message: "<b>", Host: "javascript:alert(1)", RetryAfter: 9}, `&lt;b&gt; <a href="#ZgotmplZ">x</a> 9`},
		{Page{Status: 503, Waiting: true, Nonce: "n", Progress: "/p"}, `<script nonce="n">f("/p")</script>`},
	} {
		html, own, err := test.page.Render(pages)
		if err != nil || !own || string(html) != test.want {
			t.Errorf("%+v: got %q, %t, %v, want %q", test.page, html, own, err, test.want)
		}
	}
	// What a service has no page for is ours, and so is everything without pages.
	for _, pages := range []*Pages{nil, {}} {
		for _, page := range []Page{{Status: 404, Title: "Not Found"}, {Status: 503, Waiting: true, Nonce: "n", Progress: "/p"}} {
			if html, own, err := page.Render(pages); err != nil || own || !strings.Contains(string(html), "<!doctype html>") {
				t.Errorf("%+v: got %s, %t, %v", page, html, own, err)
			}
		}
	}
}

func TestBrokenPages(t *testing.T) {
	for _, test := range []struct {
		name, file, text string
		line             int
		want             string
	}{
		{"syntax", "404.html", "a\nb {{if}}\n", 2, "missing value for if"},
		{"field", "404.html", "a\n\n{{.Tenant}}", 3, "can't evaluate field Tenant"},
		{"field where there is a detail", "500.html", "{{with .Detail}}\n{{.Nothing}}{{end}}", 2, "can't evaluate field Nothing"},
		{"function", "503.html", "{{exec 1}}", 1, `function "exec" not defined`},
		{"context", "waiting.html", "<a href='{{if .Host}}'x{{end}}>{{.Host}}", 1, "end in different contexts"},
		{"partial that is not there", "error.html", `{{template "_no.html"}}`, 1, "_no.html"},
		{"name", "403.html", "", 1, "there is no such page; known: 400.html"},
		{"size", "404.html", strings.Repeat("x", maxPage+1), 1, "larger than 256 KiB"},
		{"partial", "_head.html", "\n{{end}}", 2, "unexpected {{end}}"},
	} {
		files := map[string]string{"502.html": "fine", "504.html": "fine", test.file: test.text}
		_, faults, err := ReadPages(dirOf(t, files))
		if err != nil || len(faults) != 1 || filepath.Base(faults[0].File) != test.file || faults[0].Line != test.line || !strings.Contains(faults[0].Msg, test.want) {
			t.Errorf("%s: got %+v, %v, want line %d, %q", test.name, faults, err, test.line, test.want)
		}
	}
	if _, _, err := ReadPages("/nonexistent"); err == nil {
		t.Error("got pages of nothing")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "404.html"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, faults, _ := ReadPages(dir); len(faults) != 1 || faults[0].Msg != "not a regular file" {
		t.Errorf("a directory: got %+v", faults)
	}
}
