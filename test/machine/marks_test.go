package machine

import (
	"bytes"
	"testing"
)

// TestMarks cuts a machine's output into pieces of every size.
func TestMarks(t *testing.T) {
	mark := "\x1fsecret"
	said := "boot\n" + mark + " up\nhello \x1f\x1fsecre\nno newline" + mark + " 3\n"
	want := "boot\nhello \x1f\x1fsecre\nno newline"
	for size := 1; size <= len(said); size++ {
		var got bytes.Buffer
		m := newMarks(&got, "secret")
		for rest := []byte(said); len(rest) > 0; {
			n := min(size, len(rest))
			if wrote, err := m.Write(rest[:n]); wrote != n || err != nil {
				t.Fatalf("in pieces of %d: wrote %d, %v", size, wrote, err)
			}
			rest = rest[n:]
		}
		if got.String() != want {
			t.Errorf("in pieces of %d: got %q, want %q", size, &got, want)
		}
		if len(m.words) != 2 || <-m.words != "up" || <-m.words != "3" {
			t.Errorf("in pieces of %d: the words are not up and 3", size)
		}
	}
}

func TestQuote(t *testing.T) {
	if got, want := quote(`it's`), `'it'\''s'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
