package proxy

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"tenement.dev/internal/tenant"
)

// AccessLog takes the requests that were answered. Both methods must be quick.
type AccessLog interface {
	// Wants reports whether the requests of a service are logged, and with their query.
	Wants(service string) (query, ok bool)
	Add(a tenant.Access)
}

// statusLeft is for requests whose clients left before there was an answer, as other
// servers have it.
const statusLeft = 499

// recorder sees what a request is answered with.
type recorder struct {
	http.ResponseWriter
	log    AccessLog
	access tenant.Access
	bytes  atomic.Int64 // a copy of an upgraded connection may go on for a moment
}

// record gives a recorder for a request that is to be logged, else nil. Its end must be
// deferred.
func (p *Proxy) record(w http.ResponseWriter, r *http.Request, id tenant.ID) *recorder {
	if p.access == nil {
		return nil
	}
	query, ok := p.access.Wants(id.Service)
	if !ok {
		return nil
	}
	path := r.RequestURI
	if !query {
		path, _, _ = strings.Cut(path, "?")
	}
	return &recorder{ResponseWriter: w, log: p.access, access: tenant.Access{
		ID: id, Begun: time.Now(), Method: r.Method, Host: r.Host, Path: path, UserAgent: r.UserAgent(),
		RequestID: requestID(r), Remote: p.remote(r),
	}}
}

// remote is the client's address: what trusted proxies say of it, from the last one back
// to the first that is none.
func (p *Proxy) remote(r *http.Request) string {
	addr, ok := clientAddr(r.Context())
	if !ok {
		return ""
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(hops) - 1; i >= 0 && p.trusted(addr); i-- {
		said, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		addr = said.Unmap()
	}
	return addr.String()
}

// end logs the request; it must be deferred.
func (rec *recorder) end() {
	a := &rec.access
	a.Duration = time.Since(a.Begun)
	cause := recover()
	a.Aborted, a.Bytes = cause != nil, rec.bytes.Load()
	if a.Status == 0 {
		a.Status = http.StatusOK // as net/http has it
		if a.Aborted {
			a.Status = statusLeft
		}
	}
	rec.log.Add(*a)
	if cause != nil {
		panic(cause) // net/http knows what to do
	}
}

// chose notes the instance that a request is passed on to.
func (rec *recorder) chose(id tenant.ID, endpoint tenant.Endpoint) {
	rec.access.ID = id
	if woke := endpoint.Woke(); woke != nil {
		rec.access.Wake, rec.access.Woke = woke.Kind, woke.Total
	}
}

// Unwrap is for http.ResponseController.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (rec *recorder) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		rec.access.Status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (rec *recorder) Write(p []byte) (int, error) {
	if rec.access.Status == 0 {
		rec.access.Status = http.StatusOK
	}
	n, err := rec.ResponseWriter.Write(p)
	rec.bytes.Add(int64(n))
	return n, err
}

// Hijack implements http.Hijacker: what is written to the connection is counted.
func (rec *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(rec.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	rec.access.Status = http.StatusSwitchingProtocols
	return &countedConn{conn, rec}, rw, nil
}

// countedConn counts what is written to a connection.
type countedConn struct {
	net.Conn
	rec *recorder
}

func (c *countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.rec.bytes.Add(int64(n))
	return n, err
}

// CloseWrite is what httputil.ReverseProxy asks for when the app has said all.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
