package dashboard_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tenement.dev/internal/api/apitest"
	"tenement.dev/internal/dashboard"
	"tenement.dev/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a dashboard over the real API, and a browser's worth of a client.
type site struct {
	t      *testing.T
	api    *apitest.Daemon
	url    string
	client *http.Client
	server *httptest.Server
}

func newSite(t *testing.T) *site {
	t.Helper()
	d := apitest.Start(t, filepath.Join(t.TempDir(), "api.sock"))
	dash := dashboard.New(dashboard.Options{API: d.API, Last: d.Events.Last, Instances: d.Instances, Log: slog.New(slog.DiscardHandler)})
	server := httptest.NewServer(dash)
	t.Cleanup(server.Close)
	s := &site{t: t, api: d, url: server.URL, server: server}
	s.client = s.newClient()
	return s
}

// newClient is a browser that has not been here before.
func (s *site) newClient() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &http.Client{
		Jar: jar, Transport: s.server.Client().Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (s *site) token(want tenant.Token) (id, secret string) {
	s.t.Helper()
	made, secret, err := s.api.Tokens.Create(s.t.Context(), want)
	if err != nil {
		s.t.Fatal(err)
	}
	return made.ID, secret
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

func (s *site) do(method, path string, form url.Values, header ...string) answer {
	s.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (s *site) want(status int, got answer) answer {
	s.t.Helper()
	if got.status != status {
		s.t.Errorf("got status %d, want %d: %.600s", got.status, status, got.body)
	}
	return got
}

func (s *site) signIn(secret string) {
	s.t.Helper()
	s.want(http.StatusSeeOther, s.do("POST", "/sign-in", url.Values{"token": {secret}}))
}

var wordField = regexp.MustCompile(`name="word" value="([^"]+)"`)

// word is the session's own, as its pages have it.
func (s *site) word() string {
	s.t.Helper()
	found := wordField.FindStringSubmatch(s.want(200, s.do("GET", "/", nil)).body)
	if found == nil {
		s.t.Fatal("the list has no form with the session's word")
	}
	return found[1]
}

func (s *site) signedOut(what string) {
	s.t.Helper()
	if got := s.do("GET", "/", nil); got.status != http.StatusSeeOther || !strings.HasPrefix(got.header.Get("Location"), "/sign-in") {
		s.t.Errorf("%s: got status %d %s, want to be sent to the sign-in page", what, got.status, got.header.Get("Location"))
	}
}

func TestHeaders(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/sign-in", "/", "/assets/app.js", "/assets/nosuch", "/nosuch"} {
		got := s.do("GET", path, nil)
		policy := got.header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") ||
			got.header.Get("X-Frame-Options") != "DENY" || got.header.Get("X-Content-Type-Options") != "nosniff" || got.header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: got %v", path, got.header)
		}
		if strings.Contains(got.body, "<script>") || strings.Contains(got.body, " style=") || strings.Contains(got.body, " onclick=") {
			t.Errorf("%s has a script or a style in its text", path)
		}
	}
	if got := s.do("GET", "/assets/app.js", nil); got.header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/javascript") {
		t.Errorf("an asset without its version: got %v", got.header)
	}
	if got := s.do("GET", "/assets/htmx.LICENSE", nil); got.status != 404 {
		t.Errorf("what is no asset: got %d", got.status)
	}
}

func TestSignIn(t *testing.T) {
	s := newSite(t)
	id, secret := s.token(tenant.Token{})
	s.signedOut("before")
	s.want(401, s.do("POST", "/sign-in", url.Values{"token": {"ten_" + strings.Repeat("a", 52)}}))
	s.want(401, s.do("POST", "/sign-in", url.Values{"token": {"bad\x00\r\ntoken"}}))
	for _, from := range []string{"cross-site", "same-site", "none"} { // a tenant's page is on the same site
		s.want(403, s.do("POST", "/sign-in", url.Values{"token": {secret}}, "Sec-Fetch-Site", from))
	}
	s.signedOut("after bad tokens")

	for next, want := range map[string]string{"": "/", "/events": "/events", "//evil.example/": "/", "https://evil.example": "/", `/\evil.example`: "/"} {
		got := s.want(http.StatusSeeOther, s.do("POST", "/sign-in", url.Values{"token": {secret}, "next": {next}}))
		if at := got.header.Get("Location"); at != want {
			t.Errorf("next=%q: got %q, want %q", next, at, want)
		}
		cookie := got.header.Get("Set-Cookie")
		if !strings.Contains(cookie, "; HttpOnly") || !strings.Contains(cookie, "; SameSite=Strict") || !strings.Contains(cookie, "Path=/") || strings.Contains(cookie, "Domain") || strings.Contains(cookie, secret) {
			t.Errorf("got cookie %q", cookie)
		}
	}
	if got := s.want(200, s.do("GET", "/tokens", nil)); strings.Contains(got.body, secret) || !strings.Contains(got.body, id) {
		t.Errorf("the page of tokens: %s", got.body)
	}
	old := s.client.Jar
	s.want(http.StatusSeeOther, s.do("POST", "/sign-out", url.Values{"word": {s.word()}}))
	s.signedOut("after the sign-out")
	s.client.Jar = old
	s.signedOut("with the old cookie")
}

// Failures are counted by address, by the API itself; a good token is taken all the same.
func TestManyBadTokens(t *testing.T) {
	s := newSite(t)
	_, secret := s.token(tenant.Token{})
	var got answer
	for range 25 {
		got = s.do("POST", "/sign-in", url.Values{"token": {"ten_" + strings.Repeat("b", 52)}})
	}
	if got.status != http.StatusTooManyRequests || got.header.Get("Retry-After") == "" {
		t.Errorf("after many: got %d %v, want 429 with Retry-After", got.status, got.header)
	}
	s.signIn(secret)
}

// What changes something is a POST from a page of this origin with the session's word.
func TestForgery(t *testing.T) {
	s := newSite(t)
	_, secret := s.token(tenant.Token{})
	alice := tenant.ID{Service: "notes", Name: "alice"}
	s.api.Instances.Put(tenant.Snapshot{ID: alice})
	s.signIn(secret)
	word := s.word()
	const wake = "/instances/notes:alice/wake"
	for what, got := range map[string]answer{
		"without the word":      s.do("POST", wake, url.Values{}),
		"with another word":     s.do("POST", wake, url.Values{"word": {"x" + word}}),
		"the word in the query": s.do("POST", wake+"?word="+word, url.Values{}),
		"from another site":     s.do("POST", wake, url.Values{"word": {word}}, "Sec-Fetch-Site", "cross-site"),
		"from a tenant's page":  s.do("POST", wake, url.Values{"word": {word}}, "Sec-Fetch-Site", "same-site"),
		"from another origin":   s.do("POST", wake, url.Values{"word": {word}}, "Sec-Fetch-Site", "", "Origin", "http://evil.example"),
		"from nowhere":          s.do("POST", wake, url.Values{"word": {word}}, "Sec-Fetch-Site", ""),
	} {
		if got.status != http.StatusForbidden {
			t.Errorf("%s: got %d, want 403", what, got.status)
		}
	}
	if got, err := s.api.Instances.Get(alice); err != nil || got.State != tenant.Asleep {
		t.Errorf("got %v, %v, want it asleep still", got.State, err)
	}
	s.want(http.StatusNotFound, s.do("GET", wake, nil))
	s.want(http.StatusSeeOther, s.do("POST", wake, url.Values{"word": {word}}))
	got := s.want(200, s.do("POST", wake, url.Values{"word": {word}}, "Sec-Fetch-Site", "", "Origin", s.url, "HX-Request", "true"))
	if !strings.Contains(got.body, "notes:alice is awake") {
		t.Errorf("got %q", got.body)
	}
}

// A tenant's token shows and does what the API lets it, and is out when it is revoked.
func TestTenant(t *testing.T) {
	s := newSite(t)
	id, secret := s.token(tenant.Token{Tenant: "alice", Allow: []tenant.Permission{tenant.MayWake}})
	for _, name := range []string{"alice", "bob"} {
		s.api.Instances.Put(tenant.Snapshot{ID: tenant.ID{Service: "notes", Name: name}, Unit: "tenement-notes@" + name + ".service"})
	}
	s.signIn(secret)
	word := s.word()
	if got := s.want(200, s.do("GET", "/", nil)).body; !strings.Contains(got, "/instances/notes:alice") || strings.Contains(got, "notes:bob") || strings.Contains(got, "/tokens") {
		t.Errorf("a tenant's list: %s", got)
	}
	page := s.want(200, s.do("GET", "/instances/notes:alice", nil)).body
	if !strings.Contains(page, "/wake") || strings.Contains(page, "/stop") || strings.Contains(page, "/limits") || strings.Contains(page, "/restart") {
		t.Errorf("a tenant's page offers what its token does not allow: %s", page)
	}
	for _, path := range []string{"/instances/notes:bob", "/instances/notes:bob/samples", "/instances/notes:bob/live", "/services", "/rollouts", "/tokens", "/services/live"} {
		s.want(403, s.do("GET", path, nil))
	}
	for _, path := range []string{"/instances/notes:bob/wake", "/instances/notes:alice/stop", "/instances/notes:alice/restart", "/instances/notes:alice/limits", "/tokens", "/services/notes/pause"} {
		s.want(403, s.do("POST", path, url.Values{"word": {word}, "limit-tasks": {"5"}}))
	}
	s.want(http.StatusSeeOther, s.do("POST", "/instances/notes:alice/wake", url.Values{"word": {word}}))

	// What is open ends with the token.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	seen := func(word string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), word) {
				return
			}
		}
		t.Errorf("the stream has ended without %q: %v", word, lines.Err())
	}
	seen(`id="notes:alice"`)
	if err := s.api.Tokens.Revoke(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	seen("You are signed out")
	seen("event: bye")
	s.signedOut("with a revoked token")
}

// What tenants, apps and visitors say is text.
func TestMarkupIsText(t *testing.T) {
	s := newSite(t)
	_, secret := s.token(tenant.Token{Description: `<script>alert("description")</script>`})
	const hostile = `<script>alert("reason")</script>`
	s.api.Instances.Put(tenant.Snapshot{
		ID: tenant.ID{Service: "notes", Name: "alice"}, State: tenant.Failed, Reason: hostile, Release: hostile, Paused: &tenant.Pause{Message: hostile},
	})
	s.signIn(secret)
	for _, path := range []string{
		"/", "/instances/notes:alice", "/tokens", "/?search=" + url.QueryEscape(hostile), "/?service=" + url.QueryEscape(hostile),
		"/instances/notes:alice?search=" + url.QueryEscape(`"><script>alert(1)</script>`), "/instances/" + url.PathEscape(hostile), "/sign-in?next=" + url.QueryEscape("/"+hostile),
	} {
		if got := s.do("GET", path, nil).body; strings.Contains(got, "<script>") || !strings.Contains(got, "<html") {
			t.Errorf("%s: got markup of others: %s", path, got)
		}
	}
}

// A rollout is begun, shown, and sent back by its forms.
func TestRollout(t *testing.T) {
	s := newSite(t)
	_, secret := s.token(tenant.Token{})
	s.api.Instances.Put(tenant.Snapshot{ID: tenant.ID{Service: "notes", Name: "alice"}, Release: "v1"})
	s.signIn(secret)
	word := s.word()
	if got := s.want(200, s.do("GET", "/rollouts", nil)).body; !strings.Contains(got, "There was none yet") || !strings.Contains(got, `action="/services/notes/rollout"`) {
		t.Errorf("before: %s", got)
	}
	form := url.Values{"word": {word}, "release": {"v2"}, "canary": {"5%"}, "batch": {"3"}, "pause": {"7s"}}
	s.want(http.StatusSeeOther, s.do("POST", "/services/notes/rollout", form))
	if got := s.want(200, s.do("GET", "/rollouts", nil)).body; !strings.Contains(got, "<b>v2</b>") || !strings.Contains(got, "/services/notes/rollback-rollout") {
		t.Errorf("afterwards: %s", got)
	}
	s.want(http.StatusSeeOther, s.do("POST", "/services/notes/rollback-rollout", url.Values{"word": {word}}))
	form.Set("canary", "much%")
	s.want(http.StatusBadRequest, s.do("POST", "/services/notes/rollout", form))
	for action, want := range map[string]int{"pause": http.StatusSeeOther, "unpause": http.StatusSeeOther, "nosuch": http.StatusNotFound} {
		s.want(want, s.do("POST", "/services/notes/"+action, url.Values{"word": {word}, "for": {"30m"}}))
	}
}

// Each form of an instance's page does what the API has for it, and says what is wrong
// with what is in it.
func TestActions(t *testing.T) {
	s := newSite(t)
	_, secret := s.token(tenant.Token{})
	alice := tenant.ID{Service: "notes", Name: "alice"}
	s.api.Instances.Put(tenant.Snapshot{ID: alice})
	s.signIn(secret)
	for _, path := range []string{"/instances/notes:zed", "/instances/notes:zed/live"} {
		got := s.want(http.StatusNotFound, s.do("GET", path, nil)).body
		if strings.Contains(got, "ten spawn") || !strings.Contains(got, "there is no instance notes:zed") || !strings.Contains(got, "the list of instances") {
			t.Errorf("%s: got %s, want what to do here", path, got)
		}
	}
	word := s.word()
	for _, c := range []struct {
		action string
		form   url.Values
		status int
		says   string
	}{
		{"wake", nil, 200, "notes:alice is awake"},
		{"restart", nil, 200, "was started again"},
		{"doze", nil, 200, "notes:alice dozes"},
		{"stop", nil, 200, "notes:alice is asleep"},
		{"doze", nil, 409, "is asleep: only one that is awake can doze"},
		{"keep-awake", url.Values{"for": {"2h"}}, 200, "is kept awake"},
		{"keep-awake", url.Values{"for": {"soon"}}, 400, "is not a time"},
		{"weight", url.Values{"weight": {"50"}}, 200, "the weight is set"},
		{"weight", url.Values{"weight": {""}}, 200, "the weight is set"},
		{"weight", url.Values{"weight": {"heavy"}}, 400, "is not a weight"},
		{"limits", url.Values{"limit-memory": {"512"}, "was-memory": {""}, "limit-tasks": {"7"}, "was-tasks": {"7"}}, 200, "the limits hold"},
		{"limits", url.Values{"limit-memory": {""}, "was-memory": {"512"}}, 200, "the limits hold"},
		{"limits", url.Values{"limit-memory": {"much"}}, 400, "is not a number"},
		{"limits", url.Values{"limit-nosuch": {"1"}}, 400, "nosuch"},
		{"limits", nil, 400, "nothing is to be changed"},
		{"pause", url.Values{"message": {"Back at noon"}, "for": {"30m"}}, 200, "is paused"},
		{"unpause", nil, 200, "not paused any more"},
		{"add-domain", url.Values{"host": {"notes.alice.example"}}, 200, ""},
		{"remove-domain", url.Values{"host": {"notes.alice.example"}}, 200, ""},
		{"remove-domain", url.Values{"host": {"notes.alice.example"}}, 404, ""},
		{"nosuch", nil, 404, "no such page"},
		{"destroy", url.Values{"name": {"alice"}}, 400, "the name does not fit"},
		{"destroy", url.Values{"name": {"notes:alice"}}, 200, ""},
		{"wake", nil, 404, "notes:alice"},
	} {
		form := url.Values{"word": {word}}
		for name, list := range c.form {
			form[name] = list
		}
		got := s.do("POST", "/instances/notes:alice/"+c.action, form, "HX-Request", "true")
		if got.status != c.status || !strings.Contains(got.body, c.says) || strings.Contains(got.body, "<html") {
			t.Errorf("%s %v: got %d %s, want %d and %q in a part of a page", c.action, c.form, got.status, got.body, c.status, c.says)
		}
	}
}
