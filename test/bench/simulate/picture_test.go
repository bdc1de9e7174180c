package simulate

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
)

// The picture's sizes, in its own units.
const (
	width, left, right = 860.0, 64.0, 20.0
	top, tall          = 64.0, 230.0
	below, low         = 370.0, 110.0
)

// picture draws a day as SVG that looks well on light and on dark pages.
func picture(title string, asIs, awake []sample, wakes []int) string {
	most := 1.0
	for _, s := range awake {
		most = max(most, s.mb)
	}
	step := 0.0
	for _, part := range []float64{0.1, 0.2, 0.5, 1, 2} {
		if step = part * math.Pow(10, math.Floor(math.Log10(most))); most/step <= 6 {
			break
		}
	}
	most = math.Ceil(most/step) * step
	x := func(hour float64) float64 { return left + (width-left-right)*min(hour, hours)/hours }
	y := func(mb float64) float64 { return top + tall*(1-mb/most) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f 520" font-family="system-ui, sans-serif" font-size="13">
<style>
text { fill: #57606a } .head { fill: #1f2328; font-size: 16px; font-weight: 600 }
.grid { stroke: #d0d7de } .all { stroke: #9a6700; fill: none } .own { stroke: #0969da; fill: #0969da22 } .bar { fill: #0969da }
.to-all { fill: #9a6700 } .to-own { fill: #0969da } path { stroke-width: 2; stroke-linejoin: round }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 } .head { fill: #f0f6fc } .grid { stroke: #3d444d } .all { stroke: #d29922 } .own { stroke: #4493f8; fill: #4493f833 } .bar { fill: #4493f8 }
.to-all { fill: #d29922 } .to-own { fill: #4493f8 } }
</style>
<text class="head" x="%.0f" y="26">%s</text>
<text x="%.0f" y="50">memory of the tenants' processes, MB</text>
`, width, left, title, left)
	for mb := 0.0; mb <= most; mb += step {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><text x="%.1f" y="%.1f" text-anchor="end">%.0f</text>`+"\n", left, width-right, y(mb), y(mb), left-8, y(mb)+4, mb)
	}
	line := func(list []sample) string {
		var d strings.Builder
		for i, s := range list {
			fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(i, 1)], x(s.hour), y(s.mb))
		}
		return d.String()
	}
	fmt.Fprintf(&b, `<path class="all" d="%s"/>`+"\n", line(awake))
	if n := len(asIs); n > 0 {
		fmt.Fprintf(&b, `<path class="own" d="%sL%.1f %.1fL%.1f %.1fZ"/>`+"\n", line(asIs), x(asIs[n-1].hour), y(0), x(asIs[0].hour), y(0))
	}
	fmt.Fprintf(&b, `<text class="to-all" x="%.0f" y="50" text-anchor="end">all stay awake</text><text class="to-own" x="%.0f" y="50" text-anchor="end">as they are needed</text>`+"\n", width-right, width-right-110)
	peak := 1
	for _, n := range wakes {
		peak = max(peak, n)
	}
	fmt.Fprintf(&b, `<text x="%.0f" y="%.0f">wakes in each hour, up to %d</text>`+"\n", left, below-14, peak)
	for hour, n := range wakes {
		h := low * float64(n) / float64(peak)
		fmt.Fprintf(&b, `<rect class="bar" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2"/>`+"\n", x(float64(hour))+3, below+low-h, x(1)-x(0)-6, h)
	}
	for hour := 0; hour <= hours; hour += 3 {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">%02d:00</text>`+"\n", x(float64(hour)), below+low+20, hour%hours)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func TestPicture(t *testing.T) {
	svg := picture("A day", []sample{{0, 5, 1}, {12, 30, 6}, {24, 10, 2}}, []sample{{0, 10, 2}, {24, 900, 200}}, []int{1, 2, 3})
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
	}
	for _, want := range []string{"prefers-color-scheme: dark", `d="M64.0 `, ">800<", ">21:00<"} {
		if !strings.Contains(svg, want) {
			t.Errorf("got no %s in %s", want, svg)
		}
	}
}
