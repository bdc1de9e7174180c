package limits

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// hog takes memory until only so many MiB are available, and keeps it: what is locked is
// not swapped.
const hog = `
import ctypes, sys, time
def available():
    for line in open("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
ctypes.CDLL(None, use_errno=True).mlockall(3)
kept = []
while available() > int(sys.argv[1]):
    kept.append(b"x" * (8 << 20) if available() > 150 else b"x" * (2 << 20))
print("full", flush=True)
time.sleep(3600)
`

// TestStartsWaitForMemory fills the machine's memory. A start waits then; idle instances
// doze and stop for it, the busy one does not, and the start goes on when there is
// memory again. This kernel has no PSI, so it is what is available that counts.
func TestStartsWaitForMemory(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: `
[service.app]
command = "{bin}/testapp"
idle_timeout = 3600
`})
	s.Spawn("app:sleeper", "app:idle", "app:busy")
	s.Ten("stop", "app:sleeper")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	body, finish := io.Pipe() // an upload that lasts as long as the test wants
	busy := make(chan string, 1)
	go func() { busy <- upload(ctx, s, "app:busy", body) }()
	s.WriteFile("hog.py", hog)
	cmd := exec.CommandContext(ctx, "python3", "hog.py", "35")
	cmd.Dir, cmd.Stderr = s.Dir, os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	word := make([]byte, 4)
	if _, err := out.Read(word); err != nil || string(word) != "full" {
		t.Fatalf("the hog: got %q %v; available: %d MiB", word, err, available(t))
	}
	t.Logf("available: %d MiB", available(t))

	answered := make(chan harness.Response, 1)
	go func() {
		resp, _ := s.Do(ctx, http.MethodGet, "app:sleeper", "/count", "")
		answered <- resp
	}()
	s.AwaitFor("app:idle", tenant.Asleep, 20*time.Second)
	said := s.Log.String()
	doze, stop := strings.Index(said, "instance=app:idle becomes=dozing"), strings.Index(said, "instance=app:idle becomes=asleep")
	if doze < 0 || stop < doze {
		t.Errorf("want it to doze before it stops:\n%s", said)
	}
	if got := s.Get("app:busy").State; got != tenant.Awake {
		t.Errorf("the busy one is %s, want it awake", got)
	}
	select {
	case got := <-answered:
		t.Errorf("the start did not wait for memory: got %d", got.Status)
	default:
	}
	_ = cmd.Process.Kill()
	if got := <-answered; got.Status != http.StatusOK {
		t.Errorf("with memory again: got %d, want 200", got.Status)
	} else if _, queue, _ := strings.Cut(got.Header.Get("Server-Timing"), "queue;dur="); len(strings.Split(queue, ".")[0]) < 4 {
		t.Errorf("got %q, want more than a second in the queue", got.Header.Get("Server-Timing"))
	}
	if _, err := finish.Write([]byte("12345")); err != nil {
		t.Error(err)
	}
	finish.Close()
	if got := <-busy; got != "200 5" {
		t.Errorf("the request in flight: got %s, want 200 and its five bytes", got)
	}
}

// upload sends a body and gives the status and the answer.
func upload(ctx context.Context, s *harness.Server, id string, body io.Reader) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+harness.Host(id)+"/upload", body)
	if err != nil {
		return err.Error()
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(text)))
}

// available is the machine's available memory in MiB.
func available(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "MemAvailable:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}
