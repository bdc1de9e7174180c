package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSectionsAreReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "PERFORMANCE.md")
	write := func(printed string) {
		t.Helper()
		if err := run(strings.NewReader(printed), io.Discard, path); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(strings.NewReader("FAIL\n"), io.Discard, path); err == nil {
		t.Error("no section: got no error")
	}
	if err := run(strings.NewReader("<!-- begin a -->\nhalf\n"), io.Discard, path); err == nil {
		t.Error("half a section: got no error")
	}
	if err := os.WriteFile(path, []byte("# Title\n\nBy hand.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	write("=== RUN\n<!-- begin a -->\nfirst\n<!-- end a -->\nok\n")
	write("<!-- begin b -->\nother\n<!-- end b -->\n")
	write("<!-- begin a -->\nsecond\n<!-- end a -->\n")
	write("<!-- begin images/c.svg -->\n<svg/>\n<!-- end images/c.svg -->\n")
	if got, err := os.ReadFile(filepath.Join(filepath.Dir(path), "images/c.svg")); err != nil || string(got) != "<svg/>\n" {
		t.Errorf("the picture: got %s, %v", got, err)
	}
	if err := run(strings.NewReader("<!-- begin ../d.svg -->\n<!-- end ../d.svg -->\n"), io.Discard, path); err == nil {
		t.Error("a file elsewhere: got no error")
	}
	got, err := os.ReadFile(path)
	want := "# Title\n\nBy hand.\n\n<!-- begin a -->\nsecond\n<!-- end a -->\n\n<!-- begin b -->\nother\n<!-- end b -->\n"
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}
