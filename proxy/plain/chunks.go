package plain

// maxExtra bounds what is neither size nor data, of one chunk or behind the last.
const maxExtra = 4 << 10

// maxDigits is how many a chunk's size may have, as net/http has it.
const maxDigits = 16

// Chunks follows a body in chunks (RFC 9112, section 7.1). Extensions and trailers are
// passed over, as a recipient may, and so is white space behind a size, with which some apps
// fill up its room.
type Chunks struct {
	state chunkState
	// left is what is left of the chunk's data, in bytes.
	left int64
	// digits are those of the size so far, extra the bytes beside size and data.
	digits, extra int
	// empty: the present line of the trailers is, so far.
	empty bool
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkBlank
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	trailer
	trailerLF
	chunksEnd
)

// Next gives the next data in p, which may be none, and how much of p has been used; ok is
// false where that is no such body.
func (c *Chunks) Next(p []byte) (data []byte, used int, ok bool) {
	for i := 0; i < len(p); i++ {
		b := p[i]
		switch c.state {
		case chunkSize:
			switch {
			case isHex(b) && c.digits < maxDigits && c.left>>(63-4) == 0:
				c.digits++
				c.left = c.left<<4 | int64(hex(b))
			case b == '\r' && c.digits > 0:
				c.state = chunkSizeLF
			case b == ';' && c.digits > 0:
				c.state, c.extra = chunkExtension, 0
			case isBlank(b) && c.digits > 0:
				c.state, c.extra = chunkBlank, 0
			default:
				return nil, i, false
			}
		case chunkBlank:
			if b == '\r' {
				c.state = chunkSizeLF
			} else if c.extra++; !isBlank(b) || c.extra > maxExtra {
				return nil, i, false
			}
		case chunkExtension:
			if b == '\r' {
				c.state = chunkSizeLF
			} else if c.extra++; classes[b]&text == 0 || c.extra > maxExtra {
				return nil, i, false
			}
		case chunkSizeLF:
			if b != '\n' {
				return nil, i, false
			}
			c.state, c.digits = chunkData, 0
			if c.left == 0 {
				c.state, c.extra, c.empty = trailer, 0, true
			}
		case chunkData:
			n := int(min(c.left, int64(len(p)-i)))
			if c.left -= int64(n); c.left == 0 {
				c.state = chunkDataCR
			}
			return p[i : i+n], i + n, true
		case chunkDataCR:
			if b != '\r' {
				return nil, i, false
			}
			c.state = chunkDataLF
		case chunkDataLF:
			if b != '\n' {
				return nil, i, false
			}
			c.state = chunkSize
		case trailer:
			if b == '\r' {
				c.state = trailerLF
			} else if c.extra++; classes[b]&wide == 0 || c.extra > maxExtra {
				return nil, i, false
			} else {
				c.empty = false
			}
		case trailerLF:
			if b != '\n' {
				return nil, i, false
			}
			if c.state = trailer; c.empty {
				c.state = chunksEnd
			}
			c.empty = true
		case chunksEnd:
			return nil, i, true
		}
	}
	return nil, len(p), true
}

// Ended reports whether the body is complete.
func (c *Chunks) Ended() bool { return c.state == chunksEnd }

func hex(b byte) byte {
	switch {
	case b <= '9':
		return b - '0'
	case b <= 'F':
		return b - 'A' + 10
	}
	return b - 'a' + 10
}
