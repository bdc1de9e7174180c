package api_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tenement.dev/internal/api"
	"tenement.dev/internal/tenant"
)

func TestListen(t *testing.T) {
	path := filepath.Join(filepath.Dir(socketPath(t)), "made", "api.sock")
	ln, err := api.Listen(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("socket: got %v, %v, want mode 0600", info.Mode(), err)
	}
	if _, err := api.Listen(path, 0); tenant.CodeOf(err) != tenant.CodeConflict {
		t.Errorf("a second daemon: got %v, want a conflict", err)
	}
	if conn, err := dial(path); err != nil {
		t.Errorf("the first one after that: %v", err)
	} else {
		conn.Close()
	}
	if err := errors.Join(ln.Close(), ln.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Close: got %v, want no socket", err)
	}
	again, err := api.Listen(path, 0)
	if err != nil {
		t.Fatalf("after Close: %v", err)
	}
	_ = again.Close()
}

func dial(path string) (net.Conn, error) {
	return net.DialUnix("unix", nil, &net.UnixAddr{Name: path})
}

func TestListenWhereSomethingIs(t *testing.T) {
	path := socketPath(t)

	// A socket of a daemon that was killed.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	_ = stale.Close()
	ln, err := api.Listen(path, 0)
	if err != nil {
		t.Fatalf("over a stale socket: %v", err)
	}
	_ = ln.Close()

	// A socket of something that does not know of our lock.
	live, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(path, 0); tenant.CodeOf(err) != tenant.CodeConflict {
		t.Errorf("over a live socket: got %v, want a conflict", err)
	}
	if conn, err := dial(path); err != nil {
		t.Errorf("the live one after that: %v", err)
	} else {
		conn.Close()
	}
	_ = live.Close()

	// A file.
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(path, 0); tenant.CodeOf(err) != tenant.CodeConflict {
		t.Errorf("over a file: got %v, want a conflict", err)
	}
	if text, err := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file after that: %q, %v", text, err)
	}

	if _, err := api.Listen("/tmp/"+strings.Repeat("x", 120), 0); tenant.CodeOf(err) != tenant.CodeInvalid {
		t.Errorf("too long a path: got %v, want invalid", err)
	}
	var e *tenant.Error
	if _, err := api.Listen("/proc/none/api.sock", 0); !errors.As(err, &e) || e.Hint == "" || !strings.Contains(e.Msg, "/proc/none/api.sock") {
		t.Errorf("where nothing can be made: got %v", err)
	}
}

// Root and the daemon's own user may use the API, and no other, whatever the socket's
// mode is.
func TestOtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("needs root to become another user: run the tests as root")
	}
	d := start(t)
	dir := filepath.Dir(d.Path)
	// A copy of this test that the other user can reach.
	self := filepath.Join(dir, "self")
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(self, text, 0o755), os.Chmod(self, 0o755), os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
	asUser := func(uid uint32) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Dir = "/"
		cmd.Env = []string{"API_TEST_ASK=" + d.Path}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("as uid %d: %v: %s", uid, err, out)
		}
		return string(out)
	}
	if got := asUser(65534); !strings.Contains(got, "permission denied") {
		t.Errorf("the socket as it is: got %s, want no permission", got)
	}
	if err := os.Chmod(d.Path, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := asUser(65534); !strings.HasPrefix(got, "403 ") || !strings.Contains(got, `"forbidden"`) || strings.Contains(got, "1.2.3") {
		t.Errorf("an open socket: got %s, want 403", got)
	}
	if got := asUser(0); !strings.HasPrefix(got, "200 ") {
		t.Errorf("root: got %s, want 200", got)
	}
}

// Who is not known is asked for a token, on every path.
func TestUnknownPeer(t *testing.T) {
	a := api.New(api.Options{Log: slog.New(slog.DiscardHandler)})
	tcp := httptest.NewUnstartedServer(a)
	tcp.Config.ConnContext = api.ConnContext
	tcp.Start()
	defer tcp.Close()
	bare := httptest.NewServer(a) // its connections are not looked at
	defer bare.Close()
	transport := &http.Transport{DisableKeepAlives: true}
	for _, base := range []string{tcp.URL, bare.URL} {
		for _, path := range []string{"/api/v1/version", "/api/v1/instances", "/api/v1/nothing", "/"} {
			req, err := http.NewRequestWithContext(context.Background(), "GET", base+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("GET %s%s: got %s, want 401", base, path, resp.Status)
			}
		}
	}
}
