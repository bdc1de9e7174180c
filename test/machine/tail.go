package machine

import (
	"bytes"
	"io"
	"sync"
)

// tail is a writer that keeps the last max bytes and passes everything on to next, where there is one. Where it has an alarm it
// closes heard when that word is among them.
type tail struct {
	max   int
	next  io.Writer
	alarm string
	heard chan struct{}

	mu  sync.Mutex // guards what follows
	buf []byte
	was bool // it was heard
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	if t.alarm != "" && !t.was && bytes.Contains(t.buf, []byte(t.alarm)) {
		t.was = true
		close(t.heard)
	}
	if t.next != nil {
		return t.next.Write(p)
	}
	return len(p), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
