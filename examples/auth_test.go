package examples

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

// testAuth tries with auth-test what its README tells of.
func testAuth(t *testing.T, s *harness.Server) {
	printable := strings.Builder{} // each byte that a header may have, RFC 9110, section 5.5
	for b := 0x21; b <= 0xff; b++ {
		if b != 0x7f {
			printable.WriteByte(byte(b))
		}
	}
	values := [][]string{
		{"Bearer"},
		{"bearer  two  spaces\tand a tab"},
		{"Basic YWxpY2U6c2VjcmV0"},
		{`Digest username="alice", realm="app", uri="/headers", response="6629fae49393a05397450978507c4ef1"`},
		{printable.String()},
		{"Bearer " + strings.Repeat("0123456789abcdef", 1<<9)},
		{"Bearer first", "Bearer second"},
		{""},
		nil,
	}
	for _, want := range values {
		if got := authorizations(t, s, "auth:alice", want); !slices.Equal(got, want) {
			t.Errorf("Authorization: sent %q, got %q", want, got)
		}
	}
	// The request that wakes it, from doze or from sleep, is no different.
	if r := s.Ten("stop", "auth:alice"); r.Code != 0 {
		t.Fatalf("stop: %s", r)
	}
	if got, want := authorizations(t, s, "auth:alice", values[4]), values[4]; !slices.Equal(got, want) {
		t.Errorf("Authorization of a request that wakes: sent %q, got %q", want, got)
	}
	tokens := map[string]string{"nobody": "guess"}
	for _, who := range []string{"alice", "bob", "operator"} {
		text, err := os.ReadFile(filepath.Join(s.Dir, who+".token"))
		if err != nil {
			t.Fatal(err)
		}
		tokens[who] = strings.TrimSpace(string(text))
	}
	// A tenant's token of Tenement's has her name, and means as little to her app.
	r := s.Ten("token", "gen", "--tenant", "alice", "--allow", "restart")
	if r.Code != 0 {
		t.Fatalf("token gen: %s", r)
	}
	tokens["tenant alice"] = strings.TrimSpace(r.Stdout)
	const instance = "/api/v1/instances/auth:alice"
	for _, tt := range []struct {
		who, at, path string
		want          int
	}{
		{"alice", "auth:alice", "/", 200},
		{"bob", "auth:bob", "/", 200},
		{"bob", "auth:alice", "/", 401},
		{"alice", "auth:bob", "/", 401},
		{"nobody", "auth:alice", "/", 401},
		{"operator", "auth:alice", "/", 401},
		{"operator", "auth:bob", "/", 401},
		{"tenant alice", "auth:alice", "/", 401},
		{"operator", "localhost", instance, 200},
		{"tenant alice", "localhost", instance, 200},
		{"tenant alice", "localhost", "/api/v1/instances/auth:bob", 403},
		{"alice", "localhost", instance, 401},
		{"nobody", "localhost", instance, 401},
	} {
		resp := s.Fetch(tt.at, tt.path, "Authorization", "Bearer "+tokens[tt.who])
		if resp.Status != tt.want {
			t.Errorf("%s at %s%s: got %d %s, want %d", tt.who, tt.at, tt.path, resp.Status, resp.Body, tt.want)
		}
	}
	// The app's refusal is the app's, for a browser too.
	resp := s.Fetch("auth:alice", "/", "Accept", "text/html", "Sec-Fetch-Mode", "navigate")
	if got, want := resp.Header.Get("WWW-Authenticate"), `Bearer realm="app"`; resp.Status != 401 || resp.Body != "who are you?\n" || got != want {
		t.Errorf("without a token: got %d %q with %q, want the app's own answer with %q", resp.Status, resp.Body, got, want)
	}
}

// authorizations sends a request with these values of Authorization, byte for byte, and gives those that reached the app.
func authorizations(t *testing.T, s *harness.Server, id string, values []string) (got []string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(harness.Timeout)); err != nil {
		t.Fatal(err)
	}
	var head strings.Builder
	for _, value := range values {
		fmt.Fprintf(&head, "Authorization: %s\r\n", value)
	}
	fmt.Fprintf(conn, "GET /headers HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n", harness.Host(id), head.String())
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	var fields [][2]string
	if err == nil {
		err = json.Unmarshal(body, &fields)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, field := range fields {
		if field[0] != "Authorization" {
			continue
		}
		value := make([]byte, 0, len(field[1]))
		for _, r := range field[1] {
			value = append(value, byte(r))
		}
		got = append(got, string(value))
	}
	return got
}
