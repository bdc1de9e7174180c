package examples

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// testChat talks in the room that websocket-chat's README has opened: in a browser and through a WebSocket, while the app
// dozes and sleeps.
func testChat(t *testing.T, s *harness.Server) {
	const alice, bob = "chat:alice", "chat:bob"
	page := openPage(t, "http://"+harness.Host(alice)+":8080/")
	page.says("#state", "connected")
	page.says("#messages", "curl: wake up")

	friend := dialChat(t, s, alice, 2)
	stranger := dialChat(t, s, bob, 0)
	friend.send("k1", "friend", "<b>hi</b>")
	friend.send("k1", "friend", "sent twice")
	friend.want("friend: <b>hi</b>")
	page.says("#messages", "friend: <b>hi</b>") // text, not HTML
	page.write("hello from the page")
	friend.want("somebody: hello from the page")

	// In a doze the sockets stay, and a message thaws it.
	e := example{folder: "websocket-chat"}
	e.rest(t, s, "doze_timeout = \"300ms\"\n")
	s.Await(alice, tenant.Dozing)
	before := s.Get(alice)
	page.write("are you frozen?")
	friend.want("somebody: are you frozen?")
	if got := s.Get(alice); got.Wakes != before.Wakes || got.Thaws == before.Thaws {
		t.Errorf("a message to a dozing app: got %d wakes and %d thaws, had %d and %d", got.Wakes, got.Thaws, before.Wakes, before.Thaws)
	}

	// Sleep ends them. The page looks whether the app runs, which wakes nobody.
	e.rest(t, s, "")
	stop(t, s, alice)
	friend.ended(websocket.StatusGoingAway)
	page.says("#state", "asleep")
	looks := s.Get(alice).Unwoken["head"]
	page.await("the page looks again", func() bool { return s.Get(alice).Unwoken["head"] > looks })
	if got := s.Get(alice); got.State != tenant.Asleep {
		t.Errorf("with an open page: got %v, want it asleep", got.State)
	}
	// Somebody else wakes it: the page comes back by itself and has what it missed.
	if resp, err := s.Do(t.Context(), http.MethodPost, alice, "/messages", `{"key": "k2", "name": "bot", "text": "good morning"}`); err != nil || resp.Status != 200 {
		t.Fatalf("POST /messages: got %v, %v", resp, err)
	}
	page.says("#messages", "bot: good morning")
	page.says("#state", "connected")
	// Its own user wakes it.
	stop(t, s, alice)
	page.says("#state", "asleep")
	page.write("me again")
	page.says("#state", "connected")
	friend = dialChat(t, s, alice, 5)
	friend.want("bot: good morning")
	friend.want("somebody: me again")
	page.await("no message is left unsent", func() bool { return page.eval("document.querySelectorAll('li.unsent').length") == 0 })
	if got := page.eval("document.querySelectorAll('li').length"); got != 7 {
		t.Errorf("the page has %v messages, want 7, each once", got)
	}
	stranger.send("k1", "stranger", "only bob's")
	stranger.want("stranger: only bob's")

	// A page of somebody else's site is not let in.
	_, resp, err := websocket.Dial(t.Context(), chatURL(alice, 0), &websocket.DialOptions{
		HTTPClient: s.HTTP, HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}},
	})
	if err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a socket of another site's page: got %v, want 403", err)
	}
	page.run("leave", chromedp.Navigate("about:blank"))
	_ = friend.conn.CloseNow()
}

func stop(t *testing.T, s *harness.Server, id string) {
	t.Helper()
	if r := s.Ten("stop", id); r.Code != 0 {
		t.Fatalf("stop: %s", r)
	}
}

func chatURL(id string, after int) string {
	return fmt.Sprintf("ws://%s:8080/chat?after=%d", harness.Host(id), after)
}

// chatter is somebody with a WebSocket.
type chatter struct {
	t    *testing.T
	ctx  context.Context // ends when a test has waited long enough
	conn *websocket.Conn
}

func dialChat(t *testing.T, s *harness.Server, id string, after int) *chatter {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*harness.Timeout)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, chatURL(id, after), &websocket.DialOptions{HTTPClient: s.HTTP})
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &chatter{t, ctx, conn}
}

func (c *chatter) send(key, name, text string) {
	c.t.Helper()
	message, err := json.Marshal(map[string]string{"key": key, "name": name, "text": text})
	if err == nil {
		err = c.conn.Write(c.ctx, websocket.MessageText, message)
	}
	if err != nil {
		c.t.Fatalf("send %q: %v", text, err)
	}
}

// want reads the next message.
func (c *chatter) want(want string) {
	c.t.Helper()
	_, text, err := c.conn.Read(c.ctx)
	var message struct{ Name, Text string }
	if err == nil {
		err = json.Unmarshal(text, &message)
	}
	if got := message.Name + ": " + message.Text; err != nil || got != want {
		c.t.Fatalf("the next message: got %q, %v, want %q", got, err, want)
	}
}

// ended waits for the end of the socket.
func (c *chatter) ended(want websocket.StatusCode) {
	c.t.Helper()
	_, text, err := c.conn.Read(c.ctx)
	if got := websocket.CloseStatus(err); got != want {
		c.t.Errorf("the socket: got %q, %v, want its end with status %d", text, err, want)
	}
}

// page is the chat's page in a browser.
type page struct {
	t   *testing.T
	ctx context.Context
}

func openPage(t *testing.T, url string) *page {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // it refuses to have one as root
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("disable-gpu", true), chromedp.WSURLReadTimeout(harness.Timeout),
	)
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stopAlloc)
	ctx, stop := chromedp.NewContext(alloc)
	t.Cleanup(stop)
	p := &page{t, ctx}
	p.run("open "+url, chromedp.Navigate(url))
	return p
}

func (p *page) run(what string, actions ...chromedp.Action) {
	p.t.Helper()
	done := make(chan error, 1) // a context that ends would close the tab: only the wait has a bound
	go func() { done <- chromedp.Run(p.ctx, actions...) }()
	select {
	case err := <-done:
		if err != nil {
			p.t.Fatalf("%s: %v", what, err)
		}
	case <-time.After(harness.Timeout):
		p.t.Fatalf("%s: not in %v", what, harness.Timeout)
	}
}

func (p *page) eval(expr string) (v any) {
	p.t.Helper()
	p.run(expr, chromedp.Evaluate(expr, &v))
	if n, ok := v.(float64); ok {
		return int(n)
	}
	return v
}

// await polls a condition.
func (p *page) await(what string, ok func() bool) {
	p.t.Helper()
	deadline := time.After(harness.Timeout)
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			p.t.Fatalf("%s: not in %v; the page says:\n%v", what, harness.Timeout, p.eval("document.body.innerText"))
		}
	}
}

// says waits until a text is to be read in an element.
func (p *page) says(selector, text string) {
	p.t.Helper()
	p.await(fmt.Sprintf("%s says %q", selector, text), func() bool {
		return p.eval(fmt.Sprintf("document.querySelector(%q).innerText.includes(%q)", selector, text)) == true
	})
}

func (p *page) write(text string) {
	p.t.Helper()
	p.run("write "+text, chromedp.SendKeys("input[name=text]", text+"\r", chromedp.ByQuery))
}
