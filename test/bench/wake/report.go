package main

import (
	"encoding/json"
	"io"
	"math"
	"slices"
)

// kind is what was measured.
type kind string

const (
	kindUnit  kind = "unit" // a transient service, nothing of ours
	kindBare  kind = "bare"
	kindCold  kind = "cold"
	kindArmed kind = "armed"
	kindDoze  kind = "doze"
)

// The goals. They are for a quiet machine of two cores.
const (
	armedGoal = 3.0  // ms that an armed wake under namespaces may take beyond a bare start, by p50
	coldGoal  = 30.0 // ms that a cold wake under namespaces may take beyond a bare start, by p50, where systemd alone takes 40
	dozeGoal  = 5.0  // ms below which a doze wake's p99 is
)

// key names a series.
type key struct {
	App       string `json:"app,omitempty"`
	Isolation string `json:"isolation,omitempty"`
	Kind      kind   `json:"kind"`
	Health    bool   `json:"health,omitempty"` // with a health endpoint to wait for
}

// series has all samples of one kind, in milliseconds and in the order of the rounds.
type series struct {
	key
	MS     []float64            `json:"ms"`
	Phases map[string][]float64 `json:"phases,omitempty"`
}

// report is what was measured, and what that means.
type report struct {
	Machine hardware  `json:"machine"`
	Rounds  int       `json:"rounds"`
	Series  []*series `json:"series"`
	Goals   []goal    `json:"goals"`
}

// goal is one thing that was promised.
type goal struct {
	Text string  `json:"text"`
	Met  bool    `json:"met"`
	MS   float64 `json:"ms"`
}

func (r *report) add(k key, ms float64, parts map[string]float64) {
	s := r.find(k)
	if s == nil {
		s = &series{key: k}
		r.Series = append(r.Series, s)
	}
	s.MS = append(s.MS, ms)
	for phase, ms := range parts {
		if s.Phases == nil {
			s.Phases = make(map[string][]float64)
		}
		s.Phases[phase] = append(s.Phases[phase], ms)
	}
}

// find gives the series k, nil if there is none.
func (r *report) find(k key) *series {
	i := slices.IndexFunc(r.Series, func(s *series) bool { return s.key == k })
	if i < 0 {
		return nil
	}
	return r.Series[i]
}

// judge brings the series into the order of the report and says which goals are met.
func (r *report) judge() {
	slices.SortStableFunc(r.Series, func(a, b *series) int { return rank(a.key) - rank(b.key) })
	r.Goals = nil
	for _, s := range r.Series {
		bare := r.find(key{App: s.App, Kind: kindBare})
		if s.Isolation != "namespace" || s.Health || bare == nil {
			continue
		}
		over := percentile(s.MS, 50) - percentile(bare.MS, 50)
		switch s.Kind {
		case kindCold:
			r.Goals = append(r.Goals, goal{s.App + ": namespace cold wake at most bare + 30 ms (p50)", over <= coldGoal, over})
		case kindArmed:
			r.Goals = append(r.Goals, goal{s.App + ": namespace armed wake at most bare + 3 ms (p50)", over <= armedGoal, over})
		}
	}
	for _, s := range r.Series {
		if s.Kind == kindDoze {
			p99 := percentile(s.MS, 99)
			r.Goals = append(r.Goals, goal{s.App + ": " + s.Isolation + " doze wake p99 below 5 ms", p99 < dozeGoal, p99})
		}
	}
}

// rank orders series: by app, then bare, cold, armed, doze, and process before namespace before sandbox.
func rank(k key) int {
	rank := 100 * (1 + slices.Index([]string{"python", "node", "go"}, k.App))
	rank += 10 * slices.Index([]kind{kindBare, kindCold, kindArmed, kindDoze}, k.Kind)
	rank += slices.Index(isolations, k.Isolation)
	if k.Health {
		rank += 5
	}
	return rank
}

// percentile gives the nearest-rank percentile: a sample that was measured. With
// fewer than 100 samples the 99th is the largest.
func percentile(samples []float64, p float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[max(int(math.Ceil(p/100*float64(len(sorted))))-1, 0)]
}

func (r *report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}
