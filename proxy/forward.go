package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
)

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
	// upgraded is the connection to the app that speaks another protocol, nil where none does.
	upgraded *upgraded
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
	ctx := context.WithValue(r.Context(), visitKey{}, v)
	if body := bodyOf(r); body != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		body.meter, body.patience, body.giveUp = v.meter, v.endpoint.RequestTimeout(), cancel
	}
	p.reverse.ServeHTTP(w, r.WithContext(boundInformational(ctx)))
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
	r.Out.Header[requestIDHeader] = r.In.Header[requestIDHeader] // the client may have named it in Connection
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
	leadBack(resp, v.endpoint)
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

// forwardFailed answers a request that could not be passed on, or was not answered.
func (p *Proxy) forwardFailed(w http.ResponseWriter, r *http.Request, err error) {
	v := visitOf(r.Context())
	if v.upgraded != nil {
		v.upgraded.Close() // the reverse proxy leaves it where nobody has asked for its protocol
	}
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
	case body != nil && body.stuck.Load(), errors.As(err, &timeout) && timeout.Timeout():
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
