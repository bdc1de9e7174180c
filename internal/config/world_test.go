package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// world makes a directory for a tenement.toml with a few programs:
//
//	bin/python3  bin/app   programs in the search path
//	bin/data               a file there that is not executable
//	run                    a program beside the file
//	app/                   a directory with another run
func world(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, mode := range map[string]os.FileMode{
		"bin/python3": 0o755, "bin/app": 0o755, "bin/data": 0o644, "run": 0o755, "app/run": 0o755,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// parseIn parses text as the tenement.toml in dir, with dir/bin as the search path.
func parseIn(dir, text string) (*Config, error) {
	return parse("tenement.toml", []byte(text), dir, filepath.Join(dir, "bin"), nil)
}

// must parses text, which has to be right.
func must(t *testing.T, dir, text string) *Config {
	t.Helper()
	c, err := parseIn(dir, text)
	if err != nil {
		t.Fatalf("parse %s\n%v", text, err)
	}
	return c
}

// neutral replaces dir in s.
func neutral(s, dir string) string { return strings.ReplaceAll(s, dir, "DIR") }
