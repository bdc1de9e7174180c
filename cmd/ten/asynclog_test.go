package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestLogOfAnAttentiveReader(t *testing.T) {
	var out strings.Builder
	w := newAsyncWriter(&out)
	for i := range 1000 {
		fmt.Fprintln(w, i)
	}
	w.Close()
	if got := strings.Count(out.String(), "\n"); got != 1000 || !strings.HasSuffix(out.String(), "\n998\n999\n") {
		t.Errorf("got %d lines, want all 1000 in order", got)
	}
}

// Nobody reads standard error: who logs goes on, and the reader who comes back is told
// how much is missing.
func TestLogThatNobodyReads(t *testing.T) {
	in, out := io.Pipe()
	w := newAsyncWriter(out)
	log := slog.New(slog.NewTextHandler(w, nil))
	begun := time.Now()
	const lines = 3 * logQueue
	for i := range lines {
		log.Info("line", "i", i)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("logging took %v", took)
	}
	begun = time.Now()
	w.Close()
	if took := time.Since(begun); took < logFlush || took > 5*logFlush {
		t.Errorf("the end took %v, want it bounded", took)
	}
	go func() {
		<-w.done
		out.Close()
	}()
	text, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Count(string(text), "msg=line")
	if want := fmt.Sprintf("lines=%d\n", lines-got); got < logQueue || !strings.HasSuffix(string(text), want) {
		t.Errorf("got %d lines and at the end %q, want %q", got, text[max(0, len(text)-80):], want)
	}
}
