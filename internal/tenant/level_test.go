package tenant

import "testing"

func TestParseLevel(t *testing.T) {
	for text, want := range map[string]int{
		"emerg": 0, "0": 0, "err": 3, "error": 3, "ERROR": 3, "3": 3, "warn": 4, "warning": 4, "info": 6, "debug": 7, "7": 7,
	} {
		got, err := ParseLevel(text)
		if err != nil || got == AnyLevel || got.Priority() != want || !got.Has(want) || got.Has(want+1) {
			t.Errorf("%q: got %v (priority %d), %v, want priority %d and no more", text, got, got.Priority(), err, want)
		}
		if again, err := ParseLevel(got.String()); again != got || err != nil {
			t.Errorf("%q: got %v, %v for its name %q", text, again, err, got)
		}
	}
	for _, text := range []string{"", "8", "-1", "loud", "33"} {
		if got, err := ParseLevel(text); got != AnyLevel || CodeOf(err) != CodeInvalid {
			t.Errorf("%q: got %v, %v, want an error", text, got, err)
		}
	}
	if AnyLevel.String() != "" || !AnyLevel.Has(7) {
		t.Errorf("no bound: got %q", AnyLevel)
	}
}
