package plain

import "bytes"

// Verdict is what is to be done with the bytes that were looked at.
type Verdict uint8

const (
	// More says that the head is not complete, and nothing of it odd so far.
	More Verdict = iota
	// Taken says that the head is complete and has been read.
	Taken
	// Odd says that others shall read it.
	Odd
)

// MaxFields is how many fields a head may have.
const MaxFields = 64

// Field is one line of a head.
type Field struct{ Name, Value []byte }

// Request is the head of a request. All of it lies in the buffer that was read.
type Request struct {
	Method, Target, Host []byte
	// Path is the target without the query.
	Path []byte
	// Length is that of the body in bytes.
	Length int64
	// Close: the client will send no other request.
	Close bool
	// Agent is the User-Agent, and Browses says that a field tells of a browser.
	Agent   []byte
	Browses bool
	// Fields are those that go on to an app: not Host, nor what frames the body, nor what
	// only a proxy says.
	Fields []Field

	fields [MaxFields]Field
}

// methods are those that are taken.
var methods = []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}

// Read reads the head at the beginning of p, which is n bytes long if it is taken.
func (r *Request) Read(p []byte) (n int, v Verdict) {
	head, v := headIn(p)
	r.Method, r.Target, r.Host, r.Path, r.Agent = nil, nil, nil, nil, nil
	r.Length, r.Close, r.Browses, r.Fields = 0, false, false, r.fields[:0]
	line, rest, ok := cutLine(head)
	if !ok {
		return 0, incomplete(head)
	}
	if !r.line(line) {
		return 0, Odd
	}
	lengths := 0
	for len(rest) > 0 {
		if line, rest, ok = cutLine(rest); !ok {
			return 0, incomplete(rest)
		}
		if !r.field(line, &lengths) {
			return 0, Odd
		}
	}
	if v == More {
		return 0, More
	}
	if r.Host == nil {
		return 0, Odd
	}
	return len(head) + len("\r\n"), Taken
}

// headIn gives the lines of the head at the beginning of p, each with its end, without the
// empty line behind them; all of p where that has not come.
func headIn(p []byte) ([]byte, Verdict) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		return p, More
	}
	return p[:end+len("\r\n")], Taken
}

// cutLine cuts the first line off, without its end. Where there is none, all is in rest.
func cutLine(p []byte) (line, rest []byte, ok bool) {
	end := bytes.IndexByte(p, '\n')
	if end < 1 || p[end-1] != '\r' {
		return nil, p, false
	}
	return p[:end-1], p[end+1:], true
}

// incomplete says whether p, which does not begin with a line, may be the beginning of one.
func incomplete(p []byte) Verdict {
	if n := span(p, wide); n < len(p) && (p[n] != '\r' || n < len(p)-1) {
		return Odd
	}
	return More
}

// line reads the request line (RFC 9112, section 3).
func (r *Request) line(line []byte) bool {
	for _, m := range methods {
		if len(line) > len(m) && line[len(m)] == ' ' && string(line[:len(m)]) == m {
			r.Method = line[:len(m)]
		}
	}
	const version = " HTTP/1.1"
	if r.Method == nil || len(line) < len(r.Method)+len(" /")+len(version) || string(line[len(line)-len(version):]) != version {
		return false
	}
	r.Target = line[len(r.Method)+1 : len(line)-len(version)]
	return r.target()
}

// target looks at the target: a path as it goes on to the app, that is not one of those
// which are answered by somebody else ("/.well-known").
func (r *Request) target() bool {
	t := r.Target
	if t[0] != '/' || len(t) > 1 && (t[1] == '/' || t[1] == '.' || t[1] == '%') {
		return false
	}
	for i := 0; ; i += 3 {
		i += span(t[i:], pathByte)
		if i == len(t) {
			break
		}
		if t[i] != '%' || i+2 >= len(t) || !isHex(t[i+1]) || !isHex(t[i+2]) {
			return false
		}
	}
	r.Path = t
	if i := bytes.IndexByte(t, '?'); i >= 0 {
		r.Path = t[:i]
	}
	return true
}

// field reads a field line (section 5).
func (r *Request) field(line []byte, lengths *int) bool {
	i := span(line, name)
	if i == 0 || i == len(line) || line[i] != ':' || span(line[i+1:], text) != len(line)-i-1 {
		return false
	}
	f := Field{line[:i], trim(line[i+1:])}
	switch f.Name[0] | 0x20 {
	case 'h':
		switch {
		case is(f.Name, "host"):
			if r.Host != nil || len(f.Value) == 0 || span(f.Value, hostByte) != len(f.Value) {
				return false
			}
			r.Host = f.Value
			return true
		case is(f.Name, "http2-settings"):
			return false
		}
	case 'c':
		switch {
		case is(f.Name, "content-length"):
			*lengths++
			var ok bool
			r.Length, ok = number(f.Value)
			return ok && *lengths == 1
		case is(f.Name, "connection"):
			if is(f.Value, "keep-alive") {
				return true
			}
			r.Close = true
			return is(f.Value, "close")
		}
	case 't':
		if is(f.Name, "transfer-encoding") || is(f.Name, "te") || is(f.Name, "trailer") || begins(f.Name, "tenement-") {
			return false
		}
	case 'u':
		switch {
		case is(f.Name, "upgrade"):
			return false
		case is(f.Name, "user-agent"):
			if r.Agent != nil {
				return false
			}
			r.Agent = f.Value
		}
	case 'e':
		if is(f.Name, "expect") {
			return false
		}
	case 'k':
		if is(f.Name, "keep-alive") {
			return false
		}
	case 'p':
		if begins(f.Name, "proxy-") || is(f.Name, "purpose") {
			return false
		}
	case 's':
		switch {
		case is(f.Name, "sec-purpose"):
			return false
		case is(f.Name, "sec-fetch-mode"), is(f.Name, "sec-fetch-dest"):
			r.Browses = r.Browses || len(f.Value) > 0
		}
	case 'f':
		if is(f.Name, "forwarded") {
			return true // a client's word is not passed on
		}
	case 'x':
		switch {
		case is(f.Name, "x-purpose"), is(f.Name, "x-moz"):
			return false
		case is(f.Name, "x-forwarded-for"), is(f.Name, "x-forwarded-host"), is(f.Name, "x-forwarded-proto"), is(f.Name, "x-request-id"):
			return true
		}
	case 'a':
		if is(f.Name, "accept") && bytes.Contains(f.Value, []byte("text/html")) {
			r.Browses = true
		}
	}
	if len(r.Fields) == MaxFields {
		return false
	}
	r.Fields = append(r.Fields, f)
	return true
}
