package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

const config = `
[settings]
api_domain = true
[service.app]
command = "{bin}/testapp"
isolation = "process"
[service.web]
command = "{bin}/testapp"
isolation = "process"
`

// How many instances there are, and how many of them are awake.
const (
	registered = 1000
	awake      = 20
)

// hostile is what an app may print, and what stays text.
const hostile = `<script>document.title='pwned'</script><img src=x onerror="document.title='pwned'">`

// startMany runs a daemon with many instances.
func startMany(t *testing.T) *harness.Server {
	t.Helper()
	s := harness.New(t, harness.Options{Config: config})
	ids := make([]string, registered)
	for i := range ids {
		id := tenant.ID{Service: "app", Name: fmt.Sprintf("i%03d", i)}
		switch i {
		case registered - 1:
			id = tenant.ID{Service: "web", Name: "alice"}
		case registered - 2:
			id.Name = "alice"
		}
		ids[i] = id.String()
	}
	s.Register(ids...)
	s.Run()
	t.Cleanup(func() { // at once: one command for each takes too long
		if r := s.Ten(append([]string{"destroy", "--yes"}, ids...)...); r.Code != 0 {
			t.Errorf("destroy: %.500s", r)
		}
	})
	if r := s.Ten(append([]string{"wake"}, ids[:awake]...)...); r.Code != 0 {
		t.Fatalf("wake: %s", r)
	}
	return s
}

// row is the expression of an instance's row.
func row(id string) string { return fmt.Sprintf("document.getElementById(%q)", id) }

func rowSays(id, text string) string {
	return fmt.Sprintf("(%s||{innerText:''}).innerText.includes(%q)", row(id), text)
}

// A real browser uses the dashboard of a daemon with many instances, as an admin, as a
// tenant, on a desk and on a phone; nothing that it is shown is wrong to its console.
func TestInBrowser(t *testing.T) {
	s := startMany(t)
	_, admin := s.Token()
	tenantID, alice := s.Token("--tenant", "alice", "--allow", "wake")
	origin := fmt.Sprintf("http://localhost:%d", s.Port)
	timeList(t, s, origin, admin)
	b := newBrowser(t)
	desk := b.open(origin, 1280, 900)

	t.Run("sign in", func(t *testing.T) {
		desk.t = t
		desk.visit("/tokens")
		if got := eval[string](desk, "location.pathname"); got != "/sign-in" {
			t.Errorf("not signed in: got %s, want the sign-in page", got)
		}
		desk.run("sign in with a bad token", chromedp.SendKeys("#token", "ten_bad\r", chromedp.ByQuery), chromedp.WaitVisible("#wrong", chromedp.ByQuery))
		desk.says("#wrong", "not good")
		desk.forget("401")
		desk.run("sign in", chromedp.SendKeys("#token", admin+"\r", chromedp.ByQuery), chromedp.WaitVisible("#tokens", chromedp.ByQuery))
		if got := eval[string](desk, "document.cookie"); got != "" {
			t.Errorf("a script can read the cookie: %s", got)
		}
		if got := desk.text("body"); strings.Contains(got, admin) {
			t.Errorf("the page has the secret of the token in it")
		}
		desk.clean("sign-in")
	})
	t.Run("list", func(t *testing.T) {
		desk.t = t
		desk.visit("/")
		desk.says("#states", fmt.Sprintf("%d in all", registered))
		desk.says("#states", fmt.Sprintf("%d awake", awake))
		if got := eval[int](desk, "document.querySelectorAll('#rows tr').length"); got != 50 {
			t.Errorf("got %d rows on the first page, want 50", got)
		}
		// A state changes, by a request, without a reload.
		desk.run("mark the page", chromedp.Evaluate("window.same = true", nil))
		desk.await("i030 is asleep", rowSays("app:i030", "asleep"))
		if got := s.Fetch("app:i030", "/count"); got.Status != http.StatusOK {
			t.Fatalf("wake: %d %s", got.Status, got.Body)
		}
		desk.await("i030 is awake", rowSays("app:i030", "awake"))
		desk.says("#states", fmt.Sprintf("%d awake", awake+1))
		s.Ten("stop", "app:i030")
		desk.await("i030 is asleep again", rowSays("app:i030", "asleep"))

		// The next page, and back.
		desk.click("#next")
		desk.await("the second page", row("app:i050")+" && !"+row("app:i000"))
		desk.run("back", chromedp.NavigateBack())
		desk.await("the first page", row("app:i000")+" && !"+row("app:i050"))

		// Search as one types, and filter.
		desk.fill("#search", "alice")
		desk.await("two are found", "document.querySelectorAll('#rows tr').length == 2 && "+row("web:alice"))
		desk.run("choose a service", chromedp.Evaluate(`{ const s = document.querySelector("select[name=service]"); s.value = "web"; s.dispatchEvent(new Event("change", {bubbles: true})) }`, nil))
		desk.await("one is left", "document.querySelectorAll('#rows tr').length == 1 && "+row("web:alice"))
		if got := eval[string](desk, "location.search"); !strings.Contains(got, "search=alice") || !strings.Contains(got, "service=web") {
			t.Errorf("got %s, want a place that can be come back to", got)
		}
		desk.visit("/?state=awake")
		desk.await("the awake ones", fmt.Sprintf("document.querySelectorAll('#rows tr').length == %d", awake))
		desk.visit("/?search=" + url.QueryEscape(hostile))
		desk.says("#rows", "<script>")
		desk.clean("list")
	})
	t.Run("instance", func(t *testing.T) { instancePage(t, s, desk) })
	t.Run("tokens", func(t *testing.T) {
		desk.t = t
		desk.visit("/tokens")
		desk.fill("input[name=tenant]", "bob")
		desk.fill("input[name=description]", "<script>1</script>")
		desk.click("#tokens section button")
		desk.await("the secret is shown", "document.getElementById('secret')")
		if got := desk.text("#secret"); !strings.HasPrefix(got, "ten_") || len(got) < 50 {
			t.Errorf("got secret %q", got)
		}
		desk.says("#tokens table", "<script>1</script>")
		desk.visit("/tokens")
		if eval[bool](desk, "!!document.getElementById('secret')") {
			t.Errorf("the secret is shown twice")
		}
		desk.clean("tokens")
	})
	t.Run("other pages", func(t *testing.T) {
		desk.t = t
		desk.visit("/services")
		desk.says("#numbers-app", fmt.Sprintf("%d awake", awake))
		desk.visit("/rollouts")
		desk.says("main", "No service has release")
		desk.visit("/events")
		desk.says("#events", "token_created")
		desk.await("the events are in a table", "document.querySelectorAll('#events tr').length > 10")
		desk.clean("other pages")
	})
	t.Run("tenant", func(t *testing.T) {
		tab := b.open(origin, 1280, 900)
		tab.t = t
		tab.signIn(alice)
		tab.says("#states", "2 in all")
		if got := tab.text("header"); strings.Contains(got, "Tokens") || strings.Contains(got, "Services") || !strings.Contains(got, "Events") {
			t.Errorf("a tenant's navigation: %q", got)
		}
		tab.visit("/instances/app:alice")
		tab.says("main h1", "app:alice")
		if got := tab.text(".actions"); strings.TrimSpace(got) != "Wake" {
			t.Errorf("a tenant that may wake is offered %q", got)
		}
		tab.click(".actions button")
		tab.says("#state", "awake")
		tab.clean("a tenant's pages")
		tab.visit("/instances/app:i001")
		tab.says("main", "app:i001 is not an instance of alice")
		tab.visit("/tokens")
		tab.says("main", "this token is for looking at alice's instances")
		tab.forget("403")

		// Revoked, it is out at once: the open page says so, and the next one is the sign-in.
		tab.visit("/")
		tab.says("#states", "2 in all")
		if r := s.Ten("token", "revoke", tenantID); r.Code != 0 {
			t.Fatalf("revoke: %s", r)
		}
		tab.says("#notice", "You are signed out")
		tab.visit("/")
		if got := eval[string](tab, "location.pathname"); got != "/sign-in" {
			t.Errorf("with a revoked token: got %s, want the sign-in page", got)
		}
		tab.clean("after the token was revoked")
	})
	t.Run("phone", func(t *testing.T) {
		phone := b.open(origin, 390, 844)
		phone.t = t
		phone.signIn(admin)
		for _, path := range []string{"/", "/instances/app:i000", "/services", "/rollouts", "/events", "/tokens", "/sign-in"} {
			phone.visit(path)
			phone.await(path+" is there", "document.querySelector('h1')")
			if got := eval[int](phone, "document.documentElement.scrollWidth"); got > 390 {
				t.Errorf("%s is %d wide on a phone, want 390", path, got)
			}
		}
		phone.clean("phone")
	})
	t.Run("sign out", func(t *testing.T) {
		desk.t = t
		desk.visit("/")
		desk.click(".who button")
		desk.await("the sign-in page", "location.pathname == '/sign-in'")
		desk.visit("/events")
		if got := eval[string](desk, "location.pathname"); got != "/sign-in" {
			t.Errorf("signed out: got %s, want the sign-in page", got)
		}
		desk.clean("sign-out")
	})
}

// instancePage uses the page of an instance.
func instancePage(t *testing.T, s *harness.Server, desk *tab) {
	desk.t = t
	desk.visit("/instances/app:i002")
	desk.says("#state", "awake")
	desk.says("#why", "no timeout of its service applies")
	desk.await("charts are drawn", "document.querySelectorAll('#charts canvas').length > 0 || document.querySelector('#charts .unknown')")

	// Its log, live; what is HTML there is text here.
	s.Fetch("app:i002", "/log?out="+url.QueryEscape(hostile)+"&err=needle-1")
	desk.says("#log", hostile)
	desk.says("#log", "needle-1")
	desk.fill("#log-search", "NEEDLE")
	desk.await("only what was searched for is left", "document.querySelectorAll('#log .line').length == 1 && document.querySelector('#log mark')")
	s.Fetch("app:i002", "/log?out=chaff&err=another-needle-2")
	desk.says("#log", "another-needle-2")
	if got := desk.text("#log"); strings.Contains(got, "chaff") {
		t.Errorf("the search shows %q", got)
	}

	// The actions, and what they change, without a reload.
	desk.run("mark the page", chromedp.Evaluate("window.same = true", nil))
	for _, c := range []struct{ button, notice, state string }{
		{"stop", "app:i002 is asleep", "asleep"}, {"wake", "app:i002 is awake", "awake"}, {"restart", "was started again", "awake"},
	} {
		desk.click(".actions form[action$=" + c.button + "] button")
		desk.says("#notice", c.notice)
		desk.says("#state", c.state)
	}
	desk.fill("form[action$=pause] input[name=message]", "<b>Back at noon</b>")
	desk.click("form[action$='/pause'] button")
	desk.says("#state", "paused")
	desk.says("#why", "<b>Back at noon</b>")
	desk.click("form[action$=unpause] button")
	desk.await("it is not paused any more", "!document.getElementById('state').innerText.includes('paused')")
	desk.fill("input[name=weight]", "7")
	desk.click("form[action$=weight] button")
	desk.await("its weight is 7", "[...document.querySelectorAll('#facts dt')].some(dt => dt.innerText == 'Weight' && dt.nextElementSibling.innerText == '7')")
	desk.fill("form[action$=limits] input[name=limit-nofile]", "1234")
	desk.click("form[action$=limits] button")
	desk.says("#notice", "the limits hold")
	if r := s.Ten("limit", "app:i002"); !strings.Contains(r.Stdout, "1234") {
		t.Errorf("the limit was not set: %s", r)
	}
	if !eval[bool](desk, "window.same") {
		t.Errorf("the page was loaded again")
	}
	if got := eval[string](desk, "document.title"); strings.Contains(got, "pwned") {
		t.Errorf("what an app has printed has run")
	}
	desk.clean("instance")
	desk.fill("input[name=host]", "notes.alice.example")
	desk.click("form[action$=add-domain] button")
	desk.says(".domains", "notes.alice.example")
	desk.click("form[action$=remove-domain] button")
	desk.await("it is gone", "!document.querySelector('.domains') && document.querySelector('h1')")
	desk.clean("host names")
	// What cannot be is said.
	desk.fill("input[name=weight]", "99999")
	desk.click("form[action$=weight] button")
	desk.await("it is refused", "document.querySelector('#notice .bad')")
	desk.forget("400")
}

// timeList looks at the cookie, and at the time that the server takes for the list.
func timeList(t *testing.T, s *harness.Server, origin, secret string) {
	t.Helper()
	do := func(method, path, body string, header http.Header) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), method, origin+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		resp, err := s.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	form := http.Header{"Origin": {origin}, "Content-Type": {"application/x-www-form-urlencoded"}}
	resp := do("POST", "/sign-in", url.Values{"token": {secret}}.Encode(), form)
	cookies := resp.Cookies()
	if resp.StatusCode != http.StatusSeeOther || len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode {
		t.Fatalf("sign-in: got status %d, cookies %v, want one that is HttpOnly and SameSite=Strict", resp.StatusCode, cookies)
	}
	var times []time.Duration
	for range 20 {
		begun := time.Now()
		resp := do("GET", "/", "", http.Header{"Cookie": {cookies[0].Name + "=" + cookies[0].Value}})
		times = append(times, time.Since(begun))
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("the list: got status %d", resp.StatusCode)
		}
	}
	slices.Sort(times)
	t.Logf("the list page of %d instances, %d of them awake: %v in the middle, %v at most", registered, awake, times[len(times)/2], times[len(times)-1])
	if got := times[0]; got > 300*time.Millisecond { // some ms where nothing else runs
		t.Errorf("the fastest list page took %v, want 300 ms at most", got)
	}
}
