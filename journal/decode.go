package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// errSyntax is output that is not journalctl's JSON.
var errSyntax = errors.New("unexpected output of journalctl")

const (
	maxName  = 128 // journald allows 64
	maxValue = MaxMessage
)

// decoder reads the objects that journalctl -o json writes (journalctl(1), "json"): a
// value is a string, null for one that is too long, an array of numbers for bytes that
// are not printable UTF-8, or an array of those for a field that occurs several times.
//
// It is not encoding/json because that holds a whole value in memory, and a tenant
// chooses how long that is: here memory is bounded whatever comes.
type decoder struct {
	in    *bufio.Reader
	name  bounded
	value bounded
}

// bounded keeps the first max bytes of what is put into it and counts all of them.
type bounded struct {
	kept []byte
	max  int
	size int64
}

func newDecoder(in io.Reader) decoder {
	return decoder{
		in:    bufio.NewReaderSize(in, 64<<10),
		name:  bounded{max: maxName},
		value: bounded{max: maxValue},
	}
}

func (b *bounded) reset() { b.kept, b.size = b.kept[:0], 0 }

func (b *bounded) put(c byte) {
	if len(b.kept) < b.max {
		b.kept = append(b.kept, c)
	}
	b.size++
}

func (b *bounded) putRune(r rune) {
	var buf [utf8.UTFMax]byte
	for _, c := range buf[:utf8.EncodeRune(buf[:], r)] {
		b.put(c)
	}
}

// next reads one object and calls field for each value in it. The slices are valid
// during the call; value is the beginning of a value of size bytes. The error is io.EOF
// if there is no further object, io.ErrUnexpectedEOF if it ends in the middle.
func (d *decoder) next(field func(name, value []byte, size int64)) error {
	c, err := d.token()
	if err != nil {
		return err
	}
	if err = d.object(c, field); errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (d *decoder) object(c byte, field func(name, value []byte, size int64)) error {
	if c != '{' {
		return d.unexpected(c)
	}
	c, err := d.token()
	if err != nil || c == '}' {
		return err
	}
	for {
		if c != '"' {
			return d.unexpected(c)
		}
		if err := d.text(&d.name); err != nil {
			return err
		}
		if c, err = d.token(); err != nil {
			return err
		}
		if c != ':' {
			return d.unexpected(c)
		}
		if c, err = d.token(); err != nil {
			return err
		}
		if err := d.field(c, 0, field); err != nil {
			return err
		}
		if c, err = d.token(); err != nil || c == '}' {
			return err
		}
		if c != ',' {
			return d.unexpected(c)
		}
		if c, err = d.token(); err != nil {
			return err
		}
	}
}

// field reads the value that begins with c; depth counts the arrays around it.
func (d *decoder) field(c byte, depth int, field func(name, value []byte, size int64)) error {
	d.value.reset()
	switch {
	case c == '"':
		if err := d.text(&d.value); err != nil {
			return err
		}
	case c == 'n':
		for _, want := range []byte("ull") {
			if c, err := d.in.ReadByte(); err != nil {
				return err
			} else if c != want {
				return d.unexpected(c)
			}
		}
		return nil
	case c == '[' && depth < 2:
		c, err := d.token()
		switch {
		case err != nil || c == ']':
			return err
		case c < '0' || '9' < c:
			return d.fields(c, depth+1, field)
		}
		if err := d.bytes(c); err != nil {
			return err
		}
	default:
		return d.unexpected(c)
	}
	field(d.name.kept, d.value.kept, d.value.size)
	return nil
}

// fields reads the values of a field that occurs several times, up to its bracket.
func (d *decoder) fields(c byte, depth int, field func(name, value []byte, size int64)) error {
	for {
		err := d.field(c, depth, field)
		if err != nil {
			return err
		}
		if c, err = d.token(); err != nil || c == ']' {
			return err
		}
		if c != ',' {
			return d.unexpected(c)
		}
		if c, err = d.token(); err != nil {
			return err
		}
	}
}

// bytes reads an array of byte values, from its first digit up to its bracket.
func (d *decoder) bytes(c byte) (err error) {
	for {
		value := 0
		for '0' <= c && c <= '9' {
			if value = value*10 + int(c-'0'); value > 0xff {
				return d.unexpected(c)
			}
			if c, err = d.in.ReadByte(); err != nil {
				return err
			}
		}
		d.value.put(byte(value))
		if c, err = d.tokenFrom(c); err != nil || c == ']' {
			return err
		}
		if c != ',' {
			return d.unexpected(c)
		}
		if c, err = d.token(); err != nil {
			return err
		}
		if c < '0' || '9' < c {
			return d.unexpected(c)
		}
	}
}

// text reads a string up to its closing quote into b.
func (d *decoder) text(b *bounded) error {
	b.reset()
	for {
		c, err := d.in.ReadByte()
		switch {
		case err != nil:
			return err
		case c == '"':
			return nil
		case c == '\\':
			if err := d.escape(b); err != nil {
				return err
			}
		default:
			b.put(c)
		}
	}
}

// escape reads what follows a backslash (RFC 8259, section 7).
func (d *decoder) escape(b *bounded) error {
	c, err := d.in.ReadByte()
	if err != nil {
		return err
	}
	switch c {
	case '"', '\\', '/':
		b.put(c)
	case 'b':
		b.put('\b')
	case 'f':
		b.put('\f')
	case 'n':
		b.put('\n')
	case 'r':
		b.put('\r')
	case 't':
		b.put('\t')
	case 'u':
		return d.unicode(b)
	default:
		return d.unexpected(c)
	}
	return nil
}

// unicode reads the four digits of \uXXXX, and the second half of a surrogate pair.
func (d *decoder) unicode(b *bounded) error {
	r, err := d.hex4()
	if err != nil {
		return err
	}
	for utf16.IsSurrogate(r) {
		next, err := d.in.Peek(2)
		if err != nil || next[0] != '\\' || next[1] != 'u' {
			break // not a pair; if the output ends here, the next read says so
		}
		if _, err := d.in.Discard(2); err != nil {
			return err
		}
		second, err := d.hex4()
		if err != nil {
			return err
		}
		if pair := utf16.DecodeRune(r, second); pair != utf8.RuneError {
			r = pair
			break
		}
		b.putRune(utf8.RuneError)
		r = second
	}
	b.putRune(r) // U+FFFD for half a pair
	return nil
}

func (d *decoder) hex4() (r rune, err error) {
	for range 4 {
		c, err := d.in.ReadByte()
		if err != nil {
			return 0, err
		}
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, d.unexpected(c)
		}
		r = r<<4 | rune(c)
	}
	return r, nil
}

// token gives the next byte that is not white space.
func (d *decoder) token() (byte, error) { return d.tokenFrom(' ') }

// tokenFrom gives c, or the next byte that is not white space if c is.
func (d *decoder) tokenFrom(c byte) (_ byte, err error) {
	for c == ' ' || c == '\n' || c == '\t' || c == '\r' {
		if c, err = d.in.ReadByte(); err != nil {
			return 0, err
		}
	}
	return c, nil
}

func (d *decoder) unexpected(c byte) error {
	return fmt.Errorf("%w: %q", errSyntax, c)
}
