package limits

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
	"tenement.dev/test/harness"
)

// series gives a series of app:alice from the daemon's metrics.
func series(t *testing.T, name string) int64 {
	t.Helper()
	client := http.Client{Timeout: harness.Timeout}
	resp, err := client.Get("http://127.0.0.1:9464/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("tenement_instance_%s{service=\"app\",tenant=\"alice\"} ", name)
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, head); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return int64(n)
		}
	}
	t.Fatalf("no series %s in the metrics", name)
	return 0
}

// TestUseIsCounted has an app use memory, swap and the disk, and finds it where operators
// look.
func TestUseIsCounted(t *testing.T) {
	o := options(map[string]string{"app": "doze_timeout = 1\nmemory_limit_mb = 256"})
	o.Config += "[settings]\nmetrics_listen = \"127.0.0.1:9464\"\n"
	s := harness.Start(t, o)
	begun := time.Now()
	s.Spawn("app:alice")
	stay(t, s, "app:alice")
	post(t, s, "app:alice", "/allocate?mb=64")
	if got := series(t, "memory_bytes"); got < 64*mib || got > 160*mib {
		t.Errorf("memory: got %d MiB, want those 64 and Python's own", got/mib)
	}
	if got := series(t, "memory_limit_bytes"); got != 256*mib {
		t.Errorf("memory limit: got %d MiB, want 256", got/mib)
	}
	post(t, s, "app:alice", "/write?mb=8")
	eventually(t, "what it has written is counted", func() bool { return series(t, "io_written_bytes_total") >= 8*mib })
	if got := series(t, "tasks"); got < 2 {
		t.Errorf("tasks: got %d, want those of ten-init and of the app", got)
	}

	// It has those 64 MiB for a while, which are looked at when it dozes.
	var day wire.DailyUse
	var memory float64
	tells := func(ok func() bool) func() bool {
		return func() bool {
			r := s.Ten("usage", "app:alice", "--json")
			var days []wire.DailyUse
			if err := json.Unmarshal([]byte(r.Stdout), &days); err != nil || r.Code != 0 {
				t.Fatalf("got %s, %v", r, err)
			}
			day, memory = wire.DailyUse{}, 0
			for _, d := range days { // a test may run at midnight
				day.AwakeSeconds += d.AwakeSeconds
				day.DozingSeconds += d.DozingSeconds
				if d.MemoryGiBHours != nil {
					memory += *d.MemoryGiBHours
				}
			}
			return ok()
		}
	}
	eventually(t, "ten usage tells how long it is awake", tells(func() bool { return day.AwakeSeconds >= 4 }))
	leave(t, s, "app:alice")
	s.Await("app:alice", tenant.Dozing)
	eventually(t, "most of the memory is in swap", func() bool {
		return series(t, "swap_bytes") >= 48*mib && series(t, "memory_bytes") <= 32*mib
	})
	before := series(t, "io_read_bytes_total")
	s.Text("app:alice", "/sum")
	eventually(t, "memory that comes back is read from disks", func() bool { return series(t, "io_read_bytes_total")-before >= 32*mib })

	eventually(t, "ten usage tells how long it dozed", tells(func() bool { return day.DozingSeconds > 0 }))
	least, most := 3*64/1024.0/3600, time.Since(begun).Hours()*256/1024
	if got := memory; got < least || got > most {
		t.Errorf("memory: got %.6f GiB hours, want between %.6f and %.6f: %+v", got, least, most, day)
	}
}
