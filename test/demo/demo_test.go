package main

import (
	"os"
	"strings"
	"testing"

	"tenement.dev/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestStory tells the demo's story as `make demo` does without a terminal.
func TestStory(t *testing.T) {
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	s := &story{repo: repo, port: 8080, out: &out}
	if err := s.tell(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"notes:alice", "dozing", "asleep", "inactive (dead)", "app.py, until it accepts", "all of it is true"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the story does not show %q:\n%s", want, &out)
		}
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("%s is left behind", s.dir)
	}
}
