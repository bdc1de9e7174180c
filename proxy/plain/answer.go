package plain

import "slices"

// Answer is the head of an app's answer. All of it lies in the buffer that was read.
type Answer struct {
	Status int
	// Length is that of the body in bytes; Chunked says that it comes in chunks instead.
	Length  int64
	Chunked bool
	// Close: the app will take no other request on the connection.
	Close bool
	// Dated: there is a Date among the fields.
	Dated bool
	// KeepAwake is what the app says of its rest, nil where it says nothing.
	KeepAwake []byte
	// Fields are those that go on to the client: not what frames the body, nor what is
	// for a proxy.
	Fields []Field

	fields [MaxFields]Field
}

// Read reads the head at the beginning of p, which is n bytes long if it is taken. To a
// request with HEAD comes no body, whatever the head says.
func (a *Answer) Read(p []byte, head bool) (n int, v Verdict) {
	lines, v := headIn(p)
	a.Status, a.Length, a.Chunked, a.Close, a.Dated, a.KeepAwake, a.Fields = 0, 0, false, false, false, nil, a.fields[:0]
	line, rest, ok := cutLine(lines)
	if !ok {
		return 0, incomplete(lines)
	}
	if !a.line(line) {
		return 0, Odd
	}
	lengths, codings := 0, 0
	for len(rest) > 0 {
		if line, rest, ok = cutLine(rest); !ok {
			return 0, incomplete(rest)
		}
		if !a.field(line, &lengths, &codings) {
			return 0, Odd
		}
	}
	if v == More {
		return 0, More
	}
	n = len(lines) + len("\r\n")
	switch {
	case a.Status == 204 || a.Status == 304:
		if lengths+codings > 0 {
			return 0, Odd
		}
		a.Length = -1
	case lengths+codings != 1, head && codings > 0:
		return 0, Odd
	}
	return n, Taken
}

// line reads the status line (RFC 9112, section 4).
func (a *Answer) line(line []byte) bool {
	const version = "HTTP/1.1 "
	if len(line) < len(version)+3 || string(line[:len(version)]) != version {
		return false
	}
	code, reason := line[len(version):len(version)+3], line[len(version)+3:]
	for _, b := range code {
		if b < '0' || b > '9' {
			return false
		}
		a.Status = 10*a.Status + int(b-'0')
	}
	if len(reason) > 0 && reason[0] != ' ' || span(reason, text) != len(reason) {
		return false
	}
	return a.Status >= 200 && a.Status <= 599 && a.Status != 205
}

// field reads a field line.
func (a *Answer) field(line []byte, lengths, codings *int) bool {
	i := span(line, name)
	if i == 0 || i == len(line) || line[i] != ':' || span(line[i+1:], wide) != len(line)-i-1 {
		return false
	}
	f := Field{line[:i], trim(line[i+1:])}
	switch f.Name[0] | 0x20 {
	case 'c':
		switch {
		case is(f.Name, "content-length"):
			*lengths++
			var ok bool
			a.Length, ok = number(f.Value)
			return ok
		case is(f.Name, "connection"):
			if is(f.Value, "keep-alive") {
				return true
			}
			a.Close = true
			return is(f.Value, "close")
		case is(f.Name, "content-type") && begins(f.Value, "text/event-stream"):
			return false
		}
	case 't':
		switch {
		case is(f.Name, "transfer-encoding"):
			*codings++
			a.Chunked = true
			return is(f.Value, "chunked")
		case is(f.Name, "te"), is(f.Name, "trailer"):
			return false
		case is(f.Name, "tenement-keep-awake"):
			if a.KeepAwake != nil {
				return false
			}
			a.KeepAwake = f.Value[:len(f.Value):len(f.Value)]
			if a.KeepAwake == nil {
				a.KeepAwake = []byte{}
			}
			return true
		}
	case 'l':
		if is(f.Name, "location") && loopback(f.Value) {
			return false
		}
	case 'u':
		if is(f.Name, "upgrade") {
			return false
		}
	case 'k':
		if is(f.Name, "keep-alive") {
			return true
		}
	case 'p':
		if begins(f.Name, "proxy-") {
			return false
		}
	case 'd':
		if is(f.Name, "date") {
			a.Dated = true
		}
	case 'x':
		if is(f.Name, "x-request-id") {
			return true
		}
	}
	if len(a.Fields) == MaxFields {
		return false
	}
	a.Fields = append(a.Fields, f)
	return true
}

// Loopbacks are how the URLs begin that apps take for their own.
var Loopbacks = []string{"http://localhost:", "http://127.0.0.1:", "http://[::1]:", "http://0.0.0.0:"}

// loopback reports whether a URL may be that of the app itself, which is no client's.
func loopback(url []byte) bool {
	return slices.ContainsFunc(Loopbacks, func(own string) bool { return begins(url, own) })
}

// Bodyless reports whether there is no body, nor a word of its length.
func (a *Answer) Bodyless() bool { return a.Length < 0 }
