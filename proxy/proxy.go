package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
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
	direct   bool   // what comes through net/http may go to the app past the reverse proxy
	pools    *pools
	agents   *agentKinds
	reverse  *httputil.ReverseProxy

	upgrades atomic.Int64 // connections that speak another protocol now
	leaving  chan struct{}
	leave    func() // closes leaving
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
	a := &answer{ResponseWriter: w, begun: time.Now()}
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

// visit is what one request carries through the reverse proxy.
type visit struct {
	in       *http.Request // as it came
	id       tenant.ID
	endpoint tenant.Endpoint
	acquired time.Time
	// answered is when the head of the app's answer was there.
	answered time.Time
	// stream: the answer has no foreseeable end.
	stream bool
	meter  *tenant.Meter
	// local: the client is on this machine.
	local bool
	// to is where the answer goes, and headers those that it has already: informational
	// answers take them away.
	to      http.ResponseWriter
	headers http.Header
	// first is what the first attempt has come to, where the fast path has made it, at the
	// given generation of the endpoint.
	first      func(*http.Request) (*http.Response, error)
	generation uint64
	// release counts the request out; nil when that is done.
	release func()
	body    appBody
}

// restore gives the answer its own headers.
func (v *visit) restore() {
	maps.Copy(v.to.Header(), v.headers)
	v.to.Header()["Content-Type"] = nil // or the server guesses one where the app names none
}

type visitKey struct{}

func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
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

// forward passes a request on to the instance that it was acquired from.
func (p *Proxy) forward(w *answer, r *http.Request, id tenant.ID, endpoint tenant.Endpoint, release func()) {
	w.chose(id, endpoint)
	delete(w.Header(), requestIDHeader) // modifyResponse has it
	meter := endpoint.Meter()
	meter.Request()
	v := &w.visit
	v.in, v.id, v.endpoint, v.release, v.meter, v.to = r, id, endpoint, release, meter, w
	v.acquired, v.local = time.Now(), fromLoopback(r)
	defer v.countOut()
	if done, tried := p.pass(w, r); !done {
		p.passOdd(w, r, tried)
	}
}

// passOdd passes a request on by the reverse proxy, and closes the connection behind it that
// was tried before, if there is one.
func (p *Proxy) passOdd(w *answer, r *http.Request, tried net.Conn) {
	v := &w.visit
	if tried != nil {
		defer tried.Close()
	}
	v.headers = w.Header().Clone()
	defer p.pools.used(v.id)
	if body := bodyOf(r); body != nil {
		body.meter = v.meter
	}
	p.reverse.ServeHTTP(w, r.WithContext(boundInformational(context.WithValue(r.Context(), visitKey{}, v))))
}

// rewrite prepares the request to the app: everything as the client sent it, but for
// hop-by-hop headers and X-Forwarded-*, which are ours.
func (p *Proxy) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL.Scheme = "http"
	r.Out.URL.Host = "app" // one pool is one app: the name is of no use
	r.Out.Host = r.In.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	// The path as it was written, where net/url would write it otherwise.
	if path, _, _ := strings.Cut(r.In.RequestURI, "?"); strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") {
		r.Out.URL.Opaque = path
	}
	p.setForwarded(r)
	r.Out.Header.Set(hopHeader, p.hop)
	r.Out.Header.Del(tenant.ScheduleHeader) // only the daemon itself says that
	withoutDoubles(r.Out.Header)
	p.passTrailers(r)
	if _, ok := r.In.Header["User-Agent"]; !ok {
		r.Out.Header.Set("User-Agent", "") // or the transport would make one up
	}
}

// passTrailers passes on the trailers that the client has announced.
func (p *Proxy) passTrailers(r *httputil.ProxyRequest) {
	body := bodyOf(r.In)
	maps.DeleteFunc(r.Out.Trailer, func(name string, _ []string) bool { return body == nil || ours(name) })
	if len(r.Out.Trailer) == 0 {
		r.Out.Trailer = nil
		return
	}
	body.atEnd = func() {
		for name := range r.Out.Trailer {
			r.Out.Trailer[name] = r.In.Trailer[name]
		}
	}
}

// modifyResponse sees each response before it goes to the client.
func (p *Proxy) modifyResponse(resp *http.Response) error {
	v := visitOf(resp.Request.Context())
	if resp.StatusCode < 100 {
		return fmt.Errorf("status %03d", resp.StatusCode) // net/http takes it, but does not pass it on
	}
	v.restore()
	if body := bodyOf(v.in); body != nil {
		body.answering()
	}
	p.answered(v.id, resp.StatusCode)
	resp.Header[requestIDHeader] = v.in.Header[requestIDHeader]
	v.answered = time.Now()
	v.tellWake(resp.Header)
	p.takeKeepAwake(resp, v)
	p.asStream(resp, v)
	v.watchBody(resp)
	return nil
}

// tellWake tells a client on this machine of the wake that it has waited for.
func (v *visit) tellWake(header http.Header) {
	if woke := v.endpoint.Woke(); woke != nil && v.local {
		header.Add("Server-Timing", serverTiming(woke, time.Since(v.acquired)))
	}
}

// serverTiming tells the phases of a wake, in milliseconds (W3C Server Timing).
func serverTiming(w *tenant.Wake, firstByte time.Duration) string {
	var b strings.Builder
	add := func(name string, d time.Duration) {
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s;dur=%.3f", name, float64(d.Microseconds())/1000)
	}
	add("queue", w.Queue)
	add("load", w.Load)
	add("unit_start", w.UnitStart)
	add("app_ready", w.AppReady)
	add("health", w.Health)
	add("first_byte", firstByte)
	fmt.Fprintf(&b, ", wake;desc=%q;dur=%.3f", w.Kind, float64(w.Total.Microseconds())/1000)
	return b.String()
}

// fromLoopback reports whether the client is on this machine, and not only a proxy
// before us.
func fromLoopback(r *http.Request) bool {
	if r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
		return false
	}
	addr, ok := clientAddr(r.Context())
	return ok && addr.IsLoopback()
}

// clientAddr is the address of who has made the connection.
func clientAddr(ctx context.Context) (addr netip.Addr, ok bool) {
	conn, ok := ctx.Value(clientKey{}).(net.Conn)
	if !ok {
		return netip.Addr{}, false
	}
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return tcp.AddrPort().Addr().Unmap(), true
}

type clientKey struct{}

// ConnContext is for http.Server: it remembers the connection. It asks nothing of it, as
// to tell its client's address one behind the PROXY protocol must be read from.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

// forwardFailed answers a request that could not be passed on, or was not answered.
func (p *Proxy) forwardFailed(w http.ResponseWriter, r *http.Request, err error) {
	v := visitOf(r.Context())
	v.countOut()
	r = v.in // what went to the app has headers of ours
	v.restore()
	body := bodyOf(r)
	silent := body != nil && body.silent.Load() // to net/http that is a client that has gone away
	if r.Context().Err() != nil && !silent {
		p.log.Debug("client went away", "instance", v.id, "err", err)
		panic(http.ErrAbortHandler)
	}
	var known *tenant.Error
	var timeout net.Error
	switch {
	case silent:
		p.write(w, r, http.StatusRequestTimeout, &tenant.Error{
			Code: "body_timeout", Op: "forward", ID: v.id, Err: err,
			Msg:  fmt.Sprintf("nothing of the request's body has come for %v", body.silence),
			Hint: "a body may take as long as it likes, as long as it comes",
		})
	case errors.As(err, &known):
		p.fail(w, r, known)
	case body != nil && body.failed.Load():
		p.write(w, r, http.StatusBadRequest, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "forward", ID: v.id, Err: err,
			Msg: "the request's body is not well-formed, or not complete", Hint: "the request itself is wrong",
		})
	case errors.As(err, &timeout) && timeout.Timeout():
		p.answered(v.id, http.StatusGatewayTimeout)
		p.write(w, r, http.StatusGatewayTimeout, &tenant.Error{
			Code: "request_timeout", Op: "forward", ID: v.id, Err: err,
			Msg:  fmt.Sprintf("%s did not begin to answer within %v", v.id, v.endpoint.RequestTimeout()),
			Hint: "request_timeout of its service allows more",
		})
	default:
		p.answered(v.id, http.StatusBadGateway)
		p.write(w, r, http.StatusBadGateway, &tenant.Error{
			Code: "bad_gateway", Op: "forward", ID: v.id, Err: err,
			Msg:  fmt.Sprintf("%s did not answer properly", v.id),
			Hint: fmt.Sprintf("`ten logs %s` shows what it said", v.id),
		})
	}
}
