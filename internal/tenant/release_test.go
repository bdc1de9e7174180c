package tenant

import (
	"strings"
	"testing"
)

func TestCheckRelease(t *testing.T) {
	for _, good := range []string{"v2", "1", "2026-11-22", "v2.1.0-rc.1+build_7", "9f86d081884c7d65", strings.Repeat("a", MaxRelease)} {
		if err := CheckRelease(good); err != nil {
			t.Errorf("%q: got %v, want none", good, err)
		}
	}
	for _, bad := range []string{
		"", ".", "..", "-rf", ".git", "v1/../v2", "a/b", "v1..v2", "a\x00", "a b", "a\n", "$HOME", "{id}", "über", "v1;rm", "+1", "_x",
		strings.Repeat("a", MaxRelease+1),
	} {
		if err := CheckRelease(bad); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: got %v, want it refused", bad, err)
		}
	}
}
