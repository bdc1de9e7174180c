package config

import (
	"fmt"
	"strings"
)

// split cuts a command line into words as a POSIX shell does: white space, quotes
// and backslashes, and nothing else. What else a shell would act on outside quotes
// (operators, variables, comments, a second line) is a problem and not a word, since
// no shell is there to do it. Wildcards and braces are ordinary characters.
func split(line string) ([]string, *problem) {
	s := splitter{line: line}
	for s.pos < len(s.line) {
		if p := s.next(); p != nil {
			return nil, p
		}
	}
	s.endWord()
	return s.words, nil
}

type splitter struct {
	line   string
	pos    int
	words  []string
	word   strings.Builder
	inWord bool // word is one even if it is empty, as '' is
}

const useShell = `quote it, put the command in a script, or use bash -c '...'`

// next reads a character, a quoted string or an escape.
func (s *splitter) next() *problem {
	c, rest := s.line[s.pos], s.line[s.pos+1:]
	switch c {
	case ' ', '\t', '\r', '\n':
		s.endWord()
		s.pos++
		if c != '\n' || len(s.words) == 0 || strings.TrimSpace(rest) == "" {
			return nil
		}
		return &problem{
			msg:  "a line break ends a command, and there can be only one",
			hint: `write "\\" before the line break to go on, put the commands in a script, or use bash -c '...'`,
		}
	case '\'':
		return s.single(rest)
	case '"':
		return s.double()
	case '\\':
		return s.escape(rest)
	case '|', '&', ';', '<', '>', '(', ')', '`':
		op := string(c)
		if strings.HasPrefix(rest, op) {
			op += op
		}
		return &problem{msg: fmt.Sprintf("%q is for a shell, and commands run without one", op), hint: useShell}
	case '$':
		if name := variable(rest); name != "" {
			return &problem{
				msg:  fmt.Sprintf("%q is for a shell, and commands run without one", "$"+name),
				hint: "use a placeholder such as {port}, put the command in a script, or use bash -c '...'",
			}
		}
	case '#':
		if !s.inWord {
			return &problem{msg: `"#" begins a comment in a shell, and commands run without one`, hint: "quote it, or leave it out"}
		}
	case '~':
		if !s.inWord && (rest == "" || strings.ContainsAny(rest[:1], "/ \t\n")) {
			return &problem{msg: `"~" is for a shell, and commands run without one`, hint: "write out the path of the home directory"}
		}
	}
	s.put(c)
	s.pos++
	return nil
}

// single reads up to the closing ', rest being what follows the opening one.
func (s *splitter) single(rest string) *problem {
	end := strings.IndexByte(rest, '\'')
	if end < 0 {
		return &problem{msg: `a ' is not closed`, hint: `write \' for a single one`}
	}
	s.inWord = true
	s.word.WriteString(rest[:end])
	s.pos += end + 2
	return nil
}

// double reads up to the closing ".
func (s *splitter) double() *problem {
	s.inWord = true
	for i := s.pos + 1; i < len(s.line); i++ {
		switch c := s.line[i]; {
		case c == '"':
			s.pos = i + 1
			return nil
		case c == '\\' && i+1 < len(s.line) && strings.IndexByte("\"\\$`\n", s.line[i+1]) >= 0:
			i++
			if s.line[i] != '\n' {
				s.word.WriteByte(s.line[i])
			}
		default:
			s.word.WriteByte(c)
		}
	}
	return &problem{msg: `a " is not closed`, hint: `write \" for a single one`}
}

// escape reads what follows a backslash outside quotes.
func (s *splitter) escape(rest string) *problem {
	switch {
	case rest == "":
		return &problem{msg: `there is nothing after the last "\"`, hint: `write \\ for the character itself`}
	case rest[0] == '\n': // the line goes on
	case strings.HasPrefix(rest, "\r\n"):
		s.pos++
	default:
		s.put(rest[0])
	}
	s.pos += 2
	return nil
}

func (s *splitter) put(c byte) {
	s.inWord = true
	s.word.WriteByte(c)
}

func (s *splitter) endWord() {
	if s.inWord {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.inWord = false
}

// variable gives what a shell would expand after a $, "" if it would leave it alone.
func variable(rest string) string {
	n := 0
	for n < len(rest) && isNameByte(rest[n]) {
		n++
	}
	if n == 0 && rest != "" && strings.IndexByte("{(", rest[0]) >= 0 {
		n = 1
	}
	return rest[:n]
}

// isNameByte reports whether c may stand in the name of a variable.
func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// isName reports whether s is a variable's name (POSIX.1-2024, XBD 3.216).
func isName(s string) bool {
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return s != "" && (s[0] < '0' || s[0] > '9')
}
