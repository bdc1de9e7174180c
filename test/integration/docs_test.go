package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tenement.dev/internal/config"
	"tenement.dev/test/harness"
)

// guides are the pages of docs/ in the order in which they are read, and run.
var guides = []string{
	"quick-start.md", "concepts.md", "configuration.md", "lifecycle.md", "isolation.md", "security.md", "secrets.md", "frameworks.md",
	"deploying.md", "tls.md", "pages.md", "logs-and-metrics.md", "dashboard.md", "api.md", "backup.md", "troubleshooting.md",
}

// notRun says which blocks cannot run on the test machine, by page and first line, and why.
var notRun = map[string]string{
	"tls.md ten serve --domain example.com --port 80 --https-port 443":            "needs a domain and an authority",
	"backup.md ten pause notes:alice --message 'back in a minute'":                "needs another server",
	"api.md export TENEMENT_SERVER=https://example.com TENEMENT_TOKEN_FILE=token": "needs a domain",
}

// addRelease has the quick start's service have releases and a host name of its own, as the
// guide on deploying says.
func addRelease(t *testing.T, s *harness.Server) {
	t.Helper()
	path := filepath.Join(s.Dir, "tenement.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "\ncommand = ", "\nrelease = \"v1\"\ncommand = ", 1)
	changed = strings.Replace(changed, "\nDATA_DIR = ", "\nRELEASE = \"{release}\"\nDATA_DIR = ", 1)
	changed = strings.Replace(changed, "\nservice_host = false", "\nservice_host = true ", 1)
	s.WriteFile("tenement.toml", changed)
}

// Each command of the guides does what it is there for, one after the other, in one
// directory and with one daemon.
func TestDocs(t *testing.T) {
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(repo, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pages {
		// test/packaging follows production.md, on a machine of its own.
		if page := filepath.Base(path); page != "README.md" && page != "PERFORMANCE.md" && page != "production.md" && !slices.Contains(guides, page) {
			t.Errorf("docs/%s is no guide that this test runs", page)
		}
	}
	s := harness.New(t, harness.Options{})
	if err := os.Remove(filepath.Join(s.Dir, "tenement.toml")); err != nil {
		t.Fatal(err) // `ten init` writes it
	}
	s.Port = 8080
	seen := map[string]bool{}
	for _, page := range guides {
		if page == "deploying.md" {
			addRelease(t, s)
		}
		blocks, err := harness.Blocks(filepath.Join(repo, "docs", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			if b.Language != "sh" {
				continue
			}
			switch b.Kind {
			case "serve":
				if want := "ten serve --port 8080 --domain localhost"; b.Text != want {
					t.Fatalf("%s: got %q, want %q", page, b.Text, want)
				}
				s.Run()
			case "not-run":
				seen[b.Name()] = true
				if notRun[b.Name()] == "" {
					t.Errorf("%s: is not run, and notRun does not say why", b.Name())
				}
			case "":
				if out, err := s.Command("/bin/sh", "-e", "-c", b.Text).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s\n%s", page, err, b.Text, out)
				}
			default:
				t.Errorf("%s: nobody knows what %q is", b.Name(), b.Kind)
			}
		}
	}
	for name := range notRun {
		if !seen[name] {
			t.Errorf("notRun has %q, which is in no guide", name)
		}
	}
}

// What the guide on frameworks would have written is right, but for programs that are not on this machine.
func TestFrameworks(t *testing.T) {
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	blocks, err := harness.Blocks(filepath.Join(repo, "docs", "frameworks.md"))
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, b := range blocks {
		if b.Language != "toml" {
			continue
		}
		read++
		path := filepath.Join(t.TempDir(), "tenement.toml")
		if err := os.WriteFile(path, []byte(b.Text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := config.Load(path)
		var faults config.Faults
		if err != nil && !errors.As(err, &faults) {
			t.Fatal(err)
		}
		for _, f := range faults {
			if !strings.HasPrefix(f.Msg, "command not found: ") {
				t.Errorf("%s: %s", b.Name(), f)
			}
		}
	}
	if read < 4 {
		t.Errorf("got %d blocks with a configuration, want those of Python, Node, and the others", read)
	}
}

// What the API's guide lists is what the OpenAPI document has.
func TestDocsHaveTheRoutes(t *testing.T) {
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(repo, "internal/api/openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	var want []string
	for path, methods := range document.Paths {
		for method, raw := range methods {
			var operation struct{ Summary string }
			if json.Unmarshal(raw, &operation) == nil && operation.Summary != "" {
				want = append(want, fmt.Sprintf("| `%s %s` | %s |", strings.ToUpper(method), path, operation.Summary))
			}
		}
	}
	page, err := os.ReadFile(filepath.Join(repo, "docs/api.md"))
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile("(?m)^\\| `[A-Z]+ /.*$").FindAllString(string(page), -1)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("docs/api.md has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Links lead to files of the repository that are there, and to headings that they have.
func TestLinks(t *testing.T) {
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*.md", "examples/*/README.md"} {
		found, err := filepath.Glob(filepath.Join(repo, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	link := regexp.MustCompile(`\]\(([^)#:]*)(#[^)]*)?\)`)
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	punctuation := regexp.MustCompile("[^a-z0-9 -]")
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			path := page
			if m[1] != "" {
				path = filepath.Join(filepath.Dir(page), m[1])
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[0])
				continue
			}
			if m[2] == "" {
				continue
			}
			target, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var anchors []string
			for _, h := range heading.FindAllStringSubmatch(string(target), -1) {
				anchor := punctuation.ReplaceAllString(strings.ToLower(h[1]), "")
				anchors = append(anchors, "#"+strings.ReplaceAll(anchor, " ", "-"))
			}
			if !slices.Contains(anchors, m[2]) {
				t.Errorf("%s: %s leads to no heading", page, m[0])
			}
		}
	}
}
