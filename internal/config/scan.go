package config

import (
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// positions says on which lines the keys of a TOML text stand. The toml package
// knows this only for some of them and does not say it.
type positions struct {
	lines map[string]mark
	// keys are all keys that are written out, tables included, in file order.
	keys []toml.Key
}

// mark is the place of a key: its line, and how many keys were before it. It is
// implied if so far only keys below it were seen.
type mark struct {
	line, before int
	implied      bool
}

// line gives the line of key, counted from 1. A table that is only implied, as
// service is by [service.notes], has the line where it first is.
func (p *positions) line(key toml.Key) int { return p.lines[key.String()].line }

// compare orders keys as the file does.
func (p *positions) compare(a, b toml.Key) int {
	return p.lines[a.String()].before - p.lines[b.String()].before
}

// elementLine gives the line of element i, counted from 0, of the array at key, or
// that of key if there is no such element.
func (p *positions) elementLine(key toml.Key, i int) int {
	if m, ok := p.lines[elementName(key, i)]; ok {
		return m.line
	}
	return p.line(key)
}

// elementName cannot be another key's name, since brackets in a key are quoted.
func elementName(key toml.Key, i int) string { return fmt.Sprintf("%s[%d]", key, i) }

// note records that key is written on line.
func (p *positions) note(key toml.Key, line int) {
	p.keys = append(p.keys, key)
	for n := 1; n < len(key); n++ {
		parent := key[:n].String()
		if _, ok := p.lines[parent]; !ok {
			p.lines[parent] = mark{line, len(p.keys), true}
		}
	}
	if m, ok := p.lines[key.String()]; !ok || m.implied {
		p.lines[key.String()] = mark{line, len(p.keys), false}
	}
}

// scan finds the keys of text, which the toml package has accepted: so it looks for
// the ends of things and not for mistakes. On other texts it ends, and that is all.
func scan(text string) *positions {
	s := scanner{text: withoutMark(text), line: 1}
	s.found.lines = make(map[string]mark)
	s.document()
	return &s.found
}

// withoutMark cuts off the byte order mark that some editors put before the first
// line, in UTF-8 or, as the toml package lets pass, in UTF-16.
func withoutMark(text string) string {
	for _, mark := range []string{"\ufeff", "\xff\xfe", "\xfe\xff"} {
		if rest, ok := strings.CutPrefix(text, mark); ok {
			return rest
		}
	}
	return text
}

type scanner struct {
	text  string // what is left
	line  int    // the line on which it begins
	found positions
}

func (s *scanner) document() {
	var table toml.Key
	for s.blank(); s.text != ""; s.blank() {
		if !s.is("[") {
			s.pair(table)
			continue
		}
		line := s.line
		s.skipAll("[")
		table = s.key()
		s.found.note(table, line)
		s.skipAll(" \t]")
	}
}

// pair reads KEY = VALUE within table.
func (s *scanner) pair(table toml.Key) {
	line, before := s.line, len(s.text)
	key := append(table[:len(table):len(table)], s.key()...)
	s.found.note(key, line)
	s.skipAll(" \t=")
	s.value(key)
	if len(s.text) == before { // not TOML
		s.take(1)
	}
}

// key reads a key, dotted or not.
func (s *scanner) key() toml.Key {
	var key toml.Key
	for {
		s.skipAll(" \t")
		if s.is(`"`) || s.is("'") {
			key = append(key, unquote(s.str()))
		} else {
			key = append(key, s.until(". \t=]}\r\n"))
		}
		s.skipAll(" \t")
		if !s.is(".") {
			return key
		}
		s.take(1)
	}
}

// value reads over the value of key, and notes what keys and elements are in it.
func (s *scanner) value(key toml.Key) {
	switch {
	case s.is(`"`), s.is("'"):
		s.str()
	case s.is("["):
		s.take(1)
		for i := 0; s.more("]"); i++ {
			if name := elementName(key, i); s.found.lines[name].line == 0 {
				s.found.lines[name] = mark{line: s.line}
			}
			before := len(s.text)
			s.value(key)
			if len(s.text) == before { // not TOML
				s.take(1)
			}
		}
	case s.is("{"):
		s.take(1)
		for s.more("}") {
			s.pair(key)
		}
	default:
		s.until(",]}#\r\n")
	}
}

// more skips what may stand between the members of an array or an inline table. It
// is false, and the end is read, if end comes next.
func (s *scanner) more(end string) bool {
	s.blank()
	if s.is(",") {
		s.take(1)
		s.blank()
	}
	if s.is(end) {
		s.take(1)
		return false
	}
	return s.text != ""
}

// str reads a string of any of the four kinds and returns it with its quotes.
func (s *scanner) str() string {
	quote := s.text[:1]
	escapes := quote == `"`
	long := strings.Repeat(quote, 3)
	if s.is(long) {
		quote = long
	}
	end := len(quote)
	for end < len(s.text) && !strings.HasPrefix(s.text[end:], quote) {
		if escapes && s.text[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end+len(quote), len(s.text))
	for long == quote && end < len(s.text) && s.text[end] == quote[0] {
		end++ // the quotes before the last three are the string's own
	}
	return s.take(end)
}

// unquote gives the value of a quoted key.
func unquote(quoted string) string {
	var v struct{ K string }
	if _, err := toml.Decode("K = "+quoted, &v); err != nil {
		return quoted
	}
	return v.K
}

// blank skips white space, line ends and comments.
func (s *scanner) blank() {
	for s.skipAll(" \t\r\n"); s.is("#"); s.skipAll(" \t\r\n") {
		s.until("\n")
	}
}

func (s *scanner) is(prefix string) bool { return strings.HasPrefix(s.text, prefix) }

// skipAll skips as many of chars as there are.
func (s *scanner) skipAll(chars string) {
	s.take(len(s.text) - len(strings.TrimLeft(s.text, chars)))
}

// until reads up to the first of chars.
func (s *scanner) until(chars string) string {
	end := strings.IndexAny(s.text, chars)
	if end < 0 {
		end = len(s.text)
	}
	return s.take(end)
}

// take reads n bytes, and is the only one who moves on.
func (s *scanner) take(n int) string {
	taken := s.text[:n]
	s.text = s.text[n:]
	s.line += strings.Count(taken, "\n")
	return taken
}
