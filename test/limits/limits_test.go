package limits

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
	"tenement.dev/test/harness"
)

const app = "[service.app]\ncommand = \"{bin}/testapp\"\n"

// cgroup gives a file of an instance's control group, empty while it has none.
func cgroup(s *harness.Server, id, file string) string {
	group := s.Show(id, "ControlGroup")
	if group == "" {
		return ""
	}
	text, _ := os.ReadFile(filepath.Join("/sys/fs/cgroup", group, file))
	return strings.TrimSpace(string(text))
}

// has waits until files of an instance's control group have the given contents: what is
// set after a wake is not waited for by its request.
func has(t *testing.T, s *harness.Server, id string, want map[string]string) {
	t.Helper()
	for file, want := range want {
		becomes(t, file+" of "+id+" is "+want, func() (string, bool) {
			got := cgroup(s, id, file)
			return got, got == want
		})
	}
}

func becomes(t *testing.T, what string, f func() (got string, ok bool)) {
	t.Helper()
	deadline := time.Now().Add(harness.Timeout)
	for {
		got, ok := f()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %q after %v, want that %s", got, harness.Timeout, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// limits gives what `ten limit --json` says after the given changes.
func limits(t *testing.T, s *harness.Server, id string, flags ...string) wire.Limits {
	t.Helper()
	r := s.Ten(append([]string{"limit", id, "--json"}, flags...)...)
	var l wire.Limits
	if err := json.Unmarshal([]byte(r.Stdout), &l); err != nil || r.Code != 0 {
		t.Fatalf("ten limit: %v: %s", err, r)
	}
	return l
}

func inBytes(n int64) string { return strconv.FormatInt(n<<20, 10) }

// killed has an instance eat memory until the kernel ends it, and it is started again.
func killed(t *testing.T, s *harness.Server, id string, mb int) {
	t.Helper()
	before := s.Get(id).Restarts
	resp := post(t, s, id, "/eat?mb="+strconv.Itoa(mb))
	if resp.Status != http.StatusBadGateway {
		t.Errorf("%s ate %d MiB: got %d %s, want 502", id, mb, resp.Status, resp.Body)
	}
	eventually(t, id+" ends for want of memory, and is started again", func() bool {
		return s.Get(id).Restarts == before+1 &&
			strings.Contains(s.Log.String(), "instance="+id+" reason=\"the app ended: out of memory (oom-kill)\"")
	})
}

func TestLimitsOfAService(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "memory_limit_mb = 64\ntasks_max = 32\ncpu_shares = 300\ncpu_quota = \"150%\"\nnofile = 512\n"})
	s.Spawn("app:alice")
	has(t, s, "app:alice", map[string]string{
		"memory.max": inBytes(64), "memory.swap.max": inBytes(64), "pids.max": "32", "cpu.weight": "300", "cpu.max": "150000 100000",
	})
	if got := s.Text("app:alice", "/rlimits"); got != "512\n512\n0" {
		t.Errorf("open files and core dumps: got %q, want 512, 512 and 0", got)
	}
}

func TestLimitLive(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "memory_limit_mb = 200\ndoze_timeout = 2\n"})
	s.Spawn("app:alice")
	pid := s.Seen("app:alice", "/").PID
	started := s.Show("app:alice", "ActiveEnterTimestampMonotonic")
	same := func(when string) {
		t.Helper()
		if got := s.Seen("app:alice", "/").PID; got != pid || s.Show("app:alice", "ActiveEnterTimestampMonotonic") != started {
			t.Errorf("%s: another process, %d after %d", when, got, pid)
		}
	}
	l := limits(t, s, "app:alice", "--memory", "96M", "--cpu-quota", "30%", "--cpu-shares", "77", "--tasks", "40", "--nofile", "300")
	if l.Usage.Memory == nil || *l.Usage.Memory < 1<<20 || l.Usage.Tasks == nil || *l.Usage.Tasks < 2 || l.Usage.CPUMS == nil || *l.Usage.CPUMS <= 0 {
		t.Errorf("usage: got %+v", l.Usage)
	}
	files := map[string]string{"memory.max": inBytes(96), "memory.swap.max": inBytes(96), "cpu.max": "30000 100000", "cpu.weight": "77", "pids.max": "40"}
	has(t, s, "app:alice", files)
	same("after a change")
	if out := s.Systemctl("daemon-reload"); out != "" {
		t.Errorf("daemon-reload: %s", out)
	}
	has(t, s, "app:alice", files)
	s.Await("app:alice", tenant.Dozing)
	limits(t, s, "app:alice", "--memory", "32M")
	files["memory.max"], files["memory.swap.max"] = inBytes(32), inBytes(32)
	has(t, s, "app:alice", files)
	if got := s.Get("app:alice").State; got != tenant.Dozing {
		t.Errorf("a change has woken it: got %v", got)
	}
	same("after a doze")
	s.Signal(syscall.SIGKILL)
	s.Run()
	eventually(t, "it is adopted", func() bool {
		got := s.Get("app:alice").State
		return got == tenant.Awake || got == tenant.Dozing // which it may do soon
	})
	has(t, s, "app:alice", files)
	same("after the daemon's end")
	if got := s.Text("app:alice", "/rlimits"); got != "8192\n8192\n0" {
		t.Errorf("open files before a restart: got %q", got)
	}
	limits(t, s, "app:alice", "--cpu-quota", "none")
	files["cpu.max"] = "max 100000"
	killed(t, s, "app:alice", 90) // 32 MiB and as much of swap
	if got := s.Text("app:alice", "/rlimits"); got != "300\n300\n0" {
		t.Errorf("open files after a restart: got %q, want 300", got)
	}
	has(t, s, "app:alice", files)
	limits(t, s, "app:alice", "--reset")
	has(t, s, "app:alice", map[string]string{"memory.max": inBytes(200), "cpu.max": "max 100000", "cpu.weight": "100", "pids.max": "1024"})
	limits(t, s, "app:alice", "--memory", "none", "--tasks", "none")
	has(t, s, "app:alice", map[string]string{"memory.max": "max", "memory.swap.max": "max", "pids.max": "max"})
	if r := s.Ten("limit", "app:alice", "--io-weight", "50"); r.Code != 1 || !strings.Contains(r.Stderr, "io_weight does not take effect") {
		t.Errorf("a weight for disks, which this kernel has not: got %s", r)
	}
	// Nothing of this is left when its unit goes.
	if r := s.Ten("destroy", "--yes", "app:alice"); r.Code != 0 {
		t.Fatal(r)
	}
	for _, pattern := range []string{"/run/systemd/transient/tenement-*", "/run/systemd/system.control/*", "/etc/systemd/system.control/*"} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// While an instance wakes it has ten times its shares, and never longer, whatever
// becomes of the daemon meanwhile.
func TestWakeBoost(t *testing.T) {
	s := harness.Start(t, harness.Options{
		Config: "[service.app]\ncommand = \"sh late.sh\"\nstartup_timeout = 120\n",
		Files:  map[string]string{"late.sh": "while ! [ -e go ]; do sleep 0.05; done\nexec {bin}/testapp\n"},
	})
	weight := func(want string) {
		t.Helper()
		becomes(t, "cpu.weight is "+want, func() (string, bool) {
			got := cgroup(s, "app:alice", "cpu.weight")
			return got, got == want
		})
	}
	spawned := make(chan harness.Result, 1)
	go func() { spawned <- s.Ten("spawn", "app:alice") }()
	weight("1000")
	s.WriteFile("go", "")
	if r := <-spawned; r.Code != 0 {
		t.Fatal(r)
	}
	weight("100")
	if r := s.Ten("stop", "app:alice"); r.Code != 0 {
		t.Fatal(r)
	}
	if err := os.Remove(filepath.Join(s.Dir, "go")); err != nil {
		t.Fatal(err)
	}
	waking := make(chan struct{})
	go func() {
		defer close(waking)
		_, _ = s.Do(t.Context(), http.MethodGet, "app:alice", "/", "")
	}()
	weight("1000")
	s.Signal(syscall.SIGKILL)
	<-waking
	s.WriteFile("go", "")
	s.Run()
	s.Await("app:alice", tenant.Awake)
	weight("100")
}

func TestStorageQuota(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "storage_quota_mb = 20\n[service.free]\ncommand = \"{bin}/testapp\"\n"})
	if out := s.Ten("doctor").Stdout; !strings.Contains(out, "ok  storage_quota_mb ") {
		t.Errorf("doctor does not say that the file system enforces it:\n%s", out)
	}
	fill := func(id, path string, mb, want int) {
		t.Helper()
		if resp := s.Fetch(id, "/fill?path="+path+"&mb="+strconv.Itoa(mb)); resp.Status != want {
			t.Errorf("%s writes %d MiB: got %d %s, want %d", id, mb, resp.Status, resp.Body, want)
		}
	}
	storage := func(id string, low, high int64, flags ...string) {
		t.Helper()
		l := limits(t, s, id, flags...)
		if l.Usage.Storage == nil || *l.Usage.Storage < low<<20 || *l.Usage.Storage > high<<20 || !l.StorageEnforced {
			t.Errorf("%s: got %+v, want %d to %d MiB, enforced", id, l.Usage, low, high)
		}
	}
	s.Spawn("app:alice", "app:bob", "free:carol")
	fill("app:alice", "a", 10, 200)
	fill("app:alice", "b", 30, 507)
	storage("app:alice", 19, 20)
	fill("app:bob", "a", 15, 200) // she has not filled it for all
	if resp := s.Fetch("app:alice", "/leave-project"); resp.Status != http.StatusForbidden {
		t.Errorf("alice leaves her quota: got %d %s, want 403", resp.Status, resp.Body)
	}
	// A higher limit counts at once, and what is there already counts too.
	storage("app:alice", 19, 20, "--storage", "60M")
	fill("app:alice", "b", 40, 200)
	storage("app:alice", 49, 52)
	fill("free:carol", "a", 30, 200)
	storage("free:carol", 30, 31, "--storage", "32M")
	fill("free:carol", "b", 5, 507)
	storage("free:carol", 30, 33, "--reset")
	fill("free:carol", "b", 20, 200)
	for id, want := range map[string]string{"app:alice": "its data is 5", "free:carol": ""} {
		if got := s.Get(id); got.State != tenant.Awake || !strings.HasPrefix(got.Reason, want) {
			t.Errorf("%s: got %v, %q, want it awake with the reason %q", id, got.State, got.Reason, want)
		}
	}
}
