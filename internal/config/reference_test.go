package config

import (
	stdflag "flag"
	"maps"
	"os"
	"slices"
	"testing"
)

var write = stdflag.Bool("write", false, "write docs/configuration.md")

// The reference has every key, and docs/configuration.md is the reference.
func TestReference(t *testing.T) {
	for table, c := range map[string]struct {
		keys []string
		of   map[string]about
	}{
		"settings":     {names(settingsKeys), aboutSettings},
		"settings.tls": {names(tlsKeys), aboutTLS},
		"service.NAME": {names(serviceKeys), aboutService},
	} {
		for _, name := range c.keys {
			if c.of[name].kind == "" || c.of[name].effect == "" {
				t.Errorf("[%s] %s: reference.go says nothing about it", table, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(c.of)) {
			if !slices.Contains(c.keys, name) {
				t.Errorf("[%s] %s: reference.go is about a key that there is not", table, name)
			}
		}
	}
	const path = "../../docs/configuration.md"
	want := Reference()
	if *write {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("docs/configuration.md is not what the schema says: run `make docs`")
	}
}

// Every default that the reference does not put in words is the schema's.
func TestSettingTOML(t *testing.T) {
	for want, s := range map[string]Setting{
		`a = "b\"c"`:     {Key: "a", Value: `b"c`},
		`a = 5`:          {Key: "a", Value: int64(5)},
		`a = ["x", "y"]`: {Key: "a", Value: []any{"x", "y"}},
	} {
		if got := s.TOML(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
