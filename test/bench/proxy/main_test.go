package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tenement.dev/test/harness"
	"tenement.dev/test/machine"
)

func TestMain(m *testing.M) {
	if os.Getenv(plainAddress) != "" {
		ctx, stop := machine.UntilSignal()
		defer stop()
		if err := servePlain(ctx); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(machine.Main(m))
}

// The benchmark runs: everybody that is compared passes on what the app says, and each kind
// of client measures Tenement.
func TestMeasure(t *testing.T) {
	repo, err := harness.Repository()
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"GET, 32 connections", "GET over HTTP/2, 8 connections with 8 streams", "1 GB to the client", "1 GB from the client", "WebSocket, 32 connections", crowdCase}
	r, err := measure(t.Context(), repo, options{rounds: 1, each: 100 * time.Millisecond, registered: 20, hosts: 3, cases: names, peers: []string{"tenement"}, large: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.tables) != len(names) {
		t.Fatalf("got %d tables, want %d", len(r.tables), len(names))
	}
	for _, table := range r.tables {
		if rates := table.rates("tenement"); len(rates) != 1 || rates[0] <= 0 {
			t.Errorf("%s: got rates %v", table.name, rates)
		}
	}
}

func TestParseWrk(t *testing.T) {
	const good = `Running 1s test @ http://127.0.0.1:18080/
  Latency Distribution
     50%  806.00us
     99%    2.27ms
  33789 requests in 1.00s, 5.83MB read
Requests/sec:  33775.69
Transfer/sec:      5.83MB
`
	s, err := parseWrk(good)
	if err != nil || s.rate != 33775.69 || s.p99 != 2270*time.Microsecond {
		t.Errorf("got %v, %v", s, err)
	}
	// A connection that is closed as it was asked for is a read that fails, to wrk.
	if _, err := parseWrk("  Socket errors: connect 0, read 7, write 0, timeout 0\n" + good); err != nil {
		t.Errorf("closed connections: %v", err)
	}
	for _, bad := range []string{"  Non-2xx or 3xx responses: 5\n", "  Socket errors: connect 1, read 0, write 0, timeout 0\n"} {
		if _, err := parseWrk(bad + good); err == nil {
			t.Errorf("%q is passed over", bad)
		}
	}
}

func TestTable(t *testing.T) {
	table := &table{testCase: testCase{name: "GET", unit: "requests/s"}, samples: map[string][]sample{
		"tenement": {{30000, time.Millisecond}, {10000, 3 * time.Millisecond}, {20000, 2 * time.Millisecond}},
		"nginx":    {{10000, time.Millisecond}},
	}}
	got := table.markdown()
	for _, want := range []string{
		"| tenement | 20.0 k |  | 10.0 k – 30.0 k | 2.00 ms |\n", "| nginx | 10.0 k | 2.00 × | 10.0 k – 10.0 k | 1.00 ms |\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
}

// The tables replace those of the last run, and nothing else.
func TestWriteBetweenMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(path, []byte("before\n"+markBegin+"old\n"+markEnd+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeBetweenMarks(path, "new\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "before\n"+markBegin+"\nnew\n\n"+markEnd+"after\n" {
		t.Errorf("got %q, %v", got, err)
	}
}
