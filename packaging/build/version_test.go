package main

import (
	"os/exec"
	"testing"
)

func TestPackageVersion(t *testing.T) {
	for text, want := range map[string]string{
		"v1.2.3-0-g0123456789ab":        "1.2.3",
		"v1.2.3-5-g0123456789ab":        "1.2.3+5.g0123456789ab",
		"v1.2.3-5-g0123456789ab-dirty":  "1.2.3+5.g0123456789ab.dirty",
		"v1.2.3-0-g0123456789ab-dirty":  "1.2.3+0.g0123456789ab.dirty",
		"v2.0.0-rc1-0-g0123456789ab":    "2.0.0~rc1",
		"v2.0.0-beta-2-7-g0123456789ab": "2.0.0~beta.2+7.g0123456789ab",
		"5d463841aaaa":                  "0.0.0+236.g5d463841aaaa",
		"5d463841aaaa-dirty":            "0.0.0+236.g5d463841aaaa.dirty",
		"v10.0-0-gaaaaaaaaaaaa":         "10.0",
	} {
		got := packageVersion(text, "236")
		if got != want || !wellFormed.MatchString(got) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// dpkg sorts versions as they were made.
func TestVersionsSort(t *testing.T) {
	var last string
	for _, text := range []string{
		"aaaaaaaaaaaa", "v0.9.0-rc1-0-gbbbbbbbbbbbb", "v0.9.0-0-gcccccccccccc", "v0.9.0-9-gffffffffffff", "v0.9.0-10-g000000000000",
		"v0.9.1-rc1-0-gaaaaaaaaaaaa", "v0.9.1-rc1-3-gaaaaaaaaaaaa", "v0.9.1-rc2-0-gaaaaaaaaaaaa", "v0.9.1-0-gaaaaaaaaaaaa", "v0.10.0-0-gaaaaaaaaaaaa",
	} {
		v := packageVersion(text, "5")
		if last != "" {
			if err := exec.Command("dpkg", "--compare-versions", last, "lt", v).Run(); err != nil {
				t.Errorf("dpkg does not have %s before %s: %v", last, v, err)
			}
		}
		last = v
	}
}
