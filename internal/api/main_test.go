package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenement.dev/internal/api/apitest"
	"tenement.dev/internal/wire"
)

// TestMain also plays the other user that TestOtherUser needs.
func TestMain(m *testing.M) {
	if path := os.Getenv("API_TEST_ASK"); path != "" {
		status, body, err := ask(path, "GET", "/api/v1/version", "")
		fmt.Println(status, body, err)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// ask makes one request on a connection of its own.
func ask(socket, method, path, body string) (status int, answer string, err error) {
	status, _, answer, err = exchange(socket, method, path, body)
	return status, answer, err
}

// exchange is ask with the answer's headers.
func exchange(socket, method, path, body string) (status int, header http.Header, answer string, err error) {
	client := &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
		},
	}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil {
		err = conform(method, path, body, resp.StatusCode, resp.Header.Get("Content-Type"), string(text))
	}
	return resp.StatusCode, resp.Header, string(text), err
}

func socketPath(t *testing.T) string { return filepath.Join(t.TempDir(), "api.sock") }

func start(t *testing.T) *apitest.Daemon {
	t.Helper()
	return apitest.Start(t, socketPath(t))
}

// must makes a request and decodes the answer, which must have the wanted status.
func must[T any](t *testing.T, d *apitest.Daemon, want int, method, path, body string) T {
	t.Helper()
	var v T
	status, text, err := ask(d.Path, method, path, body)
	if err != nil || status != want {
		t.Fatalf("%s %s: got %d %s, %v, want %d", method, path, status, text, err, want)
	}
	if text == "" {
		return v
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%s %s answers %q: %v", method, path, text, err)
	}
	return v
}

const instances = "/api/v1/instances"

type empty struct{}

func spawn(t *testing.T, d *apitest.Daemon, id string) wire.Outcome {
	t.Helper()
	return must[wire.Outcome](t, d, http.StatusCreated, "POST", instances, `{"id":"`+id+`"}`)
}
