package proxy

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestCountedOutBeforeTheEnd: who has all of an answer can count on the request being over,
// however the answer comes. An app that has not sent all of it has the request in flight.
func TestCountedOutBeforeTheEnd(t *testing.T) {
	const tail = " HTTP/1.1\r\nHost: a.app.test\r\n"
	for name, text := range map[string]string{
		"small": "GET /small" + tail, "large": "GET /large" + tail, "chunks": "GET /chunks" + tail, "late": "GET /late" + tail,
		"late chunks": "GET /late-chunks" + tail, "HEAD": "HEAD /small" + tail, "no body": "GET /none" + tail, "events": "GET /events" + tail,
		"trailer": "GET /trailer" + tail, "failure": "GET /abort" + tail, "POST": "POST /large" + tail + "Content-Length: 2\r\n", "HTTP/1.0": "GET /chunks HTTP/1.0\r\nHost: a.app.test\r\n",
	} {
		method, rest, _ := strings.Cut(text, " ")
		path, _, _ := strings.Cut(rest, " ")
		body := ""
		if name == "POST" {
			body = "xy"
		}
		t.Run(name, func(t *testing.T) {
			countedOutBeforeTheEnd(t, strings.HasPrefix(name, "late"), func(_ *Server, address string) func() (*http.Response, error) {
				conn := dial(t, address)
				_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
				if _, err := io.WriteString(conn, text+"\r\n"+body); err != nil {
					t.Fatal(err)
				}
				return func() (*http.Response, error) {
					return http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
				}
			})
		})
		if name == "HTTP/1.0" {
			continue
		}
		t.Run(name+" over HTTP/2", func(t *testing.T) {
			countedOutBeforeTheEnd(t, strings.HasPrefix(name, "late"), func(server *Server, _ string) func() (*http.Response, error) {
				client, url := overH2(t, server)
				return func() (*http.Response, error) {
					return ask(context.Background(), client, method, url+path, strings.NewReader(body))
				}
			})
		})
	}
}

func countedOutBeforeTheEnd(t *testing.T, late bool, begin func(server *Server, address string) (answer func() (*http.Response, error))) {
	t.Helper()
	releasing, goOn := make(chan struct{}), make(chan struct{})
	b := &backend{releasing: func() { close(releasing); <-goOn }}
	rest := make(chan struct{})
	address, server := serve(t, b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { inParts(w, r, rest) }))
	whole := make(chan error, 1)
	begun := make(chan struct{})
	answer := begin(server, address)
	go func() {
		resp, err := answer()
		close(begun)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		whole <- err
	}()
	if late {
		<-begun
		select {
		case <-releasing:
			t.Error("counted out while the app has not sent all")
		case <-time.After(2 * firstLook):
		}
	}
	close(rest)
	<-releasing
	select {
	case <-whole:
		t.Error("the client has all of the answer, and the request is counted in")
		whole <- nil
	case <-time.After(50 * time.Millisecond): // where the order is right it can never be
	}
	close(goOn)
	if err := <-whole; err != nil {
		t.Error(err)
	}
}

// inParts answers as the path names; what comes late does so after rest.
func inParts(w http.ResponseWriter, r *http.Request, rest <-chan struct{}) {
	flush := func() { _ = http.NewResponseController(w).Flush() }
	part := strings.Repeat("0123456789abcdef", 4<<10)
	switch r.URL.Path {
	case "/abort":
		panic(http.ErrAbortHandler)
	case "/none":
		w.WriteHeader(http.StatusNoContent)
	case "/small":
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hello")
	case "/large":
		w.Header().Set("Content-Length", "1048576")
		for range 16 {
			_, _ = io.WriteString(w, part)
		}
	case "/late":
		w.Header().Set("Content-Length", "131072")
		_, _ = io.WriteString(w, part)
		flush()
		<-rest
		_, _ = io.WriteString(w, part)
	case "/chunks", "/late-chunks":
		_, _ = io.WriteString(w, part)
		flush()
		if r.URL.Path == "/late-chunks" {
			<-rest
		}
		_, _ = io.WriteString(w, part)
		flush()
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: x\n\n")
		flush()
	case "/trailer":
		w.Header().Set("Trailer", "X-End")
		_, _ = io.WriteString(w, part)
		w.Header().Set("X-End", "the end")
	}
}
