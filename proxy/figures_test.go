package proxy

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

// The guide has the bounds that clients meet, which other tests shorten: these are the ones that a server has which nobody has
// touched.
func TestGuideHasTheBounds(t *testing.T) {
	text, err := os.ReadFile("../docs/lifecycle.md")
	if err != nil {
		t.Fatal(err)
	}
	guide := strings.Join(strings.Fields(string(text)), " ")
	p := New(Options{Domain: "test", Waker: &backend{}, Log: slog.New(slog.DiscardHandler)})
	s := NewServer(p, p, slog.New(slog.DiscardHandler))
	for _, want := range []string{
		fmt.Sprintf("A client has %d seconds for a request's head.", s.http.ReadHeaderTimeout/time.Second),
		map[time.Duration]string{time.Minute: "a minute of silence before the answer begins is answered with 408"}[s.bodySilence],
		map[time.Duration]string{5 * time.Minute: "a client that takes nothing of it for five minutes while the app has more loses its connection"}[p.stall],
		map[int]string{2: "is made again, twice at most"}[maxRepeats],
	} {
		if want == "" || !strings.Contains(guide, want) {
			t.Errorf("the guide does not have %q", want)
		}
	}
}
