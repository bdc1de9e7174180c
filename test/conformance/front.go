package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Front is a way in, with an instance behind it that runs package rawapp.
type Front struct {
	// Dial gives a new connection, which speaks HTTP/1.1.
	Dial func() (net.Conn, error)
	// DialH2 gives one that speaks HTTP/2; nil where that is not spoken.
	DialH2 func() (net.Conn, error)
	// Host is the host name of the instance.
	Host string
	// Received gives what the app has received, a text for each of its connections.
	Received func() ([]string, error)
}

// patience bounds every wait for the front, beyond what a loaded machine needs.
const patience = 30 * time.Second

// dial gives a connection that the test closes.
func dial(t *testing.T, dial func() (net.Conn, error)) net.Conn {
	t.Helper()
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// exchange sends text on a new connection and gives all answers that come until the front
// closes it, without the informational ones.
func (f Front) exchange(t *testing.T, text string, halfClose bool) (answers []*http.Response, bodies []string, err error) {
	t.Helper()
	conn := dial(t, f.Dial)
	if _, err := io.WriteString(conn, text); err != nil && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		return nil, nil, err
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok && halfClose {
		if err := half.CloseWrite(); err != nil {
			return nil, nil, err
		}
	}
	method, _, _ := strings.Cut(text, " ")
	in := bufio.NewReader(conn)
	for {
		if _, err := in.Peek(1); err != nil {
			// What is refused is not read to its end, which resets the connection.
			if err == io.EOF || errors.Is(err, syscall.ECONNRESET) && len(answers) > 0 {
				err = nil
			}
			return answers, bodies, err
		}
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return answers, bodies, err
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode < 200 {
			continue
		}
		method = ""
		answers, bodies = append(answers, resp), append(bodies, string(body))
		if err != nil {
			return answers, bodies, err
		}
	}
}

// message is a request as the app has received it.
type message struct {
	line     string // the first
	header   []string
	body     string
	complete bool
}

func (m message) String() string {
	return fmt.Sprintf("%q %q with the body %q (complete: %v)", m.line, m.header, m.body, m.complete)
}

// added are the headers that a front adds to each request.
var added = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id", "Tenement-Hop"}

// parse tells the requests on a connection apart. A front has but one form for each thing
// to say; whatever else there is, is an error.
func parse(stream string) (list []message, err error) {
	for stream != "" {
		head, rest, found := strings.Cut(stream, "\r\n\r\n")
		lines := strings.Split(head, "\r\n")
		m := message{line: lines[0]}
		if !found {
			return append(list, m), nil
		}
		framing := ""
		for _, line := range lines[1:] {
			name, value, ok := strings.Cut(line, ": ")
			if !ok || strings.Trim(name, tokens) != "" || strings.ContainsAny(value, "\r\n\x00") {
				return list, fmt.Errorf("header %q in %q", line, head)
			}
			if name == "Content-Length" || name == "Transfer-Encoding" {
				if framing != "" {
					return list, fmt.Errorf("two framings in %q", head)
				}
				framing = line
			}
			if !slices.Contains(added, name) {
				m.header = append(m.header, line)
			}
		}
		if m.body, stream, m.complete, err = bodyOf(framing, rest); err != nil {
			return list, fmt.Errorf("%w in %q", err, stream)
		}
		list = append(list, m)
	}
	return list, nil
}

const tokens = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_!#$%&'*+.^`|~"

func bodyOf(framing, text string) (body, rest string, complete bool, err error) {
	switch name, value, _ := strings.Cut(framing, ": "); name {
	case "":
		return "", text, true, nil
	case "Content-Length":
		n, err := strconv.Atoi(value)
		if err != nil || strconv.Itoa(n) != value {
			return "", "", false, fmt.Errorf("Content-Length %q", value)
		}
		if len(text) < n {
			return text, "", false, nil
		}
		return text[:n], text[n:], true, nil
	default:
		if value != "chunked" {
			return "", "", false, fmt.Errorf("Transfer-Encoding %q", value)
		}
		return unchunk(text)
	}
}

func unchunk(text string) (body, rest string, complete bool, err error) {
	for {
		size, after, found := strings.Cut(text, "\r\n")
		if !found {
			return body, "", false, nil
		}
		n, err := strconv.ParseUint(size, 16, 31)
		if err != nil || strconv.FormatUint(n, 16) != size {
			return "", "", false, fmt.Errorf("chunk of size %q", size)
		}
		if n == 0 {
			if after, ok := strings.CutPrefix(after, "\r\n"); ok {
				return body, after, true, nil
			}
			trailers, after, found := strings.Cut(after, "\r\n\r\n")
			return body + "\n" + trailers, after, found, nil
		}
		if len(after) < int(n)+2 {
			return body + after[:min(len(after), int(n))], "", false, nil
		}
		body += after[:n]
		if text, found = strings.CutPrefix(after[n:], "\r\n"); !found {
			return "", "", false, fmt.Errorf("chunk that ends with %q", after[n:])
		}
	}
}

// messages gives what the app has received whose target has the word, in order.
func (f Front) messages(t *testing.T, word string) (list []message) {
	t.Helper()
	streams, err := f.Received()
	if err != nil {
		t.Fatal(err)
	}
	for _, stream := range streams {
		all, err := parse(stream)
		if err != nil {
			t.Errorf("the app has received %v", err)
		}
		for _, m := range all {
			if strings.Contains(m.line, word) {
				list = append(list, m)
			}
		}
	}
	return list
}
