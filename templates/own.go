package templates

import (
	"errors"
	"fmt"
	"html/template"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxPage bounds one file of a page, in bytes, and maxPages how many there may be.
	maxPage  = 256 << 10
	maxPages = 50
)

// ownNames are the pages that a service may have; partials, which they share, begin with
// an underscore.
var ownNames = []string{
	"400.html", "404.html", "429.html", "500.html", "502.html", "503.html", "504.html", "508.html",
	"error.html", "paused.html", "waiting.html",
}

// Pages are a service's own pages. Nil has none.
type Pages struct {
	byName map[string]*template.Template
}

func (p *Pages) find(names []string) *template.Template {
	if p == nil {
		return nil
	}
	for _, name := range names {
		if t := p.byName[name]; t != nil {
			return t
		}
	}
	return nil
}

// PageFault is one thing that is wrong with a page.
type PageFault struct {
	File string
	Line int // from 1
	Msg  string
}

// ReadPages reads the pages in a directory: html/template files that are given a Page.
// Each is made once, so that what it asks for is there. The error is of the directory.
func ReadPages(dir string) (*Pages, []PageFault, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	var faults []PageFault
	fault := func(file string, line int, msg string) {
		faults = append(faults, PageFault{filepath.Join(dir, file), line, msg})
	}
	texts := map[string]string{}
	for _, e := range entries {
		name := e.Name()
		switch {
		case !strings.HasSuffix(name, ".html") || strings.HasPrefix(name, "."):
			continue // what an editor leaves, or a note
		case !strings.HasPrefix(name, "_") && !slices.Contains(ownNames, name):
			fault(name, 1, "there is no such page; known: "+strings.Join(ownNames, ", ")+", and partials that begin with _")
			continue
		case len(texts) == maxPages:
			fault(name, 1, fmt.Sprintf("more than %d files", maxPages))
			return nil, faults, nil
		}
		text, err := readPage(filepath.Join(dir, name))
		if err != nil {
			fault(name, 1, err.Error())
			continue
		}
		texts[name] = text
	}
	pages := &Pages{byName: map[string]*template.Template{}}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if strings.HasPrefix(name, "_") {
			continue
		}
		t, err := parsePage(name, texts)
		if err != nil {
			file, line, msg := placeOf(name, err)
			if f := (PageFault{filepath.Join(dir, file), line, msg}); !slices.Contains(faults, f) { // a partial's is in many pages
				faults = append(faults, f)
			}
			continue
		}
		pages.byName[name] = t
	}
	if len(faults) > 0 {
		return nil, faults, nil
	}
	return pages, nil, nil
}

// samples are what each page is made for once: with everything, and with nothing.
var samples = []Page{{}, {
	Status: 503, Code: "x", Title: "x", Text: "x", Message: "x", Detail: "x", Hint: "x", RequestID: "x", Host: "x", RetryAfter: 1,
	Waiting: true, Nonce: "x", Progress: "/x",
}}

// parsePage parses a page with the partials, and makes it.
func parsePage(name string, texts map[string]string) (*template.Template, error) {
	t := template.New(name)
	for _, partial := range slices.Sorted(maps.Keys(texts)) {
		if strings.HasPrefix(partial, "_") {
			if _, err := t.New(partial).Parse(texts[partial]); err != nil {
				return nil, err
			}
		}
	}
	if _, err := t.Parse(texts[name]); err != nil {
		return nil, err
	}
	for _, sample := range samples {
		if err := t.Execute(io.Discard, sample); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// place is how errors of templates begin: the file, the line and maybe the column.
var place = regexp.MustCompile(`(?s)^(?:html/)?template: ?([^:]+):(\d+)(?::\d+)?: (.*)$`)

// placeOf takes an error of the template name apart.
func placeOf(name string, err error) (file string, line int, msg string) {
	parts := place.FindStringSubmatch(err.Error())
	if parts == nil {
		return name, 1, err.Error()
	}
	line, _ = strconv.Atoi(parts[2])
	return parts[1], max(1, line), strings.ReplaceAll(parts[3], "\n", " ")
}

func readPage(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPage+1))
	if err == nil && len(text) > maxPage {
		err = fmt.Errorf("larger than %d KiB", maxPage>>10)
	}
	return string(text), err
}
