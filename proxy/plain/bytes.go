package plain

// class is a set of bytes.
type class uint8

const (
	// name is for the names of fields: a token (RFC 9110, section 5.6.2) without "_", which
	// apps may take for a hyphen.
	name class = 1 << iota
	// pathByte is for targets: what a path and a query may have (RFC 3986, sections 3.3
	// and 3.4), but for "%".
	pathByte
	// text is for the values of a request's fields: what is visible, and white space.
	text
	// wide is for those of an answer, which may be in UTF-8 or anything else.
	wide
	// hostByte is for Host.
	hostByte
)

var classes = func() (table [256]class) {
	for b := range table {
		if b >= ' ' && b < 0x7f || b == '\t' {
			table[b] |= text
		}
		if b >= ' ' && b != 0x7f || b == '\t' {
			table[b] |= wide
		}
	}
	letters := []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
	add := func(c class, more string) {
		for _, b := range append(letters[:len(letters):len(letters)], more...) {
			table[b] |= c
		}
	}
	add(name, "!#$%&'*+-.^`|~")
	add(pathByte, "-._~!$&'()*+,;=:@/?")
	add(hostByte, "-.:")
	return table
}()

// span is how many bytes at the beginning of p are of the class.
func span(p []byte, c class) int {
	for i, b := range p {
		if classes[b]&c == 0 {
			return i
		}
	}
	return len(p)
}

func isHex(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F'
}

// is reports whether a name is one that is given in lower case.
func is(p []byte, lower string) bool {
	if len(p) != len(lower) {
		return false
	}
	for i := range len(lower) {
		b := p[i]
		if b >= 'A' && b <= 'Z' {
			b |= 0x20
		}
		if b != lower[i] {
			return false
		}
	}
	return true
}

// begins reports whether a name begins with what is given in lower case.
func begins(p []byte, lower string) bool { return len(p) >= len(lower) && is(p[:len(lower)], lower) }

// number reads a number without needless zeros, of at most 18 digits.
func number(p []byte) (n int64, ok bool) {
	if len(p) == 0 || len(p) > 18 || len(p) > 1 && p[0] == '0' {
		return 0, false
	}
	for _, b := range p {
		if b < '0' || b > '9' {
			return 0, false
		}
		n = n*10 + int64(b-'0')
	}
	return n, true
}

// trim removes the white space around a value.
func trim(p []byte) []byte {
	for len(p) > 0 && isBlank(p[0]) {
		p = p[1:]
	}
	for len(p) > 0 && isBlank(p[len(p)-1]) {
		p = p[:len(p)-1]
	}
	return p
}

func isBlank(b byte) bool { return b == ' ' || b == '\t' }
