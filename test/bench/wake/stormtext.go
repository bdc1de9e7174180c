package main

import (
	"fmt"
	"slices"
	"strings"
)

// ratio is the storm's time, in times of what the bare starts would take on so many
// processors if they did not slow each other down.
func (s *storm) ratio() float64 {
	return s.total / (float64(s.tenants) * s.bare / float64(s.cores))
}

// warm are the p99 of the warm tenant's answers, in milliseconds.
func (s *storm) warm() (quiet, during float64) {
	return percentile(s.quiet, 99), percentile(s.during, 99)
}

func (s *storm) how() string {
	if s.arms {
		return fmt.Sprintf("%d armed", s.armed)
	}
	return "none armed"
}

// rounds are the ratios of all rounds, from low to high.
func (s *storm) rounds() string {
	var all []string
	for _, r := range s.all {
		all = append(all, fmt.Sprintf("%.2f", r))
	}
	return strings.Join(all, ", ")
}

// verdict says whether a goal is reached.
func verdict(value, goal float64) string { return met(value <= goal) }

func met(yes bool) string {
	if yes {
		return "met"
	}
	return "**missed**"
}

// print prints all that was measured, for people.
func (s *storm) print() {
	fmt.Printf("\nisolation %s, %s: %d of %d answered in %.0f ms; a bare start takes %.1f ms\n", s.isolation, s.how(), s.answered, s.tenants, s.total, s.bare)
	fmt.Printf("  %.2f × (%d × bare ÷ %d), goal %.1f: %s; of %s\n", s.ratio(), s.tenants, s.cores, stormGoal, verdict(s.ratio(), stormGoal), s.rounds())
	fmt.Printf("  as many bare starts, one per processor at a time: %.0f ms; the storm is %.2f × that\n", s.alone, s.total/s.alone)
	fmt.Printf("  processor ms per tenant: %s\n  processor ms per bare start: %s\n", s.cpu, s.bareCPU)
	fmt.Printf("  mean ms by phase:")
	for _, phase := range slices.Concat(phases[:len(phases)-1], []string{"wake"}) {
		fmt.Printf(" %s %.1f", phase, s.phases[phase])
	}
	quiet, during := s.warm()
	fmt.Printf("\n  a warm tenant's p99: %.1f ms of %d quiet, %.1f ms of %d during the storm (p50 %.1f and %.1f): %.1f ×, goal %.0f: %s\n",
		quiet, len(s.quiet), during, len(s.during), percentile(s.quiet, 50), percentile(s.during, 50), during/quiet, warmGoal, verdict(during/quiet, warmGoal))
	if s.armed > 0 {
		fmt.Printf("  memory of an armed tenant: %d KiB (PSS)\n", s.waiting/int64(s.armed))
		fmt.Printf("  systemctl daemon-reload: %.0f ms before they were there, %.0f ms with all armed\n", s.reload[0], s.reload[1])
	}
	fmt.Printf("  the daemon's memory: %d KiB before, %d KiB at most\n", s.memory[0], s.memory[1])
}

// stormSection is the section of docs/PERFORMANCE.md about storms.
func stormSection(h hardware, storms []*storm) string {
	var b strings.Builder
	n := storms[0].tenants
	fmt.Fprintf(&b, "<!-- begin storm -->\n## A storm\n\n")
	fmt.Fprintf(&b, "`make bench-storm`: %d sleeping tenants in Python get one request each at once, while another is awake and is asked every\n", n)
	fmt.Fprintf(&b, "%d ms. %d cores of %s, Linux %s, systemd %s, load average %s before and %s after. Besides, the same app is started\n", warmPause.Milliseconds(), h.Cores, h.CPU, h.Kernel, h.Systemd, h.LoadBefore, h.LoadAfter)
	fmt.Fprintf(&b, "%d times by hand, one per core at a time: that takes longer than %d × bare ÷ %d where cores share their parts.\n", n, n, h.Cores)
	fmt.Fprintf(&b, "Of each kind there are %d storms, with bare starts before and after each; told of is the one in the middle.\n\n", stormRounds)
	fmt.Fprintf(&b, "| | answered | ms to the last answer | × (%d × bare ÷ %d), goal %.1f | × as many bare starts | a warm tenant's p99, goal %.0f × | daemon, MB at most |\n", n, h.Cores, stormGoal, warmGoal)
	b.WriteString("|---|---:|---:|---:|---:|---:|---:|\n")
	for _, s := range storms {
		quiet, during := s.warm()
		fmt.Fprintf(&b, "| `%s`, %s | %d | %.0f | %.2f of %s, %s | %.2f | %.1f × %.1f ms, %s | %.0f |\n", s.isolation, s.how(), s.answered, s.total,
			s.ratio(), s.rounds(), verdict(s.ratio(), stormGoal), s.total/s.alone, during/quiet, quiet, verdict(during/quiet, warmGoal), float64(s.memory[1])/1024)
	}
	b.WriteString("\nProcessor time in milliseconds, of the whole machine and by part, per tenant and per bare start:\n\n| | per tenant | per bare start |\n|---|---|---|\n")
	for _, s := range storms {
		fmt.Fprintf(&b, "| `%s`, %s | %s | %s |\n", s.isolation, s.how(), s.cpu, s.bareCPU)
	}
	if s := storms[0]; s.armed > 0 {
		fmt.Fprintf(&b, "\nAn armed tenant has %.1f MB of its own, and makes a `systemctl daemon-reload` %.1f ms longer.\n",
			float64(s.waiting)/float64(s.armed)/1024, (s.reload[1]-s.reload[0])/float64(s.armed))
	}
	b.WriteString("<!-- end storm -->\n")
	return b.String()
}
