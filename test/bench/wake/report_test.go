package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestPercentileIsASample(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for _, c := range []struct {
		samples []float64
		p, want float64
	}{
		{[]float64{7}, 0, 7}, {[]float64{7}, 50, 7}, {[]float64{7}, 99, 7},
		{[]float64{3, 1, 2}, 50, 2}, {[]float64{4, 3, 2, 1}, 50, 2},
		{[]float64{3, 1, 2}, 99, 3}, {[]float64{3, 1, 2}, 0, 1},
		{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100},
	} {
		if got := percentile(c.samples, c.p); got != c.want {
			t.Errorf("percentile %v of %v: got %v, want %v", c.p, c.samples, got, c.want)
		}
	}
}

func TestParseTiming(t *testing.T) {
	header := `queue;dur=0.004, load;dur=0.100, unit_start;dur=36.5, app_ready;dur=40.000, health;dur=0.000, first_byte;dur=1.250, wake;desc="cold";dur=76.604`
	kind, ms, err := parseTiming(header)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"queue": 0.004, "load": 0.1, "unit_start": 36.5, "app_ready": 40, "health": 0, "first_byte": 1.25, "wake": 76.604}
	if kind != "cold" || !maps.Equal(ms, want) {
		t.Errorf("got %q %v, want cold %v", kind, ms, want)
	}
	for _, bad := range []string{"", "db;dur=1", strings.Replace(header, "36.5", "soon", 1)} {
		if _, _, err := parseTiming(bad); err == nil {
			t.Errorf("parseTiming(%q): got no error", bad)
		}
	}
}

// sample is a report with every series, in which a cold wake takes over ms more than
// a bare start and a doze wake doze ms.
func sample(over, doze float64) *report {
	r := &report{Machine: hardware{CPU: "A CPU with a long name and its clock @ 2.00GHz", Cores: 2, Kernel: "6.12.0", Systemd: "257", LoadBefore: "0.10", LoadAfter: "0.95"}}
	parts := func() map[string]float64 {
		ms := make(map[string]float64)
		for _, phase := range phases {
			ms[phase] = 1234.5
		}
		return ms
	}
	for _, app := range []string{"go", "node", "python"} {
		for _, isolation := range []string{"namespace", "process"} {
			r.add(key{app, isolation, kindDoze, false}, doze, parts())
			r.add(key{app, isolation, kindCold, false}, 1000+over, parts())
		}
		r.add(key{App: app, Kind: kindBare}, 1000, nil)
	}
	r.add(key{"python", "namespace", kindCold, true}, 2000, parts())
	r.add(key{Kind: kindUnit}, 12, nil)
	r.judge()
	return r
}

func TestGoals(t *testing.T) {
	for _, c := range []struct {
		over, doze         float64
		coldMet, dozeMet   bool
		coldLines, dozings int
	}{
		{30, 4.9, true, true, 3, 6},
		{30.1, 5, false, false, 3, 6},
	} {
		cold, doze := 0, 0
		for _, g := range sample(c.over, c.doze).Goals {
			want, ms := c.coldMet, c.over
			if strings.Contains(g.Text, "doze") {
				want, ms = c.dozeMet, c.doze
				doze++
			} else {
				cold++
			}
			if diff := g.MS - ms; g.Met != want || diff > 1e-6 || diff < -1e-6 {
				t.Errorf("over %v, doze %v: got %+v, want met %v by %v ms", c.over, c.doze, g, want, ms)
			}
		}
		if cold != c.coldLines || doze != c.dozings {
			t.Errorf("got %d cold and %d doze goals, want %d and %d", cold, doze, c.coldLines, c.dozings)
		}
	}
}

func TestText(t *testing.T) {
	var b strings.Builder
	if err := sample(30.1, 4.9).writeText(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	var order []int
	for _, word := range []string{
		"systemd alone", "python, bare", "python, process, cold wake", "python, namespace, cold wake", "python, namespace, cold, health",
		"python, process, doze wake", "node, bare", "go, bare", "go, namespace, doze wake",
		"bare + 30 ms (p50): **missed** (30.1 ms)", "doze wake p99 below 5 ms: met (4.9 ms)", "| rest |", "<!-- end wake -->",
	} {
		order = append(order, strings.Index(text, word))
	}
	if order[0] < 0 || !slices.IsSorted(order) {
		t.Errorf("the parts stand at %v of\n%s", order, text)
	}
}

// The section says how many were armed, both ratios, and whether the goals are met.
func TestStormSection(t *testing.T) {
	s := &storm{cores: 2, isolation: "namespace", arms: true, armed: 200, tenants: 200, answered: 200, bare: 50, total: 6000, alone: 5000,
		cpu: "all 60.0", bareCPU: "all 50.0", quiet: []float64{2}, during: []float64{8}, memory: [2]int64{1024, 51200}, waiting: 200 << 10, reload: [2]float64{100, 700}}
	slower, faster := *s, *s
	slower.total, faster.total = 8000, 5000
	s = middle([]*storm{&slower, s, &faster})
	cold := &storm{cores: 2, isolation: "namespace", tenants: 200, answered: 199, bare: 50, total: 15000, alone: 5000, quiet: []float64{2}, during: []float64{12}}
	cold = middle([]*storm{cold})
	got := stormSection(hardware{Cores: 2}, []*storm{s, cold})
	for _, want := range []string{
		"<!-- begin storm -->\n## A storm\n",
		"| `namespace`, 200 armed | 200 | 6000 | 1.20 of 1.00, 1.20, 1.60, met | 1.20 | 4.0 × 2.0 ms, met | 50 |\n",
		"| `namespace`, none armed | 199 | 15000 | 3.00 of 3.00, **missed** | 3.00 | 6.0 × 2.0 ms, **missed** | 0 |\n",
		"| `namespace`, 200 armed | all 60.0 | all 50.0 |\n",
		"has 1.0 MB of its own, and makes a `systemctl daemon-reload` 3.0 ms longer.\n<!-- end storm -->\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s\nwithout %q", got, want)
		}
	}
}
