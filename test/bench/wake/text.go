package main

import (
	"fmt"
	"io"
	"strings"
)

// writeText prints the report for people, in at most 100 columns.
func (r *report) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", r.Machine)
	r.writeTotals(&b)
	r.writePhases(&b)
	for _, g := range r.Goals {
		verdict := "met"
		if !g.Met {
			verdict = "missed"
		}
		fmt.Fprintf(&b, "%s: %s (%.1f ms)\n", g.Text, verdict, g.MS)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) writeTotals(b *strings.Builder) {
	b.WriteString("Milliseconds to the first byte of the answer; \"× bare\" and \"+ bare\" compare p50.\n")
	fmt.Fprintf(b, "%-34s %5s %8s %8s %8s %8s %8s %8s\n", "", "n", "p50", "p99", "min", "max", "× bare", "+ bare")
	app := ""
	for _, s := range r.Series {
		if s.App != app {
			b.WriteString("\n")
			app = s.App
		}
		fmt.Fprintf(b, "%-34s %5d", s.label(), len(s.MS))
		for _, p := range []float64{50, 99, 0, 100} {
			fmt.Fprintf(b, " %8.1f", percentile(s.MS, p))
		}
		if bare := r.find(key{App: s.App, Kind: kindBare}); bare != nil && s != bare {
			own, bare := percentile(s.MS, 50), percentile(bare.MS, 50)
			fmt.Fprintf(b, " %8.2f %+8.1f", own/bare, own-bare)
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

func (r *report) writePhases(b *strings.Builder) {
	b.WriteString("p50 of each phase; \"rest\" is what the client saw beyond them: the proxy, its own connection.\n")
	fmt.Fprintf(b, "%-34s", "")
	for _, phase := range phases {
		fmt.Fprintf(b, " %*s", phaseWidth(phase), phase)
	}
	b.WriteString("\n")
	for _, s := range r.Series {
		if s.Phases == nil {
			continue
		}
		fmt.Fprintf(b, "%-34s", s.label())
		for _, phase := range phases {
			fmt.Fprintf(b, " %*.1f", phaseWidth(phase), percentile(s.Phases[phase], 50))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

func phaseWidth(phase string) int { return max(len(phase), 6) }

// label names a series in a table.
func (k key) label() string {
	switch k.Kind {
	case kindUnit:
		return "systemd alone, /bin/true as a unit"
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
