package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"tenement.dev/test/bench/platform"
)

// report is what has been measured.
type report struct {
	options   options
	machine   string
	loadAfter string
	tables    []*table
}

// table is what has been measured of one case.
type table struct {
	testCase
	samples map[string][]sample
	// failed: the peer has ended before it was through.
	failed map[string]bool
}

// rates are those of a peer in ascending order.
func (t *table) rates(peer string) []float64 {
	var list []float64
	for _, s := range t.samples[peer] {
		list = append(list, s.rate)
	}
	slices.Sort(list)
	return list
}

// p99s are those of a peer in ascending order.
func (t *table) p99s(peer string) []time.Duration {
	var list []time.Duration
	for _, s := range t.samples[peer] {
		list = append(list, s.p99)
	}
	slices.Sort(list)
	return list
}

// median is the middle one, of an even number the lower of the two.
func median[T any](sorted []T) T { return sorted[(len(sorted)-1)/2] }

func (t *table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n", t.name)
	fmt.Fprintf(&b, "| | median, %s | Tenement is | min to max | p99 |\n|---|---:|---:|---:|---:|\n", t.unit)
	own := 0.0
	if rates := t.rates(peers[0].name); len(rates) > 0 {
		own = median(rates)
	}
	for _, p := range peers {
		rates := t.rates(p.name)
		if t.failed[p.name] {
			fmt.Fprintf(&b, "| %s | failed | | | |\n", p.name)
			continue
		}
		if len(rates) == 0 {
			continue
		}
		ratio, tail := "", "–"
		if p != peers[0] {
			ratio = fmt.Sprintf("%.2f ×", own/median(rates))
		}
		if d := median(t.p99s(p.name)); d > 0 {
			tail = fmt.Sprintf("%.2f ms", float64(d.Microseconds())/1000)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s – %s | %s |\n", p.name, number(median(rates)), ratio, number(rates[0]), number(rates[len(rates)-1]), tail)
	}
	return b.String()
}

// number is for people: three or four digits.
func number(n float64) string {
	switch {
	case n >= 1e8:
		return fmt.Sprintf("%.2f G", n/1e9)
	case n >= 1e4:
		return fmt.Sprintf("%.1f k", n/1e3)
	}
	return fmt.Sprintf("%.0f", n)
}

func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; load average %s after.\n%d rounds of %v, in which all take turns; fewer where that takes long.\n", r.machine, r.loadAfter, r.options.rounds, r.options.each)
	for _, t := range r.tables {
		b.WriteString("\n" + t.markdown())
	}
	return b.String()
}

// The marks between which the tables stand in a file.
const (
	markBegin = "<!-- begin proxy -->\n"
	markEnd   = "<!-- end proxy -->\n"
)

// writeBetweenMarks replaces what stands there.
func writeBetweenMarks(path, text string) error {
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		old = []byte(markBegin + markEnd)
	} else if err != nil {
		return err
	}
	before, rest, begun := bytes.Cut(old, []byte(markBegin))
	_, after, ended := bytes.Cut(rest, []byte(markEnd))
	if !begun || !ended {
		return fmt.Errorf("%s has no place for the tables", path)
	}
	return os.WriteFile(path, slices.Concat(before, []byte(markBegin+"\n"+text+"\n"+markEnd), after), 0o644)
}

// describeMachine says in one line what the numbers were measured on, and which versions.
func describeMachine(ctx context.Context) (string, error) {
	versions := []string{runtime.Version()}
	for _, argv := range [][]string{{"nginx", "-v"}, {"haproxy", "-v"}, {"caddy", "version"}, {"systemctl", "--version"}} {
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
		}
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		if argv[0] == "caddy" {
			first = "caddy " + first
		}
		first, _, _ = strings.Cut(strings.TrimPrefix(first, "nginx version: "), " (")
		first, _, _ = strings.Cut(first, " 20") // HAProxy's date
		versions = append(versions, first)
	}
	return fmt.Sprintf("%d shared cores of %s, Linux %s; %s; load average %s before", runtime.NumCPU(), platform.CPU(),
		platform.Kernel(), strings.Join(versions, ", "), platform.Load()), nil
}
