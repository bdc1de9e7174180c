package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// answers are what no server would answer with, by path.
var answers = map[string]func(net.Conn, *http.Request){
	"garbage":      text("\x00\xff\x16\x03\x01 not http at all\r\n\r\n"),
	"status":       text("HTTP/1.1 9999 Wrong\r\nContent-Length: 0\r\n\r\n"),
	"statusword":   text("HTTP/1.1 OK\r\n\r\n"),
	"version":      text("HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\nok"),
	"emptyline":    text("\r\n\r\n\r\n\r\n"),
	"nothing":      text(""),
	"badlength":    text("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok"),
	"hugelength":   text("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok"),
	"twolengths":   text("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\nok"),
	"shortbody":    text("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort"),
	"lengthchunks": text("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
	"hugechunk":    text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nok"),
	"badchunk":     text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n"),
	"splitheader":  text("HTTP/1.1 200 OK\r\nX-A: a\nSet-Cookie: stolen=1\r\nContent-Length: 2\r\n\r\nok"),
	"nullheader":   text("HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 2\r\n\r\nok"),
	"folded":       text("HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok"),
	"upgrade":      text("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nraw"),
	// The second response is for whoever uses the connection next.
	"smuggled": func(conn net.Conn, _ *http.Request) {
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-Smuggled: 1\r\n\r\nsmuggled")
		time.Sleep(200 * time.Millisecond)
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-Smuggled: 1\r\n\r\nsmuggled")
		_, _ = io.Copy(io.Discard, conn)
	},
	"informational": forever("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", ""),
	"headers":       forever("X-Header: "+strings.Repeat("x", 1000)+"\r\n", "HTTP/1.1 200 OK\r\n"),
	"longheader":    forever(strings.Repeat("x", 4096), "HTTP/1.1 200 OK\r\nX-Header: "),
	"longstatus":    forever(strings.Repeat("x", 4096), "HTTP/1.1 200 "),
	"body":          forever(strings.Repeat("x", 32<<10), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffff\r\n"),
	"trailers":      forever("X-Trailer: "+strings.Repeat("x", 1000)+"\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Trailer\r\n\r\n0\r\n"),
	"chunkexts":     forever(strings.Repeat("x", 4096), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;"),
	"slow": func(conn net.Conn, _ *http.Request) {
		for _, c := range "HTTP/1.1 200 OK\r\nX-Slow: " + strings.Repeat("x", 1000) {
			time.Sleep(100 * time.Millisecond)
			if _, err := conn.Write([]byte{byte(c)}); err != nil {
				return
			}
		}
	},
	"silent": func(conn net.Conn, _ *http.Request) { _, _ = io.Copy(io.Discard, conn) },
	// As "name" says who answers, for those who look for what was smuggled.
	"name": func(conn net.Conn, _ *http.Request) {
		name := os.Getenv("TENEMENT_INSTANCE")
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(name), name)
	},
}

func text(s string) func(net.Conn, *http.Request) {
	return func(conn net.Conn, _ *http.Request) {
		_, _ = io.WriteString(conn, s)
		// What is not read yet would be lost with a reset.
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, conn)
	}
}

// forever writes a beginning and then the same again and again, for as long as anybody
// takes it.
func forever(again, begin string) func(net.Conn, *http.Request) {
	return func(conn net.Conn, _ *http.Request) {
		_, err := io.WriteString(conn, begin)
		for err == nil {
			_, err = io.WriteString(conn, again)
		}
	}
}
