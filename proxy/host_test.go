package proxy

import (
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
)

func TestParseHost(t *testing.T) {
	alice := tenant.ID{Service: "notes", Name: "alice"}
	for _, test := range []struct {
		host string
		id   tenant.ID
		kind Kind
	}{
		{"alice.notes.example.com", alice, Instance},
		{"ALICE.Notes.Example.COM.", alice, Instance},
		{"alice.notes.example.com:8080", alice, Instance},
		{"alice.notes.example.com.:8080", alice, Instance},
		{"notes.example.com", tenant.ID{Service: "notes"}, Service},
		{"example.com", tenant.ID{}, Root},
		{"example.com:80", tenant.ID{}, Root},
		{"", tenant.ID{}, Foreign},
		{".", tenant.ID{}, Foreign},
		{"com", tenant.ID{}, Foreign},
		{"alice.notes.example.org", tenant.ID{}, Foreign},
		{"xexample.com", tenant.ID{}, Foreign},
		{"alice.notes.example.com:80x", tenant.ID{}, Foreign},
		{"[::1]:80", tenant.ID{}, Foreign},
		{"127.0.0.1", tenant.ID{}, Foreign},
		{".example.com", tenant.ID{}, Malformed},
		{"..example.com", tenant.ID{}, Malformed},
		{"a.b.c.example.com", tenant.ID{}, Malformed},
		{"-a.notes.example.com", tenant.ID{}, Malformed},
		{"a_b.notes.example.com", tenant.ID{}, Malformed},
		{strings.Repeat("a", 64) + ".notes.example.com", tenant.ID{}, Malformed},
		{"alice/../bob.notes.example.com", tenant.ID{}, Malformed},
		{"älice.notes.example.com", tenant.ID{}, Malformed},
	} {
		id, kind := ParseHost(test.host, "example.com")
		if id != test.id || kind != test.kind {
			t.Errorf("ParseHost(%q): got %v %d, want %v %d", test.host, id, kind, test.id, test.kind)
		}
	}
}

func TestParseHostOfSeveralDomains(t *testing.T) {
	alice := tenant.ID{Service: "notes", Name: "alice"}
	for _, domains := range [][]string{{"example.com", "two.example", "app.example.com", "m"}, {"m", "app.example.com", "two.example", "example.com"}} {
		for _, test := range []struct {
			host string
			id   tenant.ID
			kind Kind
		}{
			{"alice.notes.example.com", alice, Instance},
			{"alice.notes.TWO.example.:80", alice, Instance},
			{"alice.notes.app.example.com", alice, Instance}, // the longer domain counts
			{"app.example.com", tenant.ID{}, Root},
			{"alice.app.example.com", tenant.ID{Service: "alice"}, Service},
			{"alice.notes.m", alice, Instance},
			{"two.example", tenant.ID{}, Root},
			{"alice.notes.xtwo.example", tenant.ID{}, Foreign},
			{"notes.example", tenant.ID{}, Foreign},
			{"a.b.c.two.example", tenant.ID{}, Malformed},
		} {
			if id, kind := ParseHost(test.host, domains...); id != test.id || kind != test.kind {
				t.Errorf("ParseHost(%q, %q): got %v %d, want %v %d", test.host, domains, id, kind, test.id, test.kind)
			}
		}
	}
}

// FuzzParseHost: whatever the host, an instance has names that are labels, and its
// host name leads to it again.
func FuzzParseHost(f *testing.F) {
	f.Add("alice.notes.example.com:8080")
	f.Add("A.B.example.com.")
	f.Fuzz(func(t *testing.T, host string) {
		id, kind := ParseHost(host, "example.com")
		switch kind {
		case Instance:
			if !tenant.IsLabel(id.Name) || !tenant.IsLabel(id.Service) {
				t.Fatalf("ParseHost(%q): got %v, whose names are no labels", host, id)
			}
			again, kind := ParseHost(id.Name+"."+id.Service+".example.com", "example.com")
			if again != id || kind != Instance {
				t.Fatalf("ParseHost(%q): got %v, which is then %v %d", host, id, again, kind)
			}
		case Service:
			if !tenant.IsLabel(id.Service) || id.Name != "" {
				t.Fatalf("ParseHost(%q): got service %v", host, id)
			}
		default:
			if !id.IsZero() {
				t.Fatalf("ParseHost(%q): got %v with kind %d", host, id, kind)
			}
		}
	})
}
