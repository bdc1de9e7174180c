package tenant

import "testing"

func TestLookupAccount(t *testing.T) {
	for _, name := range []string{"root", "0"} {
		if got, err := LookupAccount(name); err != nil || got != (Account{"root", 0, 0}) {
			t.Errorf("%s: got %+v, %v, want root", name, got, err)
		}
	}
	for _, name := range []string{"", "nobody-here", "4000000001", "-1"} {
		if got, err := LookupAccount(name); err == nil {
			t.Errorf("%q: got %+v, want an error", name, got)
		}
	}
}
