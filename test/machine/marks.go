package machine

import (
	"bytes"
	"io"
	"strings"
)

// marks is a writer that passes a machine's output on to another, all but lines that begin with a mark, which no program in
// the machine knows: what follows the mark is a word for whoever waits.
type marks struct {
	mark  string
	words chan string // never blocks the writer: there are two in a machine's life

	next io.Writer
	held []byte // may be the beginning of a mark
}

func newMarks(next io.Writer, secret string) *marks {
	return &marks{mark: "\x1f" + secret, words: make(chan string, 2), next: next}
}

func (m *marks) Write(p []byte) (int, error) {
	m.held = append(m.held, p...)
	for {
		at := bytes.IndexByte(m.held, m.mark[0])
		if at < 0 {
			at = len(m.held)
		}
		if at > 0 {
			if _, err := m.next.Write(m.held[:at]); err != nil {
				return 0, err
			}
			m.held = m.held[at:]
		}
		switch rest, ok := bytes.CutPrefix(m.held, []byte(m.mark)); {
		case ok:
			word, after, whole := bytes.Cut(rest, []byte("\n"))
			if !whole {
				return len(p), nil
			}
			select {
			case m.words <- strings.TrimSpace(string(word)):
			default:
			}
			m.held = after
		case len(m.held) < len(m.mark) && strings.HasPrefix(m.mark, string(m.held)):
			return len(p), nil
		default: // just a byte like the mark's first
			if _, err := m.next.Write(m.held[:1]); err != nil {
				return 0, err
			}
			m.held = m.held[1:]
		}
	}
}
