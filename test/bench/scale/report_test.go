package scale

import (
	"fmt"
	"strings"
)

// report is what `make bench-scale` writes.
type report struct {
	goals  []goal
	states []state
}

// goal is one thing that was measured, and what it should be.
type goal struct {
	what, got, want string
	met             bool
}

// state is what each tenant in one costs, in KiB.
type state struct {
	name string
	n    int
	cost
}

func (r *report) add(met bool, what, got, want string) {
	r.goals = append(r.goals, goal{what, got, want, met})
}

// note adds what has no goal.
func (r *report) note(what, got string) { r.add(true, what, got, "") }

// enough is how many tenants it takes to see what they cost the daemon, and how many awake the
// goals are for.
const enough = 500

func (r *report) String() string {
	var b strings.Builder
	b.WriteString("| | measured | goal | |\n|---|---:|---:|---|\n")
	for _, g := range r.goals {
		verdict := "met"
		if g.want == "" {
			verdict = ""
		} else if !g.met {
			verdict = "**MISSED**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", g.what, g.got, g.want, verdict)
	}
	b.WriteString("\nWhat each tenant in a state costs, of an app in Go, in KiB:\n\n")
	b.WriteString("| | tenants | daemon | PID 1 | own processes | kernel, about |\n|---|---:|---:|---:|---:|---:|\n")
	for _, s := range r.states {
		per := func(n int64) string { return fmt.Sprintf("%.1f", max(float64(n)/float64(s.n), 0)) }
		daemon := "–"
		if s.n >= enough {
			daemon = per(s.daemon)
		}
		fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s |\n", s.name, s.n, daemon, per(s.pid1), per(s.processes), per(s.kernel))
	}
	b.WriteString(`
The daemon's is resident memory, its garbage included, of which there is too much to tell what less than 500 tenants
cost. Processes share pages: each counts by the part of those who use it. This machine has no memory controller, so
dozing gives nothing back to the kernel; where it has one, most of a dozing app's memory goes to swap.
`)
	return b.String()
}

func mib(kib int64) string { return fmt.Sprintf("%.1f MB", float64(kib)/1024) }
