package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"time"
)

// requestIDHeader carries a request's id: to the app, and back to the client.
const requestIDHeader = "X-Request-Id"

// maxRequestID bounds an id that a proxy in front has given, in bytes.
const maxRequestID = 128

// identify gives a request its id: that of a trusted proxy, if it is sane, else a new
// one. From then on it is in the request's header, and in the answer's.
func (p *Proxy) identify(w http.ResponseWriter, r *http.Request) {
	values := r.Header[requestIDHeader]
	if len(values) != 1 || !saneRequestID(values[0]) || !p.believes(r) {
		values = []string{newRequestID(time.Now())}
		r.Header[requestIDHeader] = values
	}
	w.Header()[requestIDHeader] = values
}

// requestID is the id that identify gave.
func requestID(r *http.Request) string { return r.Header.Get(requestIDHeader) }

// believes reports whether the client is a proxy whose headers are believed.
func (p *Proxy) believes(r *http.Request) bool {
	addr, ok := clientAddr(r.Context())
	return ok && p.trusted(addr)
}

// saneRequestID reports whether an id can be printed anywhere as it is: letters, digits
// and a few marks that have no meaning in HTML, JSON, shells' words and log lines.
func saneRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=', c == '@':
		default:
			return false
		}
	}
	return true
}

// newRequestID makes a UUID of version 7, which sorts by time (RFC 9562, section 5.7).
func newRequestID(now time.Time) string {
	var text [requestIDSize]byte
	writeRequestID(&text, now)
	return string(text[:])
}

// requestIDSize is the length of an id of our own, in bytes.
const requestIDSize = 36

func writeRequestID(text *[requestIDSize]byte, now time.Time) {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], uint64(now.UnixMilli())<<16|uint64(rand.Uint32N(1<<12))|7<<12)
	binary.BigEndian.PutUint64(id[8:], rand.Uint64()&^(3<<62)|2<<62)
	at := 0
	for _, part := range [...][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if at > 0 {
			text[at] = '-'
			at++
		}
		at += hex.Encode(text[at:], part)
	}
}
