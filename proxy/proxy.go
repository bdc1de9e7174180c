package proxy

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/templates"
)

// Waker is the proxy's whole contract with the rest of the program.
type Waker interface {
	// Acquire joins or begins a wake and counts the request in; release must be
	// called exactly once, when the app has sent all of its answer. v says who waits: it decides about the turn,
	// and whether to wake at all. Errors are *tenant.Error, and *tenant.Unwoken where
	// the instance rests and is not woken for the visit.
	Acquire(ctx context.Context, id tenant.ID, v tenant.Visit) (e tenant.Endpoint, release func(), err error)
	// AcquireAwake is Acquire where that neither waits nor fails; else ok is false, and
	// nothing has been done. last is nil, or what it gave the caller before and nobody uses
	// any more: that may be given again.
	AcquireAwake(id tenant.ID, v tenant.Visit, last tenant.Endpoint) (e tenant.Endpoint, release func(), ok bool)
}

// Router chooses instances for requests to a service's own host name.
type Router interface {
	// Route gives the instance for the next request: prefer, the name of one, if the
	// service is sticky and it may be chosen, and none of tried. Errors are *tenant.Error.
	Route(service, prefer string, tried []tenant.ID) (id tenant.ID, sticky bool, err error)
	// Domain gives the instance that was given a host name of its own; host is in lower
	// case and has no trailing dot.
	Domain(host string) (tenant.ID, bool)
}

// Options is what a Proxy needs.
type Options struct {
	// Domain is the base domain, such as "example.com", and Also are further ones.
	Domain string
	Also   []string
	Waker  Waker
	Router Router
	// Trusted says whether the X-Forwarded-* headers of a client are believed, since it
	// is a proxy too; nil is none.
	Trusted func(netip.Addr) bool
	// Patience says how long somebody with a browser waits for an instance of a service
	// before they get a page that tells them so, 0 for as long as it takes; nil is that.
	Patience func(service string) time.Duration
	// Pages gives a service's own pages for errors and waiting, nil for none; it may be nil.
	Pages func(service string) *templates.Pages
	// Known says whether a host is served here; nil is none.
	Known func(host string) bool
	// Access logs requests; nil logs none.
	Access AccessLog
	// Root gives what serves a request to the base domain itself, nil where nothing does;
	// it may be nil itself.
	Root func(*http.Request) http.Handler
	// Observer is told of requests; it may be nil.
	Observer Observer
	// Answered is told of each answer of an instance, and with a 5xx status of each that
	// should have come from it and did not. It must not wait; nil is nobody.
	Answered func(id tenant.ID, status int)
	Log      *slog.Logger
}

// Proxy is the http.Handler for all host names.
type Proxy struct {
	domains  []string // the first is the one that people are told
	waker    Waker
	router   Router
	trusted  func(netip.Addr) bool
	known    func(host string) bool
	root     func(*http.Request) http.Handler
	patience func(service string) time.Duration
	observer Observer // or nil
	pages    func(service string) *templates.Pages
	answered func(id tenant.ID, status int)
	kept     keeper
	failures *quiet
	access   AccessLog // or nil
	log      *slog.Logger
	hop      string // marks requests that have been through this proxy
	// stall is how long a client may take nothing of an answer that is not all there.
	stall   time.Duration
	direct  bool // what comes through net/http may go to the app past the reverse proxy
	pools   *pools
	agents  *agentKinds
	reverse *httputil.ReverseProxy

	upgrades atomic.Int64 // connections that speak another protocol now
	parting  atomic.Bool  // every answer is to be the last one of its connection
	leaving  chan struct{}
	leave    func() // closes leaving, which ends streams
}

// New makes a Proxy.
func New(o Options) *Proxy {
	p := &Proxy{
		waker:    o.Waker,
		router:   o.Router,
		trusted:  o.Trusted,
		known:    o.Known,
		root:     o.Root,
		patience: o.Patience,
		answered: o.Answered,
		failures: newQuiet(o.Log),
		access:   o.Access,
		observer: o.Observer,
		pages:    o.Pages,
		kept:     keeper{ids: map[tenant.ID]bool{}},
		log:      o.Log,
		hop:      rand.Text(),
		stall:    answerStall,
		pools:    newPools(),
		agents:   newAgentKinds(),
	}
	for _, domain := range append([]string{o.Domain}, o.Also...) {
		p.domains = append(p.domains, strings.TrimSuffix(strings.ToLower(domain), "."))
	}
	if p.trusted == nil {
		p.trusted = func(netip.Addr) bool { return false }
	}
	if p.known == nil {
		p.known = func(string) bool { return false }
	}
	if p.root == nil {
		p.root = func(*http.Request) http.Handler { return nil }
	}
	if p.pages == nil {
		p.pages = func(string) *templates.Pages { return nil }
	}
	if p.answered == nil {
		p.answered = func(tenant.ID, int) {}
	}
	if p.patience == nil {
		p.patience = func(string) time.Duration { return 0 }
	}
	p.leaving = make(chan struct{})
	p.leave = sync.OnceFunc(func() { close(p.leaving) })
	p.reverse = &httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      p.pools,
		ModifyResponse: p.modifyResponse,
		ErrorHandler:   p.forwardFailed,
		BufferPool:     newBuffers(),
		FlushInterval:  -1, // what the app has sent, the client gets
		ErrorLog:       slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return p
}

// Run closes the connections to instances that are not used any more, until ctx
// ends.
func (p *Proxy) Run(ctx context.Context) error {
	defer p.kept.wg.Wait()
	defer p.leave()
	var quiet sync.WaitGroup
	quiet.Go(func() { p.failures.run(ctx) })
	defer quiet.Wait()
	return p.pools.run(ctx)
}

// Rest closes the connections to an instance that no request uses.
func (p *Proxy) Rest(id tenant.ID) { p.pools.rest(id) }

// hopHeader tells requests that come round again from new ones: an instance may hand
// out a connection that leads back to this proxy.
const hopHeader = "Tenement-Hop"

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{ResponseWriter: w, begun: time.Now(), stall: p.stall, parting: &p.parting, old: !r.ProtoAtLeast(1, 1)}
	defer p.over(a)
	p.serve(a, r)
	a.returned = true
}

// over tells of a request that is over.
func (p *Proxy) over(a *answer) {
	p.logAnswer(a)
	if p.observer != nil {
		p.observer.Request(a.service, a.served())
	}
}

// serve finds the instance for a request.
func (p *Proxy) serve(w *answer, r *http.Request) {
	p.identify(w, r)
	if r.Header.Get(hopHeader) == p.hop {
		p.write(w, r, http.StatusLoopDetected, &tenant.Error{
			Code: "loop", Op: "route",
			Msg:  "this request has been here before",
			Hint: "an instance must not answer through its own host name",
		})
		return
	}
	if p.refuse(w, r) {
		return
	}
	withoutTunnels(r.Header)
	id, kind := ParseHost(r.Host, p.domains...)
	w.service = id.Service
	switch kind {
	case Instance:
		p.serveInstance(w, r, id)
	case Service:
		p.serveService(w, r, id.Service)
	case Root:
		if h := p.root(r); h != nil {
			h.ServeHTTP(w, r)
			return
		}
		p.fail(w, r, &tenant.Error{
			Code: tenant.CodeNotFound, Op: "route",
			Msg:  "this is Tenement; nothing is served here",
			Hint: "instances are at NAME.SERVICE." + p.domains[0],
		})
	case Malformed:
		p.fail(w, r, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "route",
			Msg:  "this host name cannot be an instance's",
			Hint: "names have lower-case letters, digits and inner hyphens",
		})
	default:
		p.serveDomain(w, r)
	}
}

func (p *Proxy) serveInstance(w *answer, r *http.Request, id tenant.ID) {
	p.record(w, r, id)
	if wantsProgress(r) {
		p.serveProgress(w, r, id)
		return
	}
	endpoint, release, shown, err := p.acquire(w, r, id, p.classify(r))
	switch {
	case shown:
	case err != nil:
		p.fail(w, r, err)
	default:
		p.forward(w, r, id, endpoint, release)
	}
}
