package rawapp

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// prefix begins the targets that say what to do; see Do.
const prefix = "/do/"

// answer is what all other requests get.
const answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"

// Do is the target that has the app take steps, in this order:
//
//	body      read the request's body
//	part      read some of it
//	close     close the connection
//	reset     close it with a reset
//	hold      wait until the other side closes it
//	sleep=MS  wait
//	other     Write(text): send it as it is
//
// After the last step the app goes on with the next request of the connection.
func Do(steps ...string) string { return prefix + strings.Join(steps, "/") }

// Write is the step that sends text.
func Write(text string) string { return "write=" + base64.RawURLEncoding.EncodeToString([]byte(text)) }

// Serve answers connections from l until it is closed. What is received on one of them is
// written, as it comes, to what open gives for it.
func Serve(l net.Listener, open func() (io.WriteCloser, error)) error {
	var mu sync.Mutex // guards conns
	conns := map[net.Conn]bool{}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() {
		mu.Lock()
		defer mu.Unlock()
		for conn := range conns {
			conn.Close()
		}
	}()
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		record, err := open()
		if err != nil {
			return err
		}
		mu.Lock()
		conns[conn] = true
		mu.Unlock()
		wg.Go(func() {
			defer record.Close()
			c := &client{conn, bufio.NewReader(io.TeeReader(conn, record))}
			for c.serve() == nil {
			}
			conn.Close()
			mu.Lock()
			delete(conns, conn)
			mu.Unlock()
		})
	}
}

// Records is a directory where an app keeps what it receives, in a file for each
// connection.
type Records string

// Open makes the file of a connection.
func (r Records) Open() (io.WriteCloser, error) {
	return os.CreateTemp(string(r), "connection-")
}

// Read gives what was received on each connection.
func (r Records) Read() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(string(r), "connection-*"))
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		texts = append(texts, string(text))
	}
	return texts, nil
}

type client struct {
	net.Conn
	in *bufio.Reader
}

// serve answers one request.
func (c *client) serve() error {
	line, body, err := c.head()
	if err != nil {
		return err
	}
	steps := []string{"body", Write(answer)}
	if words := strings.Fields(line); len(words) > 1 && strings.HasPrefix(words[1], prefix) {
		target, _, _ := strings.Cut(strings.TrimPrefix(words[1], prefix), "?")
		steps = strings.Split(target, "/")
	}
	for _, step := range append(steps, "body") {
		if err := c.take(step, body); err != nil {
			return err
		}
	}
	return nil
}

// take takes one step.
func (c *client) take(step string, body io.Reader) error {
	verb, value, _ := strings.Cut(step, "=")
	switch verb {
	case "body":
		_, err := io.Copy(io.Discard, body)
		return err
	case "part":
		_, err := body.Read(make([]byte, 1024))
		return err
	case "write":
		text, err := base64.RawURLEncoding.DecodeString(value)
		if err == nil {
			_, err = c.Write(text)
		}
		return err
	case "sleep":
		ms, _ := strconv.Atoi(value)
		time.Sleep(time.Duration(ms) * time.Millisecond)
		return nil
	case "hold":
		_, err := io.Copy(io.Discard, c.in)
		return err
	case "reset":
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	return io.EOF
}

// head reads a request's head and gives its first line and a reader of its body. It
// believes only what this proxy may send: one way to frame a body, in one form.
func (c *client) head() (line string, body io.Reader, err error) {
	body = strings.NewReader("")
	for first := true; ; first = false {
		text, err := c.in.ReadString('\n')
		if err != nil {
			return "", nil, err
		}
		text = strings.TrimSuffix(text, "\r\n")
		name, value, _ := strings.Cut(text, ": ")
		switch {
		case first:
			line = text
		case text == "":
			return line, body, nil
		case name == "Content-Length":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return "", nil, err
			}
			body = io.LimitReader(c.in, n)
		case name == "Transfer-Encoding" && value == "chunked":
			body = &chunked{in: c.in}
		case name == "Transfer-Encoding":
			return "", nil, fmt.Errorf("transfer encoding %q", value)
		}
	}
}

// chunked reads a chunked body to the end of its trailers.
type chunked struct {
	in   *bufio.Reader
	left int64
	end  bool
}

// Read implements io.Reader.
func (b *chunked) Read(p []byte) (int, error) {
	if b.end {
		return 0, io.EOF
	}
	if b.left == 0 {
		line, err := b.in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		if b.left, err = strconv.ParseInt(strings.TrimSuffix(line, "\r\n"), 16, 64); err != nil {
			return 0, err
		}
		if b.left == 0 {
			for b.end = true; ; {
				if line, err = b.in.ReadString('\n'); err != nil || line == "\r\n" {
					return 0, cmp.Or(err, io.EOF)
				}
			}
		}
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err == nil && b.left == 0 {
		_, err = b.in.Discard(len("\r\n"))
	}
	return n, err
}
