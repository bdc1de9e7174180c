package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// logQueue is how many lines may wait to be written.
	logQueue = 4096
	// logFlush bounds the wait for them at the end.
	logFlush = time.Second
)

// asyncWriter writes each line on a goroutine of its own: who logs may hold a lock, and
// must not wait for a pipe that nobody reads. Lines beyond the queue are dropped, and
// that is said.
type asyncWriter struct {
	out   io.Writer
	lines chan []byte
	done  chan struct{}

	mu      sync.Mutex // guards what follows
	dropped int
	closed  bool
}

func newAsyncWriter(out io.Writer) *asyncWriter {
	w := &asyncWriter{out: out, lines: make(chan []byte, logQueue), done: make(chan struct{})}
	go w.run()
	return w
}

// Write queues a line. It never waits and never fails.
func (w *asyncWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return len(p), nil
	}
	select {
	case w.lines <- append([]byte(nil), p...):
	default:
		w.dropped++
	}
	return len(p), nil
}

func (w *asyncWriter) run() {
	defer close(w.done)
	for line := range w.lines {
		_, _ = w.out.Write(line) // there is nowhere to tell
		w.mu.Lock()
		dropped := w.dropped
		if len(w.lines) > 0 {
			dropped = 0 // the note comes after what was queued before
		} else {
			w.dropped = 0
		}
		w.mu.Unlock()
		if dropped > 0 {
			_, _ = fmt.Fprintf(w.out, "level=WARN msg=\"log lines dropped, nobody read them\" lines=%d\n", dropped)
		}
	}
}

// Close writes what waits, for a while.
func (w *asyncWriter) Close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.lines)
	}
	w.mu.Unlock()
	select {
	case <-w.done:
	case <-time.After(logFlush):
	}
}
