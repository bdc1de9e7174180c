package tenant

import (
	"maps"
	"testing"
)

func TestParseLimit(t *testing.T) {
	for _, c := range []struct {
		limit Limit
		text  string
		want  int64
		again string // as it is printed
	}{
		{LimitMemory, "512M", 512 << 20, "512M"},
		{LimitMemory, "512m", 512 << 20, "512M"},
		{LimitMemory, "512MB", 512 << 20, "512M"},
		{LimitMemory, "512 MiB", 512 << 20, "512M"},
		{LimitMemory, "1.5G", 3 << 29, "1.5G"},
		{LimitMemory, "2048K", 2 << 20, "2M"},
		{LimitMemory, "1048576", 1 << 20, "1M"},
		{LimitMemory, "none", 0, "none"},
		{LimitStorage, "2T", 2 << 40, "2T"},
		{LimitCPUQuota, "50%", 50, "50%"},
		{LimitCPUQuota, "150", 150, "150%"},
		{LimitCPUShares, "10000", 10000, "10000"},
		{LimitIOWeight, "1", 1, "1"},
		{LimitTasks, "16", 16, "16"},
		{LimitNoFile, "1048576", 1 << 20, "1048576"},
	} {
		got, err := c.limit.Parse(c.text)
		if err != nil || got != c.want {
			t.Errorf("%s %q: got %d, %v, want %d", c.limit, c.text, got, err, c.want)
		}
		if got := c.limit.Format(c.want); got != c.again {
			t.Errorf("%s %d: got %q, want %q", c.limit, c.want, got, c.again)
		}
	}
	for limit, texts := range map[Limit][]string{
		LimitMemory:   {"", "M", "-1M", "1X", "0", "0M", "512", "1023K", "1e30T", "infM", "nanG", "9223372036854775807", "5 12 M x"},
		LimitCPUQuota: {"", "%", "0%", "-5", "50%%", "1.5", "1000001"}, LimitCPUShares: {"0", "10001", "50%", "+5 "},
		LimitTasks: {"15", "x", "2147483648", "99999999999999999999"}, LimitNoFile: {"63", "1048577"}, "dreams": {"5"},
	} {
		for _, text := range texts {
			if got, err := limit.Parse(text); CodeOf(err) != CodeInvalid {
				t.Errorf("%s %q: got %d, %v, want %s", limit, text, got, err, CodeInvalid)
			}
		}
	}
}

func FuzzParseLimit(f *testing.F) {
	for _, text := range []string{"512M", "50%", "none", "1.5G", "0x1p3M"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, limit := range AllLimits() {
			v, err := limit.Parse(text)
			if err == nil && limit.Check(v) != nil || v < 0 {
				t.Errorf("%s %q: got %d, which cannot be set", limit, text, v)
			}
		}
	})
}

func TestLimitChange(t *testing.T) {
	own := Limits{LimitMemory: 1 << 30, LimitTasks: 50}
	for _, c := range []struct {
		change LimitChange
		want   Limits
	}{
		{LimitChange{Set: Limits{LimitMemory: 0}}, Limits{LimitMemory: 0, LimitTasks: 50}},
		{LimitChange{Reset: []Limit{LimitTasks, LimitNoFile}}, Limits{LimitMemory: 1 << 30}},
		{LimitChange{ResetAll: true, Set: Limits{LimitNoFile: 100}}, Limits{LimitNoFile: 100}},
	} {
		if got := c.change.Apply(own); !maps.Equal(got, c.want) {
			t.Errorf("%+v: got %v, want %v", c.change, got, c.want)
		}
	}
	if len(own) != 2 {
		t.Errorf("what was changed is changed itself: %v", own)
	}
}

func TestLimitsThatHold(t *testing.T) {
	service := Limits{LimitMemory: 1 << 20, LimitTasks: 50}
	all := Limits{LimitMemory: 0, LimitCPUShares: 0}.Or(service)
	for limit, want := range map[Limit]int64{
		LimitMemory: 0, LimitTasks: 50, LimitCPUShares: StandardWeight, LimitIOWeight: StandardWeight, LimitNoFile: 8192, LimitStorage: 0,
	} {
		if got := all.Get(limit); got != want {
			t.Errorf("%s: got %d, want %d", limit, got, want)
		}
	}
	if got := Boosted(5000); got != 10000 {
		t.Errorf("the boost of 5000: got %d, want the highest, 10000", got)
	}
}
