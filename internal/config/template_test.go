package config

import "testing"

func TestTemplate(t *testing.T) {
	values := map[string]string{"name": "notes", "id": "alice", "data_dir": "/data/notes", "port": "30001", "socket": "/s"}
	for _, test := range []struct{ text, want string }{
		{"", ""},
		{"plain", "plain"},
		{"{name}-{id}:{port}{socket}", "notes-alice:30001/s"},
		{"{data_dir}/{id}", "/data/notes/alice"},
		{"{data_dir}/{name}/{id}", "/data/notes/alice"},
		{"{data_dir}/{name}/{id}:{data_dir}/{name}/{id}/x", "/data/notes/alice:/data/notes/alice/x"},
		{"{data_dir}/{name}", "/data/notes/notes"},
		{"{data_dir}/{name}/x/{id}", "/data/notes/notes/x/alice"},
		{"{data_dir}{{}}/{name}/{id}", "/data/notes{}/notes/alice"},
		// Braces
		{"{{id}}", "{id}"},
		{"{{{id}}}", "{alice}"},
		{"${{HOME}}", "${HOME}"},
		{"{{", "{"},
		{"}}", "}}"},
		{"{}", "{}"},
		{"{", "{"},
		{"{id", "{id"},
		{"{a b}", "{a b}"},
		{"{1}", "{1}"},
		{`{"a":1}`, `{"a":1}`},
		{`{"a":{"b":{}}}`, `{"a":{"b":{}}}`},
		{`{"id":"{id}","p":{port}}`, `{"id":"alice","p":30001}`},
		{`{{"a":{{"b":{port}}}}}`, `{"a":{"b":30001}}`},
		{"{ {id} }", "{ alice }"},
		{"é{id}é", "éaliceé"},
	} {
		parsed, p := parseTemplate(test.text)
		if p != nil {
			t.Errorf("%q: %+v", test.text, p)
			continue
		}
		if got := parsed.fill(values); got != test.want {
			t.Errorf("%q: got %q, want %q", test.text, got, test.want)
		}
	}
}

// TestFillsOnce checks that what is filled in is not looked at again.
func TestFillsOnce(t *testing.T) {
	parsed, p := parseTemplate("{data_dir}/{id}")
	if p != nil {
		t.Fatal(p)
	}
	got := parsed.fill(map[string]string{"data_dir": "/srv/{id}/{{x}}", "id": "{port}", "port": "80"})
	if want := "/srv/{id}/{{x}}/{port}"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestStaysInside(t *testing.T) {
	for text, want := range map[string]bool{
		"x":                                 true,
		"{id}":                              true,
		"{data_dir}/{id}":                   true,
		"{data_dir}/{name}/{id}":            true,
		"{data_dir}/{id}/notes.db":          true,
		"file:{data_dir}/{id}/a?mode=rw":    true,
		"{data_dir}/{id}:{data_dir}/{id}/b": true,
		"{data_dir}":                        false,
		"{data_dir}/":                       false,
		"{data_dir}/{name}":                 false,
		"{data_dir}/alice":                  false,
		"{data_dir}{id}":                    false,
		"{data_dir}/x/{id}":                 false,
		"{data_dir}/../{id}":                false,
		"{data_dir}/{id}.db":                false,
		"{data_dir}/{id}-x":                 false,
		"{data_dir}/{id}{port}":             false,
		"{data_dir}/{id}é":                  false,
		"{data_dir}/{id}/..":                false,
		"{data_dir}/{id}/../bob":            false,
		"{data_dir}/{id}:{data_dir}":        false,
	} {
		parsed, p := parseTemplate(text)
		if p != nil {
			t.Errorf("%q: %+v", text, p)
		} else if got := parsed.staysInside(); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"health", "isolation", "idle_timeout", "doze_timeout", "env"}
	for name, want := range map[string]string{
		"helth": "health", "HEALTH": "health", "haelth": "health", "heath": "health", "isolaton": "isolation",
		"timeout_idle": "", "idletimeout": "idle_timeout", "evn": "env", "environment": "", "x": "", "": "",
		"oze_timeout": "doze_timeout", "\xff\xffv": "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "acb", 1}, {"abc", "bca", 2}, {"kitten", "sitting", 3}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("%q to %q: got %d, want %d", test.a, test.b, got, test.want)
		}
	}
}
