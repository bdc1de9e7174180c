package dashboard

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// browserTimeout bounds each thing that is waited for.
const browserTimeout = 30 * time.Second

// browser is a running Chromium; its tabs are apart from each other.
type browser struct {
	t    *testing.T
	root context.Context
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, // it refuses to have one as root
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("disable-gpu", true), chromedp.WSURLReadTimeout(browserTimeout),
	)
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), options...)
	root, stop := chromedp.NewContext(alloc)
	t.Cleanup(func() { stop(); stopAlloc() })
	if err := chromedp.Run(root); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return &browser{t, root}
}

// tab is one tab, with cookies of its own. It notes what must not happen.
type tab struct {
	t      *testing.T
	ctx    context.Context
	origin string

	mu     sync.Mutex // guards faults
	faults []string
}

func (b *browser) open(origin string, width, height int64) *tab {
	b.t.Helper()
	// By hand: chromedp wants a tab, and a context that is new has no window for one.
	executor := cdp.WithExecutor(b.root, chromedp.FromContext(b.root).Browser)
	apart, err := target.CreateBrowserContext().Do(executor)
	if err != nil {
		b.t.Fatalf("open a tab: %v", err)
	}
	id, err := target.CreateTarget("about:blank").WithBrowserContextID(apart).WithNewWindow(true).Do(executor)
	if err != nil {
		b.t.Fatalf("open a tab: %v", err)
	}
	ctx, stop := chromedp.NewContext(b.root, chromedp.WithTargetID(id))
	b.t.Cleanup(stop)
	tab := &tab{t: b.t, ctx: ctx, origin: origin}
	chromedp.ListenTarget(ctx, tab.hear)
	tab.run("open a tab", network.Enable(), runtime.Enable(), log.Enable(), chromedp.EmulateViewport(width, height))
	return tab
}

// hear notes what the browser complains of, and requests for anything elsewhere.
func (b *tab) hear(e any) {
	fault := ""
	switch e := e.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.APITypeError || e.Type == runtime.APITypeWarning {
			fault = fmt.Sprintf("console %s:", e.Type)
			for _, arg := range e.Args {
				fault += " " + string(arg.Value) + arg.Description
			}
		}
	case *runtime.EventExceptionThrown:
		fault = "exception: " + e.ExceptionDetails.Error()
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError || e.Entry.Level == log.LevelWarning {
			fault = fmt.Sprintf("%s %s: %s %s", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Scheme+"://"+u.Host != b.origin {
			fault = "asked elsewhere: " + e.Request.URL
		}
	case *page.EventJavascriptDialogOpening:
		go func() { // the browser waits for an answer
			_ = chromedp.Run(b.ctx, page.HandleJavaScriptDialog(true))
		}()
		if e.Type != page.DialogTypeConfirm {
			fault = "a page has opened a dialog: " + e.Message
		}
	}
	if fault != "" {
		b.mu.Lock()
		b.faults = append(b.faults, fault)
		b.mu.Unlock()
	}
}

// clean fails the test for what the tab has noted, and forgets it.
func (b *tab) clean(where string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fault := range b.faults {
		b.t.Errorf("%s: %s", where, fault)
	}
	b.faults = nil
}

// forget forgets what was noted where it was meant to happen; each has to have the word.
func (b *tab) forget(word string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fault := range b.faults {
		if !strings.Contains(fault, word) {
			b.t.Errorf("beside what was meant to happen: %s", fault)
		}
	}
	b.faults = nil
}

func (b *tab) run(what string, actions ...chromedp.Action) {
	b.t.Helper()
	// A context that ends would close the tab: only the wait has a bound.
	done := make(chan error, 1)
	go func() { done <- chromedp.Run(b.ctx, actions...) }()
	select {
	case err := <-done:
		if err != nil {
			b.t.Fatalf("%s: %v", what, err)
		}
	case <-time.After(browserTimeout):
		b.t.Fatalf("%s: not in %v; the page says:\n%.3000s", what, browserTimeout, b.text("body"))
	}
}

// visit loads a page.
func (b *tab) visit(path string) {
	b.t.Helper()
	b.run("visit "+path, chromedp.Navigate(b.origin+path))
}

// eval gives the value of an expression.
func eval[T any](b *tab, expr string) T {
	b.t.Helper()
	var v T
	b.run(expr, chromedp.Evaluate(expr, &v))
	return v
}

// text gives what is to be read in the first element that a selector finds.
func (b *tab) text(selector string) string {
	var text string
	ctx, cancel := context.WithTimeout(b.ctx, browserTimeout)
	defer cancel()
	_ = chromedp.Run(ctx, chromedp.Evaluate(fmt.Sprintf("(document.querySelector(%q)||{innerText:''}).innerText", selector), &text))
	return text
}

// await waits until an expression is true.
func (b *tab) await(what, expr string) {
	b.t.Helper()
	deadline := time.Now().Add(browserTimeout)
	for {
		var ok bool
		err := chromedp.Run(b.ctx, chromedp.Evaluate("!!("+expr+")", &ok))
		if ok && err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("%s: not in %v (%s; %v); the page says:\n%.3000s", what, browserTimeout, expr, err, b.text("body"))
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// says waits until the element has the text.
func (b *tab) says(selector, want string) {
	b.t.Helper()
	b.await(fmt.Sprintf("%s says %q", selector, want),
		fmt.Sprintf("(document.querySelector(%q)||{innerText:''}).innerText.includes(%q)", selector, want))
}

// fill types into a field, after what is there was taken away.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.run("fill "+selector, chromedp.Evaluate(fmt.Sprintf("document.querySelector(%q).value = ''", selector), nil), chromedp.SendKeys(selector, text, chromedp.ByQuery))
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.run("click "+selector, chromedp.Click(selector, chromedp.ByQuery))
}

// signIn signs in with a token and waits for the list.
func (b *tab) signIn(secret string) {
	b.t.Helper()
	b.visit("/")
	b.run("sign in", chromedp.SendKeys("#token", secret+"\r", chromedp.ByQuery), chromedp.WaitVisible("#rows", chromedp.ByQuery))
}
