package config

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
)

// A reader takes what TOML gives for a key into the field that it was made for, or
// says what is wrong with it and leaves the field alone.
type reader func(v any) *problem

const (
	// longest is the longest duration that can be meant.
	longest = 10 * 365 * 24 * time.Hour
	// shortest is the shortest duration other than 0 that can be meant.
	shortest = time.Millisecond
)

func text(into *string) reader {
	return func(v any) *problem {
		s, ok := v.(string)
		if !ok {
			return mismatch("a string", v)
		}
		if p := checkText(s); p != nil {
			return p
		}
		*into = s
		return nil
	}
}

// checkText refuses the one character that no argument, variable or path can hold.
func checkText(s string) *problem {
	if strings.Contains(s, "\x00") {
		return &problem{msg: "a NUL character cannot be in here"}
	}
	return nil
}

func texts(into *[]string) reader {
	return func(v any) *problem {
		elements, ok := v.([]any)
		if !ok {
			return mismatch("an array of strings", v)
		}
		list := make([]string, len(elements))
		for i, e := range elements {
			if p := text(&list[i])(e); p != nil {
				p.element = i + 1
				return p
			}
		}
		*into = list
		return nil
	}
}

// domains takes a domain or an array of them.
func domains(into *[]string) reader {
	return func(v any) *problem {
		var list []string
		if p := oneOrMore(&list)(v); p != nil {
			return p
		}
		found, p := parseDomains(list)
		if p != nil {
			_, isList := v.([]any)
			if !isList {
				p.element = 0
			}
			return p
		}
		*into = found
		return nil
	}
}

// loopback reads an address that only this machine can reach, with a port.
func loopback(into *string) reader {
	return func(v any) *problem {
		if p := text(into)(v); p != nil {
			return p
		}
		addr, err := netip.ParseAddrPort(*into)
		switch {
		case err != nil || addr.Port() == 0 || addr.Addr().Zone() != "":
			return &problem{msg: fmt.Sprintf("%q is not an IP address with a port", *into), hint: `write it as "127.0.0.1:9464"`}
		case !addr.Addr().Unmap().IsLoopback():
			return &problem{
				msg:  fmt.Sprintf("%s can be reached from other machines, which would learn the names of all instances", addr),
				hint: `use the loopback, such as "127.0.0.1:9464", and a proxy or an agent on this machine`,
			}
		}
		return nil
	}
}

// prefixes takes an array of IP addresses and of networks in CIDR notation (RFC 4632,
// section 3.1).
func prefixes(into *[]netip.Prefix) reader {
	return func(v any) *problem {
		var list []string
		if p := texts(&list)(v); p != nil {
			return p
		}
		found := make([]netip.Prefix, len(list))
		for i, s := range list {
			prefix, err := netip.ParsePrefix(s)
			if addr, aerr := netip.ParseAddr(s); aerr == nil {
				prefix, err = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
			}
			if err != nil || prefix.Addr().Zone() != "" || !prefix.IsValid() {
				return &problem{
					msg:     fmt.Sprintf("%q is not an IP address or a network", s),
					hint:    `write it as "192.0.2.7" or "192.0.2.0/24"`,
					element: i + 1,
				}
			}
			found[i] = prefix.Masked()
		}
		*into = found
		return nil
	}
}

// command takes a command line, or the words of one.
func command(into *[]string) reader {
	return func(v any) *problem {
		var words []string
		switch v := v.(type) {
		case string:
			var p *problem
			if p = checkText(v); p == nil {
				words, p = split(v)
			}
			if p != nil {
				return p
			}
		case []any:
			if p := texts(&words)(v); p != nil {
				return p
			}
		default:
			return mismatch("a string or an array of strings", v)
		}
		if len(words) == 0 || words[0] == "" {
			return &problem{msg: "the command is empty", hint: `write what to run, such as "python3 app.py"`}
		}
		*into = words
		return nil
	}
}

func flag(into *bool) reader {
	return func(v any) *problem {
		b, ok := v.(bool)
		if !ok {
			return mismatch("true or false", v)
		}
		*into = b
		return nil
	}
}

// number takes an integer from low to high.
func number[T int | int64](into *T, low, high T) reader {
	return func(v any) *problem {
		n, ok := v.(int64)
		if !ok {
			return mismatch("an integer", v)
		}
		if n < int64(low) || n > int64(high) {
			return &problem{msg: fmt.Sprintf("%d is out of range", n), hint: fmt.Sprintf("use %d to %d", low, high)}
		}
		*into = T(n)
		return nil
	}
}

// seconds takes a number of seconds or a string such as "5m". With low being 0, 0
// may be meant too.
func seconds(into *time.Duration, low time.Duration) reader {
	return func(v any) *problem {
		var d time.Duration
		switch v := v.(type) {
		case int64:
			d = time.Duration(min(max(v, -1), int64(longest/time.Second)+1)) * time.Second
		case float64:
			if math.IsNaN(v) {
				return mismatch(aDuration, v)
			}
			d = time.Duration(min(max(v, -1), longest.Seconds()+1) * float64(time.Second))
			if v > 0 && d == 0 {
				d = 1
			}
		case string:
			var err error
			if d, err = time.ParseDuration(v); err != nil {
				return &problem{
					msg:  fmt.Sprintf("%q is not a duration", v),
					hint: `write seconds, or a string such as "5m", "1h30m" or "250ms"`,
				}
			}
		default:
			return mismatch(aDuration, v)
		}
		return takeDuration(into, d, low)
	}
}

const aDuration = `seconds or a string such as "5m"`

// milliseconds takes an integer of them.
func milliseconds(into *time.Duration) reader {
	return func(v any) *problem {
		n, ok := v.(int64)
		if !ok {
			return mismatch("an integer of milliseconds", v)
		}
		d := time.Duration(min(max(n, -1), longest.Milliseconds()+1)) * time.Millisecond
		return takeDuration(into, d, shortest)
	}
}

func takeDuration(into *time.Duration, d, low time.Duration) *problem {
	switch {
	case d < 0:
		return &problem{msg: "a duration cannot be negative"}
	case d == 0 && low > 0:
		return &problem{msg: "a duration of 0 makes no sense here"}
	case d > 0 && d < shortest:
		return &problem{msg: "shorter than a millisecond"}
	case d > longest:
		return &problem{msg: "longer than ten years"}
	}
	*into = d
	return nil
}

// choice takes one of a few words.
func choice[T ~string](into *T, words ...T) reader {
	return func(v any) *problem {
		s, ok := v.(string)
		if !ok {
			return mismatch(oneOf(words), v)
		}
		if !slices.Contains(words, T(s)) {
			return &problem{msg: fmt.Sprintf("unknown value %q", s), hint: "use " + oneOf(words)}
		}
		*into = T(s)
		return nil
	}
}

// oneOf prints "a", "b" or "c".
func oneOf[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1:
			b.WriteString(" or ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(string(w)))
	}
	return b.String()
}

// kinds takes a list of names of kinds of request.
func kinds(into *tenant.Kinds) reader {
	return func(v any) *problem {
		var words []string
		if p := texts(&words)(v); p != nil {
			return p
		}
		var set tenant.Kinds
		for i, word := range words {
			k, ok := tenant.ParseKind(word)
			if !ok {
				return &problem{
					msg:     fmt.Sprintf("unknown value %q", word),
					hint:    "use " + oneOf(tenant.KindNames()),
					element: i + 1,
				}
			}
			set |= k
		}
		*into = set
		return nil
	}
}

// table takes a table whose keys are nobody's business but the app's.
func table(into *map[string]any) reader {
	return func(v any) *problem {
		t, ok := v.(map[string]any)
		if !ok {
			return mismatch("a table", v)
		}
		*into = t
		return nil
	}
}

// ports takes a range such as "30000-32767".
func ports(low, high *int) reader {
	return func(v any) *problem {
		s, ok := v.(string)
		if !ok {
			return mismatch(`a string such as "30000-32767"`, v)
		}
		from, to, _ := strings.Cut(s, "-")
		first, err1 := strconv.ParseUint(from, 10, 16)
		last, err2 := strconv.ParseUint(to, 10, 16)
		// Ports below 1024 need a privilege (ip(7), ip_unprivileged_port_start).
		if err1 != nil || err2 != nil || first < 1024 || first > last {
			return &problem{
				msg:  fmt.Sprintf("%q is not a range of ports", s),
				hint: `write the first and the last, within 1024 to 65535, such as "30000-32767"`,
			}
		}
		*low, *high = int(first), int(last)
		return nil
	}
}

// address takes an IP address and a port; port is one for examples.
func address(into *string, port int) reader {
	example := fmt.Sprintf("127.0.0.1:%d", port)
	return func(v any) *problem {
		s, ok := v.(string)
		if !ok {
			return mismatch(fmt.Sprintf("a string such as %q", example), v)
		}
		addr, err := netip.ParseAddrPort(s)
		if err != nil || addr.Port() == 0 {
			return &problem{
				msg:  fmt.Sprintf("%q is not an IP address and a port", s),
				hint: fmt.Sprintf("write it as %q or \"[::1]:%d\"", example, port),
			}
		}
		*into = addr.String()
		return nil
	}
}

// public takes a scheme, with a port if that is not the scheme's own.
func public(into *Public) reader {
	ports := map[string]int{"http": 80, "https": 443}
	return func(v any) *problem {
		s, ok := v.(string)
		if !ok {
			return mismatch(`a string such as "https"`, v)
		}
		scheme, port, other := strings.Cut(s, ":")
		p := Public{scheme, ports[scheme]}
		if other {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil || n == 0 {
				p.Port = 0
			} else if p.Port != 0 {
				p.Port = int(n)
			}
		}
		if p.Port == 0 {
			return &problem{msg: fmt.Sprintf("%q is not how people reach a site", s), hint: `write "https", or "https:8443" where the port is another one`}
		}
		*into = p
		return nil
	}
}

func mismatch(want string, v any) *problem {
	return &problem{msg: fmt.Sprintf("expected %s, found %s", want, kind(v))}
}

// kind names the TOML type of v.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "an array of tables"
	}
	return fmt.Sprintf("%T", v)
}
