package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/templates"
)

// progressPath tells the waiting page when its instance is awake, by an event. Only
// requests for events are answered there by the proxy.
const progressPath = "/.well-known/tenement/waking"

// keepTime bounds how long a wake is waited for on behalf of somebody who was given the
// waiting page.
const keepTime = 2 * time.Minute

// errShown is why a request has stopped waiting that was answered with the waiting page.
var errShown = errors.New("the waiting page is shown")

// acquire acquires the instance for a request. Somebody who looks at a browser is not
// kept looking at nothing: when the wake takes long they get a page that opens the site
// when it is there, and shown is true. Programs are held.
func (p *Proxy) acquire(w http.ResponseWriter, r *http.Request, id tenant.ID, v tenant.Visit) (endpoint tenant.Endpoint, release func(), shown bool, err error) {
	ctx := tenant.WithCause(r.Context(), tenant.CauseRequest(r.Method))
	patience := time.Duration(0)
	if v.Priority == tenant.PriorityPerson && isNavigation(r) {
		patience = p.patience(id.Service)
	}
	if patience <= 0 {
		endpoint, release, err = p.waker.Acquire(ctx, id, v)
		return endpoint, release, false, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(patience, func() {
		p.kept.keep(p, id, v)
		cancel(errShown)
	})
	endpoint, release, err = p.waker.Acquire(ctx, id, v)
	timer.Stop()
	if err != nil && errors.Is(context.Cause(ctx), errShown) && r.Context().Err() == nil {
		p.showWaiting(w, r, id)
		return nil, nil, true, nil
	}
	return endpoint, release, false, err
}

// isNavigation reports whether a browser is about to show the answer as a page: one
// that is asked for again is none the worse.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet || r.Header.Get("Upgrade") != "" {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate" // Fetch Metadata: not an image, nor a script's request
	}
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

func (p *Proxy) showWaiting(w http.ResponseWriter, r *http.Request, id tenant.ID) {
	page := templates.Page{
		Status: http.StatusServiceUnavailable, Code: "waking", Title: "Starting", Text: "This page opens by itself in a moment.",
		RequestID: requestID(r), Host: r.Host, RetryAfter: 2, Waiting: true, Nonce: rand.Text(), Progress: progressPath,
	}
	body := p.render(w, page, id.Service,
		"default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; script-src 'nonce-"+page.Nonce+"'")
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Retry-After", "2")
	h.Set("Tenement-State", tenant.Waking.String())
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write(body) // the client may have gone
}

// wantsProgress reports whether the request is the waiting page's.
func wantsProgress(r *http.Request) bool {
	return r.URL.Path == progressPath && r.Method == http.MethodGet && r.Header.Get("Accept") == "text/event-stream"
}

// serveProgress sends an event when the instance is awake, or will not be.
func (p *Proxy) serveProgress(w http.ResponseWriter, r *http.Request, id tenant.ID) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	if err := control.Flush(); err != nil {
		return
	}
	_, release, err := p.waker.Acquire(r.Context(), id, tenant.Visit{Priority: tenant.PriorityPerson})
	if err == nil {
		release()
	}
	// Either way the page is to ask again: it gets the site, or the reason.
	fmt.Fprint(w, "event: settled\ndata:\n\n")
	_ = control.Flush()
}

// keeper waits for wakes whose first visitors look at the waiting page: a wake that
// nobody waits for would not begin.
type keeper struct {
	wg sync.WaitGroup
	mu sync.Mutex // guards ids
	// ids are the instances that are waited for.
	ids map[tenant.ID]bool
}

// keep waits for an instance to wake, unless that is done already.
func (k *keeper) keep(p *Proxy, id tenant.ID, v tenant.Visit) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ids[id] {
		return
	}
	select {
	case <-p.leaving:
		return
	default:
	}
	k.ids[id] = true
	k.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), keepTime)
		defer cancel()
		done := make(chan struct{})
		defer close(done)
		go func() {
			select {
			case <-p.leaving:
				cancel()
			case <-done:
			}
		}()
		if _, release, err := p.waker.Acquire(ctx, id, v); err == nil {
			release()
		}
		k.mu.Lock()
		delete(k.ids, id)
		k.mu.Unlock()
	})
}
