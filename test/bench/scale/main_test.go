package scale

import (
	"flag"
	"os"
	"testing"
	"time"

	"tenement.dev/test/harness"
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(harness.Main(m))
}

var (
	registered = flag.Int("registered", 1000, "tenants in the registry")
	awake      = flag.Int("awake", 5, "of them awake")
	more       = flag.Int("more", 0, "tenants awake in the end, at most 1000; 0 for -awake")
	each       = flag.Int("each", 3, "tenants in each state whose cost is measured; at most -awake")
	rounds     = flag.Int("rounds", 2, "in which the few and the many are asked in turns")
	window     = flag.Duration("window", 200*time.Millisecond, "how long each is asked in a round")
)

// full says that this is no smoke run.
func full() bool { return *registered > 1000 }

// settle is how long the daemon is left alone before its memory is looked at.
func settle() time.Duration {
	if full() {
		return time.Second
	}
	return 20 * time.Millisecond
}
