package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// TestGoodbye: a client of HTTP/2 that asks for nothing just now is told that the daemon ends, and
// what it has sent before it knew is answered.
func TestGoodbye(t *testing.T) {
	_, server := serve(t, &backend{}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") }))
	address, config := serveTLS(t, server)
	config.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	ask := func(stream uint32) {
		t.Helper()
		block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "a.app.test"}, {":path", "/"}} {
			_ = encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
	}
	// until reads frames until one that is looked for.
	until := func(is func(http2.Frame) bool) {
		t.Helper()
		for {
			f, err := framer.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if is(f) {
				return
			}
		}
	}
	answered := func(stream uint32) func(http2.Frame) bool {
		return func(f http2.Frame) bool {
			if h, ok := f.(*http2.MetaHeadersFrame); ok && h.PseudoValue("status") != "200" {
				t.Fatalf("got %v", h)
			}
			return f.Header().StreamID == stream && f.Header().Flags.Has(http2.FlagDataEndStream)
		}
	}
	ask(1)
	until(answered(1))
	time.Sleep(2 * settling) // it is unused for some time
	drained := make(chan error, 1)
	begun := time.Now()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		drained <- server.Drain(ctx)
	}()
	until(func(f http2.Frame) bool {
		away, ok := f.(*http2.GoAwayFrame)
		if ok && (away.LastStreamID != 1<<31-1 || away.ErrCode != http2.ErrCodeNo) {
			t.Errorf("told %v, want that what is on its way is answered", away)
		}
		return ok
	})
	if took := time.Since(begun); took > server.farewell/2 {
		t.Errorf("told after %v", took)
	}
	ask(3)
	until(answered(3))
	if err := <-drained; err != nil {
		t.Error(err)
	}
}
