package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// routes are the app's endpoints. Streams end when ctx does.
func routes(ctx context.Context, dataDir string) http.Handler {
	var count atomic.Int64
	visits := &counter{path: filepath.Join(dataDir, "visits")}

	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "hello from go") })
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]string{"status": "ok"}) })
	// How often it was asked, in memory: a doze keeps it, a new process starts at 1.
	mux.HandleFunc("/count", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]int64{"count": count.Add(1)})
	})
	// How often it was asked, in a file: that stays.
	mux.HandleFunc("/visits", func(w http.ResponseWriter, _ *http.Request) {
		n, err := visits.add()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		answer(w, map[string]int64{"visits": n})
	})
	mux.HandleFunc("/headers", headers)
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/slow", slow)
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) { events(ctx, w, r) })
	mux.HandleFunc("/exit", exit)
	return mux
}

// headers answers with the request's headers, Host among them, each a list of values.
func headers(w http.ResponseWriter, r *http.Request) {
	all := r.Header.Clone()
	all.Set("Host", r.Host) // net/http keeps it apart
	answer(w, all)
}

// echo sends the body back while it arrives.
func echo(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex() // HTTP/1.1 has it
	if kind := r.Header.Get("Content-Type"); kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	if r.ContentLength >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(r.ContentLength, 10))
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return
			}
			_ = control.Flush()
		}
		switch {
		case err == io.EOF:
			return
		case err != nil:
			panic(http.ErrAbortHandler) // half an echo must not look like a whole one
		}
	}
}

// slow answers after ms milliseconds.
func slow(w http.ResponseWriter, r *http.Request) {
	ms, ok := number(w, r, "ms", 1000, 3_600_000)
	if !ok {
		return
	}
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
		answer(w, map[string]int{"slept_ms": ms})
	case <-r.Context().Done():
	}
}

// events sends n server-sent events, one each 200 ms; 0 is without end.
func events(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	n, ok := number(w, r, "n", 5, 1_000_000)
	if !ok {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for i := 1; n == 0 || i <= n; i++ {
		_, _ = fmt.Fprintf(w, "id: %d\ndata: {\"event\": %d}\n\n", i, i)
		if control.Flush() != nil || i == n {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// exit answers, then ends the process with the given code, as a crash would: nothing else is finished.
func exit(w http.ResponseWriter, r *http.Request) {
	code, ok := number(w, r, "code", 1, 255)
	if !ok {
		return
	}
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Length", "4")
	_, _ = fmt.Fprintln(w, "bye")
	_ = http.NewResponseController(w).Flush()
	os.Exit(code)
}

// number reads a parameter of the query, a number from 0 to most, and answers 400 where it is anything else.
func number(w http.ResponseWriter, r *http.Request, name string, standard, most int) (int, bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return standard, true
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		http.Error(w, fmt.Sprintf("%s is a number from 0 to %d", name, most), http.StatusBadRequest)
		return 0, false
	}
	return n, true
}

// answer sends v as one line of JSON.
func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // an error here is a client that left
}

// counter is a number in a file.
type counter struct {
	path string

	mu sync.Mutex // guards the file
}

// add counts one more and gives the new number.
func (c *counter) add() (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var n int64
	text, err := os.ReadFile(c.path)
	switch {
	case err == nil:
		if n, err = strconv.ParseInt(string(text), 10, 64); err != nil {
			return 0, fmt.Errorf("read visits: %w", err)
		}
	case !os.IsNotExist(err):
		return 0, fmt.Errorf("read visits: %w", err)
	}
	n++
	// The old file is whole until the new one is: the process may end at any time.
	if err := os.WriteFile(c.path+".new", strconv.AppendInt(nil, n, 10), 0o600); err != nil {
		return 0, fmt.Errorf("write visits: %w", err)
	}
	if err := os.Rename(c.path+".new", c.path); err != nil {
		return 0, fmt.Errorf("write visits: %w", err)
	}
	return n, nil
}
