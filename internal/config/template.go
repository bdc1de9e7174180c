package config

import (
	"fmt"
	"slices"
	"strings"
)

// placeholders are the names that may stand in braces; doc.go explains them.
var placeholders = []string{"name", "id", "data_dir", "port", "socket", "release"}

// part is a piece of a template: text as it is, or the name of a placeholder.
type part struct {
	text        string
	placeholder bool
}

// template is a string with placeholders, cut into its parts. Two pieces of plain
// text never follow each other.
type template []part

// parseTemplate cuts s at its placeholders. {data_dir}/{name}/{id} comes out as
// {data_dir}/{id}, which is what it means.
func parseTemplate(s string) (template, *problem) {
	var t template
	open := 0 // how many {{ wait for their }}
	for s != "" {
		name, ok := leadingPlaceholder(s)
		switch {
		case ok && !slices.Contains(placeholders, name):
			return nil, unknownPlaceholder(name)
		case ok && t.endsWith("$"):
			return nil, &problem{
				msg:  fmt.Sprintf("${%s} is neither a shell's variable nor a placeholder", name),
				hint: fmt.Sprintf("write {%s} for the placeholder, ${{%s}} for the variable", name, name),
			}
		case ok:
			t = append(t, part{name, true})
			s = s[len(name)+2:]
		case strings.HasPrefix(s, "{{"):
			open++
			t, s = t.text("{"), s[2:]
		case strings.HasPrefix(s, "}}") && open > 0:
			open--
			t, s = t.text("}"), s[2:]
		default:
			t, s = t.text(s[:1]), s[1:]
		}
	}
	return t.withoutName(), nil
}

// leadingPlaceholder gives the identifier in braces that s begins with.
func leadingPlaceholder(s string) (string, bool) {
	if s[0] != '{' {
		return "", false
	}
	name, _, ok := strings.Cut(s[1:], "}")
	return name, ok && isName(name)
}

func unknownPlaceholder(name string) *problem {
	hint := "known: {" + strings.Join(placeholders, "} {") + "}"
	if best := nearest(name, placeholders); best != "" {
		hint = fmt.Sprintf("did you mean {%s}? %s", best, hint)
	}
	return &problem{
		msg:  fmt.Sprintf("unknown placeholder {%s}", name),
		hint: fmt.Sprintf("%s; write {{%s}} for {%s} itself", hint, name, name),
	}
}

// text appends plain text.
func (t template) text(s string) template {
	if n := len(t); n > 0 && !t[n-1].placeholder {
		t[n-1].text += s
		return t
	}
	return append(t, part{text: s})
}

func (t template) endsWith(s string) bool {
	n := len(t)
	return n > 0 && !t[n-1].placeholder && strings.HasSuffix(t[n-1].text, s)
}

// withoutName makes {data_dir}/{id} of {data_dir}/{name}/{id}.
func (t template) withoutName() template {
	long := template{{"data_dir", true}, {"/", false}, {"name", true}, {"/", false}, {"id", true}}
	for i := 0; i+len(long) <= len(t); i++ {
		if slices.Equal(t[i:i+len(long)], long) {
			t = slices.Delete(t, i+1, i+3)
		}
	}
	return t
}

// has reports whether t has the placeholder name, or any if name is empty.
func (t template) has(name string) bool {
	return slices.ContainsFunc(t, func(p part) bool {
		return p.placeholder && (name == "" || p.text == name)
	})
}

// staysInside reports whether each {data_dir} in t leads to the instance's own
// directory: it goes on with /{id}, and the name of the directory ends there.
func (t template) staysInside() bool {
	for i, p := range t {
		if p != (part{"data_dir", true}) {
			continue
		}
		if i+2 >= len(t) || t[i+1] != (part{"/", false}) || t[i+2] != (part{"id", true}) {
			return false
		}
		if i+3 == len(t) {
			continue
		}
		next := t[i+3]
		if c := next.text[0]; next.placeholder || isNameByte(c) || c == '-' || c == '.' || c >= 0x80 {
			return false
		}
		if next.text == "/.." || strings.HasPrefix(next.text, "/../") {
			return false
		}
	}
	return true
}

// fill puts values in the place of placeholders.
func (t template) fill(values map[string]string) string {
	var b strings.Builder
	for _, p := range t {
		if p.placeholder {
			b.WriteString(values[p.text])
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String()
}
