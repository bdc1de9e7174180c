package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

//go:embed *.html
var texts embed.FS

//go:embed assets
var assets embed.FS

// names are the pages.
var names = []string{"signin", "list", "instance", "services", "rollouts", "events", "tokens", "failure"}

// parsed has each page with the layout.
var parsed = sync.OnceValue(func() map[string]*template.Template {
	all := make(map[string]*template.Template, len(names))
	for _, name := range names {
		all[name] = template.Must(template.New(name).Funcs(functions).ParseFS(texts, "layout.html", name+".html"))
	}
	return all
})

// Render makes a page ("page"), or one part of it.
func Render(name, part string, data any) ([]byte, error) {
	t, ok := parsed()[name]
	if !ok {
		return nil, fmt.Errorf("make page: there is no %q", name)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, part, data); err != nil {
		return nil, fmt.Errorf("make page %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// File is something that pages load.
type File struct {
	Type string
	// Version changes with what is in it.
	Version string
	Text    []byte
}

// types are the content types; what has none of these endings is not served.
var types = map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}

var files = sync.OnceValue(func() map[string]File {
	all := map[string]File{}
	list, err := assets.ReadDir("assets")
	if err != nil {
		panic(err) // it is in the program
	}
	for _, e := range list {
		kind, ok := types[path.Ext(e.Name())]
		if !ok {
			continue
		}
		text, err := assets.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(text)
		all[e.Name()] = File{kind, hex.EncodeToString(sum[:8]), text}
	}
	return all
})

// Asset gives the file of that name.
func Asset(name string) (File, bool) {
	f, ok := files()[name]
	return f, ok
}

// functions are what pages may use.
var functions = template.FuncMap{
	"asset": func(name string) (string, error) {
		f, ok := files()[name]
		if !ok {
			return "", fmt.Errorf("no asset %q", name)
		}
		return "/assets/" + name + "?v=" + f.Version, nil
	},
	"time":   stamp,
	"bytes":  Bytes,
	"ms":     Millis,
	"known":  func(p *int64) int64 { return *p },
	"float":  func(p *float64) float64 { return *p },
	"number": func(p *int) string { return strconv.Itoa(*p) },
	"mib":    func(n int64) string { return strconv.FormatInt(n>>20, 10) },
	"join":   func(list []string) string { return strings.Join(list, ", ") },
	"text":   func(v any) string { return fmt.Sprint(v) },
	"mark":   mark,
	"states": func() []string { return []string{"awake", "dozing", "asleep", "waking", "stopping", "failed"} },
	"fields": fields,
	"order": func(service, order, text, word string) struct{ Service, Order, Text, Word string } {
		return struct{ Service, Order, Text, Word string }{service, order, text, word}
	},
}

// stamp is a moment; a script shows how long ago that is, or how soon.
func stamp(v any) (template.HTML, error) {
	var t time.Time
	switch v := v.(type) {
	case time.Time:
		t = v
	case string:
		var err error
		if t, err = time.Parse(time.RFC3339, v); err != nil {
			return "", err
		}
	}
	if t.IsZero() {
		return `<span class="none">–</span>`, nil
	}
	t = t.UTC()
	// Both are of our own making.
	return template.HTML(`<time datetime="` + t.Format("2006-01-02T15:04:05.000Z") + `">` + t.Format("2006-01-02 15:04:05") + ` UTC</time>`), nil
}

// Bytes is n for people.
func Bytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	v, i := float64(n)/1024, 0
	for v >= 1024 && i < len(units)-1 {
		v /= 1024
		i++
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + units[i:i+1] + "iB"
}

// Millis is a duration in milliseconds for people.
func Millis(ms float64) string {
	d := time.Duration(ms * float64(time.Millisecond))
	switch {
	case d < 10*time.Millisecond:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case d < time.Second:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	s := d.Round(time.Second).String()
	s = strings.TrimSuffix(s, "m0s")
	if len(s) < len(d.Round(time.Second).String()) {
		s += "m"
	}
	s = strings.TrimSuffix(s, "h0m")
	if !strings.HasSuffix(s, "m") && !strings.HasSuffix(s, "s") {
		s += "h"
	}
	return s
}

// bit is a part of a text; Hit is what was searched for.
type bit struct {
	Text string
	Hit  bool
}

// mark splits text at what was searched for, whatever the case of its letters. Texts
// whose length changes with their case are not marked.
func mark(text, search string) []bit {
	lower, want := strings.ToLower(text), strings.ToLower(search)
	if want == "" || len(lower) != len(text) || len(want) != len(search) {
		return []bit{{Text: text}}
	}
	var bits []bit
	for {
		i := strings.Index(lower, want)
		if i < 0 {
			return append(bits, bit{Text: text})
		}
		bits = append(bits, bit{Text: text[:i]}, bit{text[i : i+len(want)], true})
		text, lower = text[i+len(want):], lower[i+len(want):]
	}
}

// field is one thing that an event says beside its kind.
type field struct{ Name, Value string }

// fields sorts what an event says; durations have their unit.
func fields(all map[string]any) []field {
	list := make([]field, 0, len(all))
	for name, v := range all {
		value := fmt.Sprint(v)
		if f, ok := v.(float64); ok {
			value = strconv.FormatFloat(f, 'f', -1, 64)
			if short, ok := strings.CutSuffix(name, "_ms"); ok {
				if f == 0 {
					continue
				}
				name, value = short, Millis(f)
			}
		}
		if value == "" {
			continue
		}
		list = append(list, field{strings.ReplaceAll(name, "_", " "), value})
	}
	slices.SortFunc(list, func(a, b field) int { return strings.Compare(a.Name, b.Name) })
	return list
}
