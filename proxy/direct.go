package proxy

import (
	"context"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// direct is a request that came through net/http, as all of HTTP/2 do, and goes to the app on
// a connection of ours, past the reverse proxy. What is odd about it, or about its answer, is
// for that. It is the client of its exchange.
type direct struct {
	*exchange
	proxy   *Proxy
	w       *answer
	r       *http.Request
	unwatch func() bool // nil where nobody watches
	// trailers: the client reads them.
	trailers bool
}

// pass passes a request on that has been counted in, where it can. Else it is the reverse
// proxy's; tried is the connection where its answer is odd, or nil.
func (p *Proxy) pass(w *answer, r *http.Request) (done bool, tried net.Conn) {
	v := &w.visit
	if !p.direct || r.ContentLength != 0 || !v.endpoint.KeepAlive() {
		return false, nil
	}
	d := direct{exchange: newExchange(), proxy: p, w: w, r: r}
	defer d.end()
	defer d.stopWatch()
	var ok bool
	if d.out, ok = d.appendHead(d.out[:0]); !ok {
		return false, nil
	}
	taken := d.ask(r.Context(), p.pools, v, &d, r.Method == http.MethodHead, isSafe(r.Method))
	if taken && d.trailers && d.app.Chunked { // there may be some
		taken, v.first = false, d.asRead() //nolint:bodyclose // the reverse proxy closes it
	}
	if !taken {
		if d.upstream == nil {
			return false, nil
		}
		return false, d.upstream.Conn
	}
	defer d.hangUp()
	if d.relay() != nil {
		panic(http.ErrAbortHandler)
	}
	return true, nil
}

// startWatch implements client.
func (d *direct) startWatch(gone func()) {
	d.stopWatch()
	d.unwatch = context.AfterFunc(d.r.Context(), gone)
}

// stopWatch implements client. What is being called by then is so since the client has left.
func (d *direct) stopWatch() {
	if d.unwatch != nil {
		d.unwatch()
		d.unwatch = nil
	}
}

// hasLeft implements client.
func (d *direct) hasLeft() bool { return d.r.Context().Err() != nil }

// appendHead appends the head of the request to the app: what the reverse proxy would send.
func (d *direct) appendHead(out []byte) (_ []byte, ok bool) {
	r := d.r
	sized := false // RFC 9110, section 8.6
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		sized = true
	case http.MethodGet, http.MethodHead, http.MethodDelete, http.MethodOptions:
	default:
		return out, false
	}
	if r.Trailer != nil || !strings.HasPrefix(r.RequestURI, "/") || strings.HasPrefix(r.RequestURI, "//") || !httpguts.ValidHostHeader(r.Host) {
		return out, false
	}
	out = append(append(append(out, r.Method...), ' '), r.RequestURI...)
	out = append(append(append(out, " HTTP/1.1\r\nHost: "...), r.Host...), "\r\n"...)
	if out, ok = d.appendFields(out); !ok {
		return out, false
	}
	if sized {
		out = append(out, "Content-Length: 0\r\n"...)
	}
	if out, ok = d.appendForwarded(out); !ok {
		return out, false
	}
	if out, ok = appendLine(out, requestIDHeader, requestID(r)); !ok {
		return out, false
	}
	out, ok = appendLine(out, hopHeader, d.proxy.hop)
	return append(out, "\r\n"...), ok
}

// appendFields appends what the client says to the app, but for what is ours to say.
func (d *direct) appendFields(out []byte) (_ []byte, ok bool) {
	for name, values := range d.r.Header {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Trailer", "Transfer-Encoding", "Upgrade", "Expect":
			return out, false
		case "Te":
			if d.trailers = httpguts.HeaderValuesContainsToken(values, "trailers"); d.trailers {
				out = append(out, "Te: trailers\r\n"...)
			}
			continue
		case "User-Agent": // the first one, unless it is empty
			if values = values[:min(1, len(values))]; len(values) > 0 && values[0] == "" {
				continue
			}
		}
		if ours(name) {
			continue
		}
		for _, value := range values {
			if out, ok = appendLine(out, name, value); !ok {
				return out, false
			}
		}
	}
	return out, true
}

// appendForwarded appends what setForwarded and httputil.ProxyRequest.SetXForwarded say.
func (d *direct) appendForwarded(out []byte) (_ []byte, ok bool) {
	r := d.r
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return out, false
	}
	host, scheme := r.Host, "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if d.proxy.believes(r) {
		if before := r.Header["X-Forwarded-For"]; len(before) > 0 {
			from = strings.Join(before, ", ") + ", " + from
		}
		if said := r.Header.Get("X-Forwarded-Host"); said != "" {
			host = said
		}
		if said := r.Header.Get("X-Forwarded-Proto"); said != "" {
			scheme = said
		}
	}
	if out, ok = appendLine(out, "X-Forwarded-For", from); !ok {
		return out, false
	}
	if out, ok = appendLine(out, "X-Forwarded-Host", host); !ok {
		return out, false
	}
	return appendLine(out, "X-Forwarded-Proto", scheme)
}

// appendLine appends a field, if it is one: not everybody who gives us some looks at each byte.
func appendLine(out []byte, name, value string) (_ []byte, ok bool) {
	if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
		return out, false
	}
	out = append(append(out, name...), ": "...)
	return append(append(out, textproto.TrimString(value)...), "\r\n"...), true
}

// relay sends the answer to the client. One that cannot be completed is an error.
func (d *direct) relay() error {
	d.hasAnswered(d.proxy)
	d.setHeader()
	d.w.WriteHeader(d.app.Status)
	return d.relayBody(d.r.Method == http.MethodHead)
}

// setHeader sets the header of the answer.
func (d *direct) setHeader() {
	header, v := d.w.Header(), &d.w.visit
	header["Content-Type"] = nil // or the server guesses one where the app names none
	header[requestIDHeader] = d.r.Header[requestIDHeader]
	values := make([]string, len(d.app.Fields)) // in one piece
	for i, f := range d.app.Fields {
		values[i] = string(f.Value)
		name := fieldName(f.Name)
		if header[name] == nil {
			header[name] = values[i : i+1 : i+1]
		} else {
			header[name] = append(header[name], values[i])
		}
	}
	if !d.app.Chunked && !d.app.Bodyless() {
		header["Content-Length"] = []string{strconv.FormatInt(d.app.Length, 10)}
	}
	v.tellWake(header)
}

// send implements client. The last bytes go when the handler has returned, with the word that
// they are that.
func (d *direct) send(p []byte, last bool) error {
	if err := d.chunk(p); err != nil || last {
		return err
	}
	return http.NewResponseController(d.w).Flush()
}

// chunk implements client.
func (d *direct) chunk(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_, err := d.w.Write(p)
	return err
}

// flush implements client. An end is told over HTTP/1, too: net/http makes a length of the
// chunks where all are there, by chance.
func (d *direct) flush(ended bool) error {
	return d.send(nil, ended && d.r.ProtoMajor != 1)
}

// usualNames are the names of fields that answers mostly have.
var usualNames = func() map[string]string {
	names := map[string]string{}
	for _, name := range []string{
		"Accept-Ranges", "Access-Control-Allow-Origin", "Age", "Cache-Control", "Content-Disposition", "Content-Encoding",
		"Content-Language", "Content-Security-Policy", "Content-Type", "Date", "Etag", "Expires", "Last-Modified", "Link",
		"Location", "Permissions-Policy", "Pragma", "Referrer-Policy", "Server", "Set-Cookie", "Strict-Transport-Security", "Vary",
		"X-Content-Type-Options", "X-Frame-Options", "X-Powered-By",
	} {
		names[name], names[strings.ToLower(name)] = name, name
	}
	names["ETag"] = "Etag"
	return names
}()

// fieldName is a name in the form that net/http has it in.
func fieldName(name []byte) string {
	if known, ok := usualNames[string(name)]; ok {
		return known
	}
	return http.CanonicalHeaderKey(string(name))
}
