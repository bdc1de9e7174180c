package journal

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// filter says of an entry whether it is looked for.
func (q Query) filter() func(Entry) bool {
	search := strings.ToLower(q.Search)
	return func(e Entry) bool {
		return q.Level.Has(e.Priority) &&
			(search == "" || strings.Contains(strings.ToLower(e.Message), search)) &&
			(q.Grep == nil || q.Grep.MatchString(e.Message))
	}
}

// sieve is an expression for journalctl --grep, matched without regard to case, that
// holds back most of what filter does not want, and nothing that it wants; empty where
// there is none. To print an entry costs journalctl, and to read it us, some ten times
// what it takes to look at its message (make bench-logs): the sieve is for speed alone,
// and the filter decides.
//
// (But for the few letters beyond ASCII that are ASCII in the other case, such as the
// sign of the kelvin.)
//
// Only literal texts go into it, because the expressions of journalctl (PCRE2, on bytes)
// are others than ours, and can be made to take for ever.
func (q Query) sieve() string {
	if q.Search != "" {
		return quoteBytes(q.Search) // it has no zero byte: see check
	}
	if q.Grep == nil {
		return ""
	}
	tree, err := syntax.Parse(q.Grep.String(), syntax.Perl)
	if err != nil {
		return ""
	}
	var quoted []string
	for _, text := range literals(tree.Simplify()) {
		if strings.ContainsRune(text, 0) {
			return "" // no argument of a program can have it
		}
		quoted = append(quoted, quoteBytes(text))
	}
	return strings.Join(quoted, "|")
}

// maxLiterals bounds how many texts literals gives.
const maxLiterals = 20

// literals gives texts of which everything that matches re has at least one; none where
// that is not known.
func literals(re *syntax.Regexp) (best []string) {
	switch re.Op {
	case syntax.OpLiteral:
		return []string{string(re.Rune)}
	case syntax.OpCapture, syntax.OpPlus:
		return literals(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return literals(re.Sub[0])
		}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if found := literals(sub); shortest(found) > shortest(best) {
				best = found
			}
		}
		return best
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			found := literals(sub)
			if len(found) == 0 || len(best)+len(found) > maxLiterals {
				return nil
			}
			best = append(best, found...)
		}
		return best
	}
	return nil
}

// shortest is the length of the shortest text, 0 where there is none.
func shortest(texts []string) (n int) {
	for i, text := range texts {
		if i == 0 || len(text) < n {
			n = len(text)
		}
	}
	return n
}

// quoteBytes makes an expression of PCRE2 on bytes that matches s in any case. Beyond
// ASCII it knows no case: any such bytes will do.
func quoteBytes(s string) string {
	var b strings.Builder
	other := false
	for _, r := range s {
		if r >= utf8.RuneSelf {
			if !other {
				b.WriteString(`[^\x00-\x7f]+`)
			}
			other = true
			continue
		}
		other = false
		plain := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == ' ' || r == '\n'
		if !plain {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
