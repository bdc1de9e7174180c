package harness

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// Response is an answer with its body read.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// Host is the host name of an instance: "notes:alice" is alice.notes.localhost.
func Host(id string) string {
	service, name, ok := strings.Cut(id, ":")
	if !ok {
		return id // a host name already
	}
	return name + "." + service + ".localhost"
}

// Do makes a request to an instance, or to a host name, and reads the answer, which
// must be there in time.
func (s *Server) Do(ctx context.Context, method, id, path, body string, header ...string) (Response, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+Host(id)+path, strings.NewReader(body))
	if err != nil {
		return Response{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return Response{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return Response{resp.StatusCode, resp.Header, string(text)}, err
}

// Fetch is a GET that must be answered.
func (s *Server) Fetch(id, path string, header ...string) Response {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), Timeout)
	defer cancel()
	resp, err := s.Do(ctx, http.MethodGet, id, path, "", header...)
	if err != nil {
		s.tb.Fatalf("GET %s%s: %v", Host(id), path, err)
	}
	return resp
}

// Text is the trimmed body of a GET that must be answered with 200.
func (s *Server) Text(id, path string) string {
	s.tb.Helper()
	resp := s.Fetch(id, path)
	if resp.Status != http.StatusOK {
		s.tb.Fatalf("GET %s%s: got %d %s", Host(id), path, resp.Status, resp.Body)
	}
	return strings.TrimSpace(resp.Body)
}

// Seen is what the test app says of a request.
type Seen struct {
	Method, Host, URI string
	Header            http.Header
	Body              string
	PID               int
	Env               []string
}

// Seen gives what reached the test app of a GET.
func (s *Server) Seen(id, path string, header ...string) Seen {
	s.tb.Helper()
	resp := s.Fetch(id, path, header...)
	var seen Seen
	if err := json.Unmarshal([]byte(resp.Body), &seen); err != nil {
		s.tb.Fatalf("GET %s%s: got %d %s", Host(id), path, resp.Status, resp.Body)
	}
	return seen
}
