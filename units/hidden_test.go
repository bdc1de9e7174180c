package units

import (
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
)

// A program that the sandbox hides is an error before anything starts.
func TestHiddenProgram(t *testing.T) {
	for _, c := range []struct {
		program string
		change  func(*tenant.Spec)
		hidden  bool
	}{
		{"/usr/bin/app", nil, false},
		{"/opt/app", nil, false},
		{"/homes/app", nil, false},
		{"/root/bin/app", nil, true},
		{"/home/dev/app", nil, true},
		{"/run/user/1000/app", nil, true},
		{"/tmp/app", nil, true},
		{"/var/tmp/app", nil, true},
		{"/var/lib/tenement/data/my-notes/bob/app", nil, true},
		{"/var/lib/tenement/data/my-notes/alice/app", nil, false},
		{"/home/dev/app", func(s *tenant.Spec) { s.WorkDir = "/home/dev" }, false},
		{"/home/dev/app", func(s *tenant.Spec) { s.WorkDir = "/home/dev/notes" }, true},
		{"/home/dev/app", func(s *tenant.Spec) { s.WorkDir = "/" }, true},
		{"/home/dev/bin/app", func(s *tenant.Spec) { s.BindReadOnlyPaths = []string{"/srv", "/home/dev/bin"} }, false},
		{"/home/dev/bin/app", func(s *tenant.Spec) { s.BindReadOnlyPaths = []string{"/home/dev/bin/app"} }, false},
		{"/home/dev/binary", func(s *tenant.Spec) { s.BindReadOnlyPaths = []string{"/home/dev/bin"} }, true},
		{"/home/dev/app", func(s *tenant.Spec) { s.Isolation = tenant.IsolationProcess }, false},
	} {
		s := spec(server)
		s.Argv = []string{c.program}
		if c.change != nil {
			c.change(&s)
		}
		_, _, err := server.Render(s, "ten-7")
		if got := err != nil; got != c.hidden {
			t.Errorf("%s with %q and %q: got %v, want hidden %t", c.program, s.WorkDir, s.BindReadOnlyPaths, err, c.hidden)
		}
		if err != nil && (tenant.CodeOf(err) != tenant.CodeUnsupported || !strings.Contains(err.Error(), c.program)) {
			t.Errorf("%s: got %v, want %s that names it", c.program, err, tenant.CodeUnsupported)
		}
	}
}
