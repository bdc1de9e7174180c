package journal

import (
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// An entry has what it was given; a journald that takes none holds nobody up for ever.
func TestSendEntries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	server, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	e := &Entries{to: sender{path: path}}
	defer e.to.close()
	if err := e.Send("GET / 200", map[string]string{"TENEMENT_STATUS": "200", "TENEMENT_PATH": "/"}); err != nil {
		t.Fatal(err)
	}
	_ = server.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 1<<12)
	n, err := server.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"MESSAGE=GET / 200", "PRIORITY=6", "TENEMENT_PATH=/", "TENEMENT_STATUS=200"}
	if got := strings.Split(strings.TrimSpace(string(buf[:n])), "\n"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}

	sent := make(chan error, 1)
	go func() {
		for range 1 << 16 {
			if err := e.Send("one more", nil); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	select {
	case err := <-sent:
		if err == nil {
			t.Error("got no error from a journald that takes nothing")
		}
	case <-time.After(patience):
		t.Error("it waits for ever")
		server.Close()
		<-sent
	}
}
