package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// operators asks the API of a daemon over TCP.
type operators struct {
	t    *testing.T
	base string
}

// ask makes a request with a token, if that is not empty.
func (o operators) ask(secret, method, path, body string) (status int, answer string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), harness.Timeout)
	defer cancel()
	resp := o.open(ctx, secret, method, path, body)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (o operators) open(ctx context.Context, secret, method, path, body string) *http.Response {
	o.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, o.base+"/api/v1"+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		o.t.Fatal(err)
	}
	return resp
}

// want asks, and has the status be what is wanted.
func (o operators) want(status int, secret, method, path, body string) string {
	o.t.Helper()
	got, text := o.ask(secret, method, path, body)
	if got != status {
		o.t.Errorf("%s %s: got %d %s, want %d", method, path, got, text, status)
	}
	return text
}

// Tokens from before the daemon's start and from its life, over TCP and at the base
// domain: what they are good for, until they are revoked or expire.
func TestTokens(t *testing.T) {
	listen := fmt.Sprintf("127.0.0.1:%d", harness.FreePort(t))
	config := "[settings]\napi_listen = \"" + listen + "\"\napi_domain = true\n" +
		strings.Replace(app, "[settings]\n", "", 1) + "[service.web]\ncommand = \"{bin}/testapp\"\n"
	s := harness.New(t, harness.Options{Config: config})
	adminID, admin := s.Token("--description", "before the start")
	s.Run()
	api := operators{t, "http://" + listen}
	domain := operators{t, "http://" + strings.Replace(s.Addr(), "127.0.0.1", "localhost", 1)}

	// Nobody, and an admin; at the base domain too, and at no other host.
	for _, o := range []operators{api, domain} {
		for _, path := range []string{"/instances", "/instances/app:alice", "/tokens", "/events", "/nosuch", ""} {
			o.want(401, "", "GET", path, "")
			o.want(401, "ten_"+strings.Repeat("a", 52), "GET", path, "")
		}
		o.want(200, "", "GET", "/openapi.json", "")
		o.want(200, admin, "GET", "/instances", "")
	}

	since := time.Now().UTC().Format(time.RFC3339) // earlier tests have had an alice too

	// Spawn twice is one process; what cannot be says so.
	api.want(201, admin, "POST", "/instances", `{"id":"app:alice"}`)
	pid := s.Show("app:alice", "MainPID")
	api.want(200, admin, "POST", "/instances", `{"id":"app:alice"}`)
	if again := s.Show("app:alice", "MainPID"); pid == "0" || again != pid {
		t.Errorf("spawned twice: process %s, and then %s", pid, again)
	}
	if text := api.want(404, admin, "POST", "/instances", `{"id":"nosuch:alice"}`); !strings.Contains(text, `there is no service \"nosuch\"`) {
		t.Errorf("an unknown service: %s", text)
	}
	if text := api.want(400, admin, "POST", "/instances", `{"id":"app:../etc"}`); !strings.Contains(text, "not a valid instance name") {
		t.Errorf("a bad name: %s", text)
	}
	s.Spawn("app:bob", "web:alice")

	// A tenant's host is its own, whatever the path.
	if got := s.Fetch("app:alice", "/api/v1/instances"); got.Header.Get("WWW-Authenticate") != "" || strings.Contains(got.Body, "unauthorized") {
		t.Errorf("alice's host answers for the API: %d %s", got.Status, got.Body)
	}
	if got := s.Fetch("localhost", "/count"); got.Status != 303 || got.Header.Get("Location") != "/sign-in?next=%2Fcount" {
		t.Errorf("the base domain outside of /api/v1: got %d %s, want the dashboard's sign-in", got.Status, got.Header.Get("Location"))
	}

	// Alice sees her own, and touches what she may.
	id, hers := s.Token("--tenant", "alice", "--allow", "restart")
	var list struct{ Instances []tenant.Snapshot }
	if err := json.Unmarshal([]byte(api.want(200, hers, "GET", "/instances", "")), &list); err != nil || len(list.Instances) != 2 ||
		list.Instances[0].ID.Name != "alice" || list.Instances[1].ID.Name != "alice" {
		t.Errorf("alice's list: got %+v, %v", list.Instances, err)
	}
	s.Fetch("app:alice", "/log?out=of-alice")
	s.Fetch("app:bob", "/log?out=of-bob")
	for _, path := range []string{"", "/why", "/limits", "/logs"} {
		api.want(200, hers, "GET", "/instances/app:alice"+path, "")
		api.want(403, hers, "GET", "/instances/app:bob"+path, "")
	}
	api.want(200, hers, "POST", "/instances/web:alice/restart", "")
	api.want(403, hers, "POST", "/instances/app:bob/restart", "")
	api.want(403, hers, "POST", "/instances/app:alice/wake", "")
	api.want(403, hers, "POST", "/instances/app:alice/stop", "")
	api.want(403, hers, "DELETE", "/instances/app:alice", "")
	// All of it comes through the journal, which may take its time.
	for what, words := range map[string][]string{"logs": {"of-alice", `"id":"web:alice"`}, "history": {"web:alice woke"}} {
		var text string
		eventually(t, "alice's "+what+" have "+strings.Join(words, " and "), func() bool {
			text = api.want(200, hers, "GET", "/"+what+"?lines=-1&since="+since, "")
			return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
		})
		if strings.Contains(text, "bob") || strings.Contains(text, "by root") {
			t.Errorf("alice's %s have\n%s", what, text)
		}
	}
	api.want(403, hers, "GET", "/history?instance=app:bob", "")
	api.want(403, hers, "GET", "/tokens", "")

	// Her stream has what happens to her instances; it ends with her token, at once.
	ctx, cancel := context.WithTimeout(t.Context(), harness.Timeout)
	defer cancel()
	stream := domain.open(ctx, hers, "GET", "/events", "")
	defer stream.Body.Close()
	ok(t, s, "stop", "app:bob")
	ok(t, s, "stop", "app:alice")
	s.Fetch("app:alice", "/")
	lines := bufio.NewScanner(stream.Body)
	seen := ""
	for !strings.Contains(seen, `"kind":"woke"`) && lines.Scan() {
		seen += lines.Text() + "\n"
	}
	if strings.Contains(seen, "bob") || !strings.Contains(seen, "event: stopped") || !strings.Contains(seen, `"cause":"GET request"`) {
		t.Errorf("alice's stream has\n%s", seen)
	}
	ok(t, s, "token", "revoke", id)
	for lines.Scan() {
	}
	if ctx.Err() != nil {
		t.Error("her stream goes on without a token")
	}
	api.want(401, hers, "GET", "/instances/app:alice", "")

	// One that expires.
	_, short := s.Token("--expires", "3s")
	api.want(200, short, "GET", "/version", "")
	deadline := time.Now().Add(harness.Timeout)
	for status := 200; status != 401; {
		if time.Now().After(deadline) {
			t.Fatal("it does not expire")
		}
		time.Sleep(50 * time.Millisecond)
		status, _ = api.ask(short, "GET", "/version", "")
	}

	badTokens(t, api, admin)

	// The commands work with a token from elsewhere, and learn who did what.
	remote := s.Command("ten", "ps")
	remote.Env = append(remote.Env, "TENEMENT_SERVER="+domain.base, "TENEMENT_TOKEN="+admin)
	if out, err := remote.CombinedOutput(); err != nil || !strings.Contains(string(out), "app:bob") {
		t.Errorf("ten ps with a token: %s, %v", out, err)
	}
	memberMay(t, s)

	// The next daemon has the same tokens, and when they were used.
	s.Signal(15)
	var tokens []struct {
		ID   string
		Used time.Time
	}
	r := s.Ten("token", "ls", "--json")
	if err := json.Unmarshal([]byte(r.Stdout), &tokens); err != nil || len(tokens) != 2 || tokens[0].ID != adminID || tokens[0].Used.IsZero() {
		t.Errorf("token ls without a daemon: %s, %v", r, err)
	}
	s.Run()
	api.want(200, admin, "GET", "/instances", "")
}

// badTokens sends a hundred bad tokens a second from one address, which is to disturb
// nobody, there or elsewhere.
func badTokens(t *testing.T, api operators, good string) {
	t.Helper()
	var sent, limited atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var flood sync.WaitGroup
	flood.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			<-tick.C
			status, text := api.ask(fmt.Sprintf("ten_%052d", n), "GET", "/instances", "")
			if status != 401 && status != 429 {
				t.Errorf("a bad token: got %d %s", status, text)
			}
			if status == 429 {
				limited.Add(1)
			}
			sent.Add(1)
		}
	})
	for sent.Load() < 200 {
		api.want(200, good, "GET", "/instances", "")
	}
	stop()
	flood.Wait()
	if limited.Load() == 0 {
		t.Error("nobody was told to hold back")
	}
}

// memberMay checks that a member of the group tenement may use the daemon's socket, and
// another user may not.
func memberMay(t *testing.T, s *harness.Server) {
	t.Helper()
	if _, err := user.LookupGroup("tenement"); err != nil {
		if out, err := exec.Command("groupadd", "--system", "tenement").CombinedOutput(); err != nil {
			t.Fatalf("groupadd: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("groupdel", "tenement").Run() })
	}
	s.Signal(15)
	s.Run()
	group, err := user.LookupGroup("tenement")
	if err != nil {
		t.Fatal(err)
	}
	ten, err := filepath.Abs("../../bin/ten")
	if err != nil {
		t.Fatal(err)
	}
	as := func(groups ...string) (string, error) {
		argv := append([]string{"--reuid", "1000", "--regid", "1000"}, groups...)
		out, err := exec.Command("setpriv", append(argv, ten, "--server", "/run/tenement/api.sock", "ps")...).CombinedOutput()
		return string(out), err
	}
	if out, err := as("--groups", group.Gid); err != nil || !strings.Contains(out, "app:alice") {
		t.Errorf("a member of the group: %s, %v", out, err)
	}
	if out, err := as("--clear-groups"); err == nil || !strings.Contains(out, "no permission") {
		t.Errorf("somebody else: %s, %v", out, err)
	}
}
