package framing

import "encoding/binary"

// class is a set of bytes.
type class uint8

const (
	// token is for methods and names (RFC 9110, section 5.6.2).
	token class = 1 << iota
	// visible is for targets: no space, no control byte.
	visible
	// value is for what a field says (RFC 9110, section 5.5).
	value
)

var classes = func() (table [256]class) {
	for b := range table {
		switch {
		case b > ' ' && b != 0x7f:
			table[b] = visible | value
		case b == ' ' || b == '\t':
			table[b] = value
		}
	}
	for _, b := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~") {
		table[b] |= token
	}
	return table
}()

func is(b byte, c class) bool { return classes[b]&c != 0 }

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func hexDigit(b byte) (digit int64, ok bool) {
	switch lower := b | 0x20; {
	case isDigit(b):
		return int64(b - '0'), true
	case lower >= 'a' && lower <= 'f':
		return int64(lower-'a') + 10, true
	}
	return 0, false
}

// span is how many bytes at the beginning of p are of the class.
func span(p []byte, c class) int {
	i := 0
	if c != token {
		// Eight at a time, while none is below the least, a control byte or a tab, or DEL.
		const ones, high, del = 0x0101010101010101, 0x8080808080808080, 0x7f7f7f7f7f7f7f7f
		least := uint64(' ') * ones
		if c == visible {
			least += ones
		}
		for ; len(p)-i >= 8; i += 8 {
			x := binary.LittleEndian.Uint64(p[i:])
			if y := x ^ del; ((x-least)&^x|(y-ones)&^y)&high != 0 {
				break
			}
		}
	}
	for i < len(p) && is(p[i], c) {
		i++
	}
	return i
}
