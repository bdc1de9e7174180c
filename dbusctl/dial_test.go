package dbusctl

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"tenement.dev/internal/tenant"
)

// runtimeDir makes the environment of a user without a manager, and gives its
// directory.
func runtimeDir(t *testing.T) string {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "")
	return dir
}

func TestDialNobody(t *testing.T) {
	runtimeDir(t)
	c, err := Dial(t.Context(), Options{Scope: User})
	if err == nil {
		c.Close()
		t.Fatal("connected to nobody")
	}
	var told *tenant.Error
	if !errors.As(err, &told) {
		t.Fatalf("got %T, want a *tenant.Error", err)
	}
	if _, err := os.Stat("/run/systemd/system"); err == nil {
		if told.Code != tenant.CodeUnavailable || !strings.Contains(told.Hint, "loginctl enable-linger") {
			t.Errorf("with systemd but no manager: got %+v", told)
		}
		return
	}
	if told.Code != tenant.CodeUnsupported || told.Msg != "Tenement needs systemd; none is running here" ||
		told.Hint != "`make demo` runs it in a throwaway machine" {
		t.Errorf("without systemd: got %+v", told)
	}
}

// TestDialMute: a bus that accepts and says nothing, and one that hangs up at once.
func TestDialMute(t *testing.T) {
	dir := runtimeDir(t)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(dir, "bus"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer func() { _ = listener.Close() }()
	var mute atomic.Bool
	ended := make(chan struct{}) // the second try
	conns := make(chan net.Conn, 2)
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns <- conn
			if !mute.Load() {
				_ = conn.Close()
			}
		}
	})

	if c, err := Dial(t.Context(), Options{Scope: User}); err == nil {
		c.Close()
		t.Error("connected to a bus that hangs up")
	}
	<-conns
	mute.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	wg.Go(func() {
		select {
		case conn := <-conns:
			_, _ = conn.Read(make([]byte, 1)) // the client has begun
			cancel()
			<-ended
			_ = conn.Close()
		case <-ended:
		}
	})
	if c, err := Dial(ctx, Options{Scope: User}); !errors.Is(err, context.Canceled) {
		if err == nil {
			c.Close()
		}
		t.Errorf("a bus that says nothing: got %v, want the end of the context", err)
	}
	close(ended)
}
