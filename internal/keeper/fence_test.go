package keeper_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/keeper"
	"tenement.dev/internal/tenant"
)

func nft(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("nft", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("nft %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// fenced are the uids and ports in the kernel's table, "uid . port" each.
func fenced(t *testing.T) []string {
	t.Helper()
	return elements(t, "owners")
}

// elements are what a set of the kernel's table has.
func elements(t *testing.T, set string) (have []string) {
	t.Helper()
	_, list, _ := strings.Cut(nft(t, "list", "set", "inet", "tenement", set), "elements = {")
	list, _, _ = strings.Cut(list, "}")
	for e := range strings.SplitSeq(list, ",") {
		if e = strings.TrimSpace(e); e != "" {
			have = append(have, e)
		}
	}
	return have
}

func pair(uid, port int) string { return fmt.Sprintf("%d . %d", uid, port) }

// The fence follows what is loaded, over the life of one keeper and the next, and
// touches nothing else.
func TestFenceFollowsInstances(t *testing.T) {
	nft(t, "add table inet somebody")
	defer nft(t, "delete table inet somebody")
	r := newRig(t, nil)
	if !r.host.ConnectFence || !r.host.BindFence {
		t.Fatalf("this machine has no fence: %+v", r.checks)
	}
	load := func(l *keeper.Local, spec tenant.Spec) {
		t.Helper()
		if err := l.Load(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Unload(context.Background(), spec.ID); _ = l.Wipe(context.Background(), spec.ID, true) })
	}
	a, b := r.spec(alice, tenant.IsolationNamespace, tenant.NetworkHost), r.spec(bob, tenant.IsolationNamespace, tenant.NetworkHost)
	load(r.local, a)
	load(r.local, b)
	both := []string{pair(keeper.FirstUID, a.Port), pair(keeper.FirstUID+1, b.Port)}
	if got := fenced(t); !slices.Equal(got, both) {
		t.Errorf("got %v, want %v", got, both)
	}
	for name, spec := range map[string]tenant.Spec{
		"private": r.spec(tenant.ID{Service: "keep", Name: "carol"}, tenant.IsolationNamespace, tenant.NetworkPrivate),
		"process": r.spec(tenant.ID{Service: "keep", Name: "dave"}, tenant.IsolationProcess, tenant.NetworkHost),
	} {
		load(r.local, spec)
		if got := fenced(t); !slices.Equal(got, both) {
			t.Errorf("%s: got %v, want %v: it has no port of its own to fence", name, got, both)
		}
	}

	// The keeper ends, and somebody removes its rules.
	r.end()
	nft(t, "delete", "table", "inet", "tenement")
	next, err := keeper.NewLocal(keeper.Options{Units: r.systemd, Host: r.host, StateDir: r.state, Closed: []int{9090, 9464}})
	if err != nil {
		t.Fatal(err)
	}
	if got := fenced(t); !slices.Equal(got, both) {
		t.Errorf("after a restart: got %v, want %v", got, both)
	}
	closed := func() []string { return elements(t, "closed") }
	if got, want := closed(), []string{"9090", "9464"}; !slices.Equal(got, want) {
		t.Errorf("closed to instances: got %v, want %v", got, want)
	}
	// Somebody empties the table behind its back.
	nft(t, "flush", "set", "inet", "tenement", "owners")
	if err := next.Unload(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if got := fenced(t); !slices.Equal(got, both[1:]) {
		t.Errorf("after an unload: got %v, want %v", got, both[1:])
	}
	if got := closed(); len(got) != 2 {
		t.Errorf("closed to instances, after a repair: got %v, want both ports still", got)
	}
	// A port goes over to the one that it is given to now.
	a.Port = b.Port
	load(next, a)
	if got, want := fenced(t), []string{pair(keeper.FirstUID, b.Port)}; !slices.Equal(got, want) {
		t.Errorf("a port with a new owner: got %v, want %v", got, want)
	}

	// It stays as long as there is an instance.
	if got := runUntilEnd(t, next); !strings.Contains(got, "tenement") {
		t.Errorf("the fence is gone, and alice is not: %s", got)
	}
	for _, id := range []tenant.ID{alice, bob} {
		if err := next.Unload(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if got := runUntilEnd(t, next); strings.Contains(got, "tenement") || !strings.Contains(got, "somebody") {
		t.Errorf("got tables %q, want somebody's alone", got)
	}
	if exists(filepath.Join(r.host.RuntimeDir, "fence")) {
		t.Error("the fence has left its directory")
	}
	load(next, b) // it can be raised again
	if got := fenced(t); !slices.Equal(got, both[1:]) {
		t.Errorf("raised again: got %v, want %v", got, both[1:])
	}
}

// runUntilEnd has a keeper run and end, and gives the tables that there are then.
func runUntilEnd(t *testing.T, l *keeper.Local) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = l.Run(ctx) })
	cancel()
	wg.Wait()
	return nft(t, "list", "tables")
}

// Without the means for a fence there is none in the way.
func TestFenceOfEarlierKeeperIsTakenDown(t *testing.T) {
	r := newRig(t, nil)
	r.wake(t, r.spec(alice, tenant.IsolationNamespace, tenant.NetworkHost))
	r.end()
	r.host.ConnectFence = false
	next, err := keeper.NewLocal(keeper.Options{Units: r.systemd, Host: r.host, StateDir: r.state})
	if err != nil {
		t.Fatal(err)
	}
	if got := nft(t, "list", "tables"); strings.Contains(got, "tenement") {
		t.Errorf("got tables %q, want none", got)
	}
	r.local = next
	spec := r.spec(bob, tenant.IsolationNamespace, tenant.NetworkHost)
	r.wake(t, spec)
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(spec.Port)))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// A fence around all the ports there are, and what it costs to change it.
func TestLargeFence(t *testing.T) {
	r := newRig(t, nil)
	r.end()
	dir := filepath.Join(r.host.RuntimeDir, "fence")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	const n = 2768 // as many as the default port_range has
	for i := range n {
		if err := os.Symlink(strconv.Itoa(10000+i), filepath.Join(dir, strconv.Itoa(keeper.FirstUID+1000+i))); err != nil {
			t.Fatal(err)
		}
	}
	defer os.RemoveAll(dir)
	begun := time.Now()
	f, err := keeper.OpenFence("tenement", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("raising a fence around %d ports took %v", n, time.Since(begun))
	defer nft(t, "delete", "table", "inet", "tenement")
	if got := len(fenced(t)); got != n {
		t.Errorf("got %d ports, want %d", got, n)
	}
	const tries = 100
	took := make([]time.Duration, tries)
	for i := range took {
		begun := time.Now()
		if err := f.Allow(keeper.FirstUID+i, 50000+i); err != nil {
			t.Fatal(err)
		}
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	t.Logf("fencing one more took %v in the median, %v at most", took[tries/2], took[tries-1])
	if got := len(fenced(t)); got != n+tries {
		t.Errorf("got %d ports, want %d", got, n+tries)
	}
}
