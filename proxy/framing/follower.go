package framing

import (
	"bytes"
	"math"
)

// state is what the next byte belongs to.
type state uint8

const (
	start      state = iota // a request, or one empty line before it
	emptyLF                 // that line's end
	method                  // from the second byte on
	target                  // may not be empty
	version                 // "HTTP/1.1"
	requestLF               // the request line's end
	fieldStart              // a field line, or the empty line behind them
	fieldName               // from the second byte on
	fieldValue              // of a field that says nothing of the framing
	length                  // the value of Content-Length
	coding                  // the value of Transfer-Encoding
	fieldLF                 // a field line's end
	sectionLF               // the end of the empty line behind field lines
	body                    // of a known length
	chunkSize               //
	extension               // a chunk's; see extensions
	chunkLF                 // the end of a chunk's first line
	chunkData               //
	dataCR                  // the end behind a chunk's data
	dataLF                  //
)

// verdict is what becomes of the bytes behind those that follow has passed.
type verdict uint8

const (
	fine     verdict = iota // there are none
	bad                     // they are not well-formed
	last                    // the server refuses what ends here, in words of its own
	upgraded                // they may be of another protocol
)

const (
	// maxSizeDigits and maxLengthDigits bound what can only be zeros in front of a number.
	maxSizeDigits   = 16
	maxLengthDigits = 64
	// maxExtensions bounds the extensions of one chunk, in bytes.
	maxExtensions = 1 << 10
	// maxWord is more than the longest name or coding that is looked at.
	maxWord = 20
)

// follower follows the framing of the requests on a connection.
type follower struct {
	state state
	ext   extState
	// empty: there was an empty line before this request.
	empty bool
	// trailer: the field lines are behind the chunks.
	trailer bool
	// major and minor are of the request's version, pos the place in it.
	major, minor byte
	pos          int

	word  [maxWord]byte // the beginning of a name or a coding, in lower case
	words int           // how long the whole is

	hosts, lengths, codings, chunked int // how many there were
	// final: the last coding was "chunked".
	final   bool
	upgrade bool
	digits  int
	// size is what is left of a body or of a chunk's data, in bytes.
	size int64
}

// follow takes the next bytes of the connection, of which the first n may pass.
func (f *follower) follow(p []byte) (n int, v verdict) {
	for i := 0; i < len(p); {
		b := p[i]
		switch f.state {
		case start:
			switch {
			case is(b, token):
				*f = follower{state: method}
			case b == '\r' && !f.empty:
				// An empty line before a request is no error (section 2.2).
				f.state, f.empty = emptyLF, true
			default:
				return i, bad
			}
			i++
		case emptyLF:
			if b != '\n' {
				return i, bad
			}
			f.state = start
			i++
		case method:
			i += span(p[i:], token)
			if i == len(p) {
				return i, fine
			}
			if p[i] != ' ' {
				return i, bad
			}
			f.state, f.words = target, 0
			i++
		case target:
			n := span(p[i:], visible)
			f.words += n
			i += n
			if i == len(p) {
				return i, fine
			}
			if p[i] != ' ' || f.words == 0 {
				return i, bad
			}
			f.state = version
			i++
		case version:
			if !f.version(b) {
				return i, bad
			}
			i++
		case requestLF, fieldLF:
			if b != '\n' {
				return i, bad
			}
			f.state = fieldStart
			i++
		case fieldStart:
			switch {
			case b == '\r':
				f.state = sectionLF
				i++
			case is(b, token): // and no space, which would fold the line before (section 5.2)
				f.state, f.words = fieldName, 0
			default:
				return i, bad
			}
		case fieldName:
			n := span(p[i:], token)
			if f.words == 0 && i+n < len(p) && !known(n) {
				f.words = n
			} else {
				f.remember(p[i : i+n]...)
			}
			i += n
			if i == len(p) {
				return i, fine
			}
			if p[i] != ':' || !f.named() {
				return i, bad
			}
			i++
		case fieldValue:
			i += span(p[i:], value)
			if i == len(p) {
				return i, fine
			}
			if p[i] != '\r' {
				return i, bad
			}
			f.state = fieldLF
			i++
		case length:
			if !f.length(b) {
				return i, bad
			}
			i++
		case coding:
			if !f.coding(b) {
				return i, bad
			}
			i++
		case sectionLF:
			if b != '\n' {
				return i, bad
			}
			v := f.ended()
			if v == bad {
				return i, bad
			}
			i++
			if v != fine {
				return i, v
			}
		case body, chunkData:
			n := int(min(f.size, int64(len(p)-i)))
			f.size -= int64(n)
			i += n
			if f.size > 0 {
				return i, fine
			}
			if f.state == chunkData {
				f.state = dataCR
			} else if v := f.over(); v != fine {
				return i, v
			}
		case chunkSize:
			if !f.chunkSize(b) {
				return i, bad
			}
			i++
		case extension:
			if f.words++; f.words > maxExtensions || !f.extension(b) {
				return i, bad
			}
			i++
		case chunkLF:
			if b != '\n' {
				return i, bad
			}
			if f.state = chunkData; f.size == 0 {
				f.state, f.trailer = fieldStart, true
			}
			i++
		case dataCR:
			if b != '\r' {
				return i, bad
			}
			f.state = dataLF
			i++
		case dataLF:
			if b != '\n' {
				return i, bad
			}
			f.chunk()
			i++
		}
	}
	return len(p), fine
}

const protocol = "HTTP/"

// version takes a byte of the request's version and of the CR behind it (section 2.3).
func (f *follower) version(b byte) bool {
	at := f.pos
	f.pos++
	switch {
	case at < len(protocol):
		return b == protocol[at]
	case at == len(protocol):
		f.major = b
		return isDigit(b)
	case at == len(protocol)+1:
		return b == '.'
	case at == len(protocol)+2:
		f.minor = b
		return isDigit(b)
	}
	f.state = requestLF
	return b == '\r' && (f.major != '1' || f.minor <= '1')
}

// remember adds to the word.
func (f *follower) remember(p ...byte) {
	for i := 0; i < len(p) && f.words+i < maxWord; i++ {
		f.word[f.words+i] = p[i] | 0x20 // no token has a byte that this would take for a letter
	}
	f.words += len(p)
}

// known reports whether there is a name of that length that named knows.
func known(n int) bool {
	return n == len("host") || n == len("upgrade") || n == len("content-length") || n == len("transfer-encoding")
}

// named decides what to do with the value of the field whose name is remembered.
func (f *follower) named() bool {
	f.state = fieldValue
	word := f.word[:min(f.words, maxWord)]
	f.words = 0
	switch len(word) {
	case len("host"):
		if string(word) == "host" {
			f.hosts++
			return !f.trailer
		}
	case len("upgrade"):
		if string(word) == "upgrade" {
			f.upgrade = true
		}
	case len("content-length"):
		if string(word) == "content-length" {
			f.state = length
			f.lengths++
			return !f.trailer && f.lengths == 1
		}
	case len("transfer-encoding"):
		if string(word) == "transfer-encoding" {
			f.state = coding
			return !f.trailer
		}
	}
	return true
}

// length takes a byte of the value of Content-Length: digits, with white space around
// them (RFC 9110, section 8.6).
func (f *follower) length(b byte) bool {
	switch {
	case isDigit(b) && f.pos != behind:
		digit := int64(b - '0')
		if f.size > (math.MaxInt64-digit)/10 {
			return false
		}
		f.size = f.size*10 + digit
		f.digits++
		return f.digits <= maxLengthDigits
	case b == ' ' || b == '\t':
		if f.digits > 0 {
			f.pos = behind
		}
		return true
	}
	f.state = fieldLF
	return b == '\r' && f.digits > 0
}

// behind is f.pos where only white space may follow.
const behind = -1

// coding takes a byte of the value of Transfer-Encoding, which is a list (section 6.1).
func (f *follower) coding(b byte) bool {
	switch {
	case b == ' ' || b == '\t':
		if f.words > 0 {
			f.remember(' ')
		}
		return true
	case b != ',' && b != '\r':
		f.remember(b)
		return is(b, value)
	case b == '\r':
		f.state = fieldLF
	}
	f.final = f.words <= maxWord && string(bytes.TrimRight(f.word[:f.words], " ")) == "chunked"
	f.words = 0
	f.codings++
	if f.final {
		f.chunked++
	}
	return true
}

// ended decides what comes behind the head, or behind the trailers.
func (f *follower) ended() verdict {
	switch {
	case f.trailer:
		return f.over()
	case f.major != '1':
		return last // 505
	case f.hosts > 1, f.hosts == 0 && f.minor == '1':
		return bad // RFC 9112, section 3.2
	case f.codings == 0 && f.size == 0:
		return f.over()
	case f.codings == 0:
		f.state = body
		return fine
	case f.lengths > 0, f.minor == '0', !f.final, f.chunked > 1:
		return bad // sections 6.1 and 6.3
	case f.codings > 1:
		return last // 501
	}
	f.chunk()
	return fine
}

// over: the next byte is of another request.
func (f *follower) over() verdict {
	f.state, f.empty = start, false
	if f.upgrade {
		return upgraded
	}
	return fine
}

// chunk begins one.
func (f *follower) chunk() { f.state, f.size, f.digits, f.words = chunkSize, 0, 0, 0 }

// chunkSize takes a byte of a chunk's size, or the one behind it (section 7.1).
func (f *follower) chunkSize(b byte) bool {
	if digit, ok := hexDigit(b); ok {
		if f.size > math.MaxInt64>>4 {
			return false
		}
		f.size = f.size<<4 | digit
		f.digits++
		return f.digits <= maxSizeDigits
	}
	if b == '\r' {
		f.state = chunkLF
		return f.digits > 0
	}
	f.state, f.ext = extension, extNext
	return f.digits > 0 && f.extension(b)
}
