package examples

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// quickStart is the README's configuration, word for word.
const quickStart = `# tenement.toml
[service.notes]
command = "python3 app.py"
health = "/health"
idle_timeout = 300
isolation = "process"
service_host = false     # instances are customers: nobody's answers at notes.DOMAIN itself
[service.notes.env]
DATA_DIR = "{data_dir}/{id}"
`

func TestQuickStart(t *testing.T) {
	got, err := os.ReadFile("multi-tenant/tenement.toml")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != quickStart {
		t.Errorf("got\n%s\nwant\n%s", got, quickStart)
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	dir := install(t, "multi-tenant")
	notes := start(t, dir, "notes")
	notes.want("GET", "/health", "", 200, `{"status": "ok"}`)
	notes.want("GET", "/notes", "", 200, `[]`)
	notes.want("POST", "/notes", `{"text":"hello from alice"}`, 201, `{"ok": true}`)
	notes.want("POST", "/notes", `{"text":"'); DROP TABLE notes; -- \""}`, 201, `{"ok": true}`)
	for _, bad := range []string{``, `{`, `[]`, `"text"`, `null`, `{"note":"x"}`, `{"text":"\ud800"}`} {
		notes.want("POST", "/notes", bad, 400, `{"error": "send {\"text\": \"...\"}"}`)
	}
	want := `[{"id": 1, "text": "hello from alice"}, {"id": 2, "text": "'); DROP TABLE notes; -- \""}]`
	notes.want("GET", "/notes", "", 200, want)
	notes.want("GET", "/anything?else", "", 200, want)
	notes.dial() // a client that says nothing blocks nobody
	notes.want("GET", "/health", "", 200, `{"status": "ok"}`)
	notes.onlyLoopback()
	notes.stop(143)

	again := start(t, dir, "notes")
	again.want("GET", "/notes", "", 200, want)
	again.stop(143)
}

func TestNotesManyAtOnce(t *testing.T) {
	t.Parallel()
	notes := start(t, install(t, "multi-tenant"), "notes")
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() { notes.want("POST", "/notes", fmt.Sprintf(`{"text":"%d"}`, i), 201, `{"ok": true}`) })
	}
	wg.Wait()
	if got := len(notes.texts()); got != 50 {
		t.Errorf("got %d notes, want 50", got)
	}
}

// texts counts the notes by their text.
func (a *app) texts() map[string]int {
	a.t.Helper()
	status, body, err := a.try("GET", "/notes", "")
	if err != nil || status != http.StatusOK {
		a.t.Fatalf("GET /notes: got %d, %v", status, err)
	}
	var list []struct{ Text string }
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		a.t.Fatal(err)
	}
	count := map[string]int{}
	for _, note := range list {
		count[note.Text]++
	}
	return count
}

// TestNotesEndAnytime ends the app while several clients write: every note that was answered is there afterwards, once.
func TestNotesEndAnytime(t *testing.T) {
	t.Parallel()
	dir := install(t, "multi-tenant")
	answered := map[string]bool{}
	for round, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM} {
		notes := start(t, dir, "notes")
		var (
			wg    sync.WaitGroup
			mu    sync.Mutex // guards answered
			count atomic.Int32
		)
		for client := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					text := fmt.Sprintf("%d.%d.%d", round, client, i)
					status, _, err := notes.try("POST", "/notes", fmt.Sprintf(`{"text":%q}`, text))
					if status == http.StatusCreated {
						mu.Lock()
						answered[text] = true
						mu.Unlock()
						count.Add(1)
					}
					if err != nil {
						return
					}
				}
			})
		}
		notes.until("has taken 10 notes", func() bool { return count.Load() >= 10 })
		if err := notes.cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if got, want := notes.code(), 128+int(signal); got != want {
			t.Errorf("exit code after %v: got %d, want %d", signal, got, want)
		}
	}
	got := start(t, dir, "notes").texts()
	for text := range answered {
		if got[text] != 1 {
			t.Errorf("note %s, answered with 201: got it %d times, want once", text, got[text])
		}
	}
}

func TestNode(t *testing.T) {
	t.Parallel()
	dir := install(t, "node")
	node := start(t, dir, "node")
	node.want("GET", "/", "", 200, "hello from node")
	node.want("GET", "/health", "", 200, `{"status":"ok"}`)
	node.want("GET", "/count", "", 200, `{"count":1}`)
	node.want("GET", "/count?again", "", 200, `{"count":2}`)
	node.want("POST", "/count", strings.Repeat("x", 1<<20), 200, `{"count":3}`)
	node.want("GET", "/constructor", "", 404, `{"error":"nothing at /constructor"}`)
	status, body, err := node.try("GET", "/headers", "")
	var headers map[string]string
	if err != nil || status != 200 || json.Unmarshal([]byte(body), &headers) != nil {
		t.Fatalf("GET /headers: got %d %q, %v", status, body, err)
	}
	if got := headers["authorization"] + ", " + headers["host"]; got != "Bearer of tidings, alice.example.org" {
		t.Errorf("GET /headers: got %s", body)
	}
	node.onlyLoopback()
	node.stop(0)

	again := start(t, dir, "node")
	again.want("GET", "/count", "", 200, `{"count":1}`)
	again.stop(0)
}

func TestFastAPI(t *testing.T) {
	t.Parallel()
	api := start(t, install(t, "python-fastapi"), "fastapi")
	api.want("GET", "/health", "", 200, `{"status":"ok"}`)
	api.sameInEveryLanguage("hello from fastapi")
	api.stop(143)
}

func TestFastify(t *testing.T) {
	t.Parallel()
	api := start(t, install(t, "node-fastify"), "fastify")
	api.want("GET", "/health", "", 200, `{"status":"ok"}`)
	api.sameInEveryLanguage("hello from fastify")
	api.stop(0)
}

// sameInEveryLanguage checks what go-http, python-fastapi and node-fastify have in common.
func (a *app) sameInEveryLanguage(hello string) {
	a.t.Helper()
	a.want("GET", "/", "", 200, hello)
	a.want("GET", "/count", "", 200, `{"count":1}`)
	a.want("GET", "/count", "", 200, `{"count":2}`)
	a.want("GET", "/visits", "", 200, `{"visits":1}`)
	a.want("GET", "/visits", "", 200, `{"visits":2}`)
	status, body, err := a.try("GET", "/headers", "")
	if err != nil || status != 200 || !strings.Contains(body, `"authorization":"Bearer of tidings"`) || !strings.Contains(body, `"host":"alice.example.org"`) {
		a.t.Errorf("GET /headers: got %d %s, %v", status, body, err)
	}
	a.onlyLoopback()
}
