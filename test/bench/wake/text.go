package main

import (
	"fmt"
	"io"
	"strings"
)

// writeText prints the report for people, as the section of docs/PERFORMANCE.md about wakes.
func (r *report) writeText(w io.Writer) error {
	var b strings.Builder
	b.WriteString("<!-- begin wake -->\n## Wakes\n\n")
	fmt.Fprintf(&b, "`make bench-wake`: milliseconds to the first byte of the answer, of %d rounds in which all take turns. A bare start is the app\n", r.Rounds)
	b.WriteString("started by hand, until it takes a connection; what comes beyond it by p50 is Tenement's, systemd's and the kernel's.\n")
	fmt.Fprintf(&b, "%s.\n\n", strings.ReplaceAll(r.Machine.String(), "\n", ", "))
	r.writeTotals(&b)
	b.WriteString("The goals, and what they come to:\n\n")
	for _, g := range r.Goals {
		fmt.Fprintf(&b, "- %s: %s (%.1f ms)\n", g.Text, met(g.Met), g.MS)
	}
	b.WriteString("\nThe p50 of each phase; the rest is what the client saw beyond them: the proxy, its own connection.\n\n")
	r.writePhases(&b)
	b.WriteString("<!-- end wake -->\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) writeTotals(b *strings.Builder) {
	b.WriteString("| | n | p50 | p99 | min to max | beyond bare | × bare |\n|---|---:|---:|---:|---:|---:|---:|\n")
	for _, s := range r.Series {
		fmt.Fprintf(b, "| %s | %d | %.1f | %.1f | %.1f – %.1f |", s.label(), len(s.MS), percentile(s.MS, 50), percentile(s.MS, 99), percentile(s.MS, 0), percentile(s.MS, 100))
		if bare := r.find(key{App: s.App, Kind: kindBare}); bare != nil && s != bare {
			own, bare := percentile(s.MS, 50), percentile(bare.MS, 50)
			fmt.Fprintf(b, " %+.1f | %.2f |\n", own-bare, own/bare)
		} else {
			b.WriteString(" | |\n")
		}
	}
	b.WriteString("\n")
}

func (r *report) writePhases(b *strings.Builder) {
	fmt.Fprintf(b, "| | %s |\n|---|%s\n", strings.Join(phases, " | "), strings.Repeat("---:|", len(phases)))
	for _, s := range r.Series {
		if s.Phases == nil {
			continue
		}
		fmt.Fprintf(b, "| %s |", s.label())
		for _, phase := range phases {
			fmt.Fprintf(b, " %.1f |", percentile(s.Phases[phase], 50))
		}
		b.WriteString("\n")
	}
}

// label names a series in a table.
func (k key) label() string {
	switch k.Kind {
	case kindUnit:
		return "systemd alone: `systemd-run --wait true`"
	case kindBare:
		return k.App + ", bare start"
	case kindArmed:
		return k.App + ", " + k.Isolation + ", armed wake"
	case kindDoze:
		return k.App + ", " + k.Isolation + ", doze wake"
	}
	if k.Health {
		return k.App + ", " + k.Isolation + ", cold, health"
	}
	return k.App + ", " + k.Isolation + ", cold wake"
}
