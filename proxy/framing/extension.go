package framing

// extState is where in a chunk's extensions the next byte is (section 7.1.1).
type extState uint8

const (
	extNext    extState = iota // behind the size or a value: ";" or, without a space before it, the end
	extSpace                   // behind a space there: ";"
	extBegin                   // behind ";": a name
	extName                    // in the name
	extNamed                   // behind a space there: "=" or ";"
	extEqual                   // behind "=": a value
	extValue                   // in a value that is a token
	extQuoted                  // in one that is a quoted string
	extEscaped                 // behind a backslash in it
)

// extension takes a byte of a chunk's extensions, or the CR behind them.
func (f *follower) extension(b byte) bool {
	space := b == ' ' || b == '\t'
	next := func(s extState) bool {
		f.ext = s
		return true
	}
	switch f.ext {
	case extQuoted:
		switch b {
		case '"':
			return next(extNext)
		case '\\':
			return next(extEscaped)
		}
		return is(b, value)
	case extEscaped:
		f.ext = extQuoted
		return is(b, value)
	case extBegin, extEqual:
		switch {
		case space:
			return true
		case f.ext == extEqual && b == '"':
			return next(extQuoted)
		case f.ext == extEqual:
			f.ext = extValue
		default:
			f.ext = extName
		}
		return is(b, token)
	case extName, extNamed:
		switch {
		case b == '=':
			return next(extEqual)
		case space:
			return next(extNamed)
		case f.ext == extName && is(b, token):
			return true
		}
	case extValue:
		if is(b, token) {
			return true
		}
	}
	// Behind a name or a value, or behind the size.
	switch {
	case b == ';':
		return next(extBegin)
	case space:
		return next(extSpace)
	}
	f.state = chunkLF
	return b == '\r' && f.ext != extSpace && f.ext != extNamed
}
