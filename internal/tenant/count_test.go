package tenant

import "testing"

func TestCount(t *testing.T) {
	for n, want := range []string{"0 boxes", "1 box", "2 boxes"} {
		if got := Count(n, "box", "boxes"); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
