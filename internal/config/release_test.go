package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
)

// released is a service whose program and directory are those of its release.
const released = `
[service.notes]
command = "app/run --version {release}"
workdir = "releases/{release}"
release = "v1"
isolation = "process"
[service.notes.env]
VERSION = "{release}-{id}"
`

func TestReleaseIsFilledIn(t *testing.T) {
	dir := world(t)
	writeProgram(t, dir, "releases/v1/app/run")
	writeProgram(t, dir, "releases/v2/app/run")
	c := must(t, dir, released)
	at := place
	prints := map[string]bool{}
	for _, release := range []string{"v1", "v2"} {
		at.Release = release
		spec, err := c.Spec(alice, at)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{dir + "/releases/" + release + "/app/run", "--version", release}; !slices.Equal(spec.Argv, want) {
			t.Errorf("argv: got %q, want %q", spec.Argv, want)
		}
		if want := dir + "/releases/" + release; spec.WorkDir != want {
			t.Errorf("workdir: got %s, want %s", spec.WorkDir, want)
		}
		if want := "VERSION=" + release + "-alice"; !slices.Contains(spec.Env, want) {
			t.Errorf("env: got %q, want %s in it", spec.Env, want)
		}
		prints[spec.Fingerprint()] = true
	}
	if len(prints) != 2 {
		t.Errorf("two releases have the same fingerprint")
	}
}

func TestReleaseThatCannotBe(t *testing.T) {
	dir := world(t)
	writeProgram(t, dir, "releases/v1/app/run")
	c := must(t, dir, released+"[service.far]\ncommand = \"app\"\nworkdir = \"releases/{release}\"\nrelease = \"v1\"\nisolation = \"process\"\n[service.plain]\ncommand = \"app/run\"\nisolation = \"process\"\n")
	for _, test := range []struct {
		id            tenant.ID
		release, want string
	}{
		{alice, "v1", ""},
		{alice, "v2", "command not found"},
		{tenant.ID{Service: "far", Name: "a"}, "v1", ""},
		{tenant.ID{Service: "far", Name: "a"}, "v2", "release v2 has no directory " + dir + "/releases/v2"},
		{alice, "", "not the name of a release"},
		{alice, "../v1", "not the name of a release"},
		{tenant.ID{Service: "plain", Name: "a"}, "v2", "has no releases"},
		{tenant.ID{Service: "nobody", Name: "a"}, "v2", "there is no service"},
	} {
		at := place
		at.Release = test.release
		err := c.CheckRelease(test.id, at)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s with release %q: got %v, want %q", test.id, test.release, err, test.want)
		}
	}
}

// writeProgram puts a program below dir.
func writeProgram(t *testing.T, dir, name string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}
