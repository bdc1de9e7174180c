package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
)

// What is wrong with the registry's file is logged once, and is what doctor says.
func TestRegistryFile(t *testing.T) {
	var out bytes.Buffer
	var restored bool
	var fault error
	f := &registryFile{check: func(context.Context) (bool, error) { return restored, fault }, path: "/data/registry.db",
		log: slog.New(slog.NewTextHandler(&out, nil))}
	expect := func(lines int, text string) {
		t.Helper()
		if got := out.String(); strings.Count(got, "\n") != lines || !strings.Contains(got, text) {
			t.Errorf("got %q, want %d lines with %q", got, lines, text)
		}
		out.Reset()
	}
	if c, ok := f.doctor(t.Context()); ok {
		t.Errorf("got %+v, want nothing to tell", c)
	}
	expect(0, "")
	restored = true
	if c, ok := f.doctor(t.Context()); ok {
		t.Errorf("after it was put back: got %+v", c)
	}
	expect(1, "level=WARN")
	restored, fault = false, &tenant.Error{Msg: "another file", Hint: "move it"}
	for range 3 {
		_ = f.look(t.Context())
	}
	expect(1, `hint="move it"`)
	if c, ok := f.doctor(t.Context()); !ok || c.OK || c.Detail != "another file" || c.Hint != "move it" {
		t.Errorf("got %+v, %v", c, ok)
	}
	fault = errors.New("no room")
	if c, ok := f.doctor(t.Context()); !ok || c.Detail != "no room" || c.Hint == "" {
		t.Errorf("got %+v, %v", c, ok)
	}
	expect(1, "no room")
}
