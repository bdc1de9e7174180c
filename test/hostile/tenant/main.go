// Command tenant is the hostile app of test/hostile: it answers requests, and each asks for an
// attempt on what is not its own, or for an attack that lasts a while. As "ten-init" it is
// what a tenant could put in the place of its own first process.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	if filepath.Base(os.Args[0]) == "ten-init" {
		beInit()
	}
	if len(os.Args) > 1 && os.Args[1] == "deaf" {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	}
	if len(os.Args) > 1 && os.Args[1] == "child" {
		select {} // one of those that must not outlive a stop
	}
	network, address := "tcp", net.JoinHostPort("127.0.0.1", os.Getenv("PORT"))
	if path := os.Getenv("SOCKET_PATH"); path != "" {
		network, address = "unix", path
	}
	l, err := net.Listen(network, address)
	if err != nil {
		fmt.Fprintln(os.Stderr, "tenant:", err)
		os.Exit(1)
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			continue
		}
		go serve(conn)
	}
}

// serve answers one request; by hand, since most answers are none that a server would give.
func serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	name := strings.TrimPrefix(req.URL.Path, "/")
	if raw, ok := answers[name]; ok {
		raw(conn, req)
		return
	}
	result := Result{Text: "hello"}
	switch {
	case strings.HasPrefix(name, "try/"):
		result = try(strings.TrimPrefix(name, "try/"), req.URL.Query())
	case strings.HasPrefix(name, "attack/"):
		result = attack(strings.TrimPrefix(name, "attack/"), req.URL.Query())
	}
	body, err := json.Marshal(result)
	if err != nil {
		return
	}
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}

// Result is what came of an attempt.
type Result struct {
	// Err says why it failed; empty if it succeeded.
	Err string
	// Errno is the name of the error's number, as ENOENT.
	Errno string
	// Text is what was got hold of.
	Text string
}

func resultOf(text string, err error) Result {
	if err == nil {
		return Result{Text: text}
	}
	result := Result{Err: err.Error(), Text: text}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		result.Errno = errnoName(errno)
	}
	return result
}
