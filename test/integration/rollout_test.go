package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/registry"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
	"tenement.dev/test/harness"
)

const (
	// fleetSize instances are registered, of which fleetAwake have visitors.
	fleetSize  = 200
	fleetAwake = 20
)

// fleetService runs an app that tells its release at /env?name=RELEASE. Release "bad" is
// never healthy.
const fleetService = app + `
release = "v1"
health = "/health-of-release"
startup_timeout = 6
[service.app.env]
RELEASE = "{release}"
`

func fleetID(i int) string { return fmt.Sprintf("app:t%d", i) }

// fleet is a server with many instances, of which the first are awake and the next one
// sleeps with its doorbell.
func fleet(t *testing.T, size, awake int) *harness.Server {
	t.Helper()
	s := harness.New(t, harness.Options{Config: fleetService})
	// They are registered here: to spawn them one by one would take its time.
	store, err := registry.Open(t.Context(), filepath.Join(s.Dir, "data/.tenement/registry.db"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range size {
		id, err := tenant.ParseID(fleetID(i))
		if err == nil {
			_, err = store.Add(t.Context(), registry.Instance{ID: id})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	s.Run()
	var wg sync.WaitGroup
	for i := range awake + 1 {
		wg.Go(func() {
			resp, err := s.Do(context.Background(), http.MethodGet, fleetID(i), "/env?name=RELEASE", "")
			if err != nil || resp.Status != 200 || strings.TrimSpace(resp.Body) != "v1" {
				t.Errorf("%s: got %d %s, %v, want v1", fleetID(i), resp.Status, resp.Body, err)
			}
		})
	}
	wg.Wait()
	ok(t, s, "stop", fleetID(awake))
	t.Cleanup(func() { // at once, which takes less than one by one
		args := []string{"destroy", "--yes"}
		for i := range size {
			args = append(args, fleetID(i))
		}
		ok(t, s, args...)
	})
	return s
}

// visitors make requests until stop is called, which gives their number. Each must be
// answered with 200, by one of the releases.
func visitors(t *testing.T, s *harness.Server, n int, releases ...string) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	counts := make([]int, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			tick := time.NewTicker(25 * time.Millisecond)
			defer tick.Stop()
			for ; ctx.Err() == nil; counts[i]++ {
				method, path, body, want := http.MethodGet, "/env?name=RELEASE", "", releases
				if counts[i]%3 == 0 { // which is never made twice
					method, path, body, want = http.MethodPost, "/upload", "a note", []string{"6"}
				}
				resp, err := s.Do(t.Context(), method, fleetID(i), path, body)
				if err != nil || resp.Status != 200 || !slices.Contains(want, strings.TrimSpace(resp.Body)) {
					t.Errorf("%s %s%s: got %d %s, %v", method, fleetID(i), path, resp.Status, resp.Body, err)
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return func() (total int) {
		cancel()
		wg.Wait()
		for _, n := range counts {
			total += n
		}
		return total
	}
}

// haveRelease checks that all instances have a release, and that the awake ones run with it.
func haveRelease(t *testing.T, s *harness.Server, size, awake int, want string) {
	t.Helper()
	list := s.List()
	if len(list) != size {
		t.Errorf("got %d instances, want %d", len(list), size)
	}
	for _, i := range list {
		if i.Release != want || i.NextRelease != "" {
			t.Errorf("%s (%v) has release %s, next %q, want %s", i.ID, i.State, i.Release, i.NextRelease, want)
		}
	}
	for i := range awake + 2 { // sleepers wake with it, loaded or not
		if got := s.Text(fleetID(i), "/env?name=RELEASE"); got != want {
			t.Errorf("%s runs with %s, want %s", fleetID(i), got, want)
		}
	}
	ok(t, s, "stop", fleetID(awake))
	ok(t, s, "stop", fleetID(awake+1))
}

func rolloutStatus(t *testing.T, s *harness.Server) wire.Rollout {
	t.Helper()
	r := s.Ten("rollout", "status", "app", "--json")
	var status wire.Rollout
	if err := json.Unmarshal([]byte(r.Stdout), &status); err != nil {
		t.Fatalf("ten rollout status: %v: %s", err, r)
	}
	return status
}

// awaitRollout waits until the rollout is as it should be.
func awaitRollout(t *testing.T, s *harness.Server, is func(wire.Rollout) bool) wire.Rollout {
	t.Helper()
	end := time.Now().Add(harness.Timeout)
	for {
		r := rolloutStatus(t, s)
		if is(r) {
			return r
		}
		if time.Now().After(end) {
			t.Fatalf("got %+v", r)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestRollout(t *testing.T) {
	s := fleet(t, fleetSize, fleetAwake)
	stop := visitors(t, s, fleetAwake, "v1", "v2")
	ws := dialWebSocket(t, s, fleetID(0))
	if got := ws.echo(t, 1, "hello"); got != "hello" {
		t.Fatalf("got %q", got)
	}
	r := s.Ten("rollout", "app", "--release", "v2", "--batch", "5", "--pause", "200ms")
	if r.Code != 0 || strings.Count(r.Stdout, " runs with v2 ") != fleetAwake || !strings.Contains(r.Stdout, "180 at rest get v2 with their next start") ||
		!strings.Contains(r.Stdout, "done (200 of 200 instances have v2)") {
		t.Errorf("ten rollout: %s", r)
	}
	if got := ws.ended(t); !bytes.Equal(got, goingAway) {
		t.Errorf("WebSocket: got % x, want 1001", got)
	}
	ws.Close()
	ws = dialWebSocket(t, s, fleetID(0)) // as clients do; it is the new release that answers
	if got := ws.echo(t, 1, "again"); got != "again" {
		t.Errorf("got %q", got)
	}
	ws.Close()
	t.Logf("%d requests while 200 got v2", stop())
	haveRelease(t, s, fleetSize, fleetAwake, "v2")
	if got := s.Ten("ps", "app").Stdout; !strings.Contains(got, "RELEASE") {
		t.Errorf("ten ps: %s", got)
	}

	// One that never gets healthy goes back, and nobody notices.
	stop = visitors(t, s, fleetAwake, "v2")
	r = s.Ten("rollout", "app", "--release", "bad", "--batch", "2", "--pause", "200ms")
	t.Logf("%d requests while a bad release went back", stop())
	if r.Code != 1 || !strings.Contains(r.Stdout, "did not start with bad: health endpoint /health-of-release did not answer 200") ||
		!strings.Contains(r.Stderr, "rolled back") {
		t.Errorf("ten rollout: %s", r)
	}
	haveRelease(t, s, fleetSize, fleetAwake, "v2")

	// What is not there cannot be rolled out; neither can two at a time.
	if r := s.Ten("rollout", "app", "--release", "v2"); r.Code != 1 || !strings.Contains(r.Stderr, "have release v2 already") {
		t.Errorf("the same: %s", r)
	}
}

func TestRolloutOutlivesTheDaemon(t *testing.T) {
	const size, awake = 12, 6
	s := fleet(t, size, awake)
	ok(t, s, "rollout", "app", "--release", "v2", "--batch", "1", "--pause", "300ms", "--detach")
	awaitRollout(t, s, func(r wire.Rollout) bool { return r.Changed > size-awake })
	s.Signal(syscall.SIGKILL)
	told := len(s.Log.String())
	s.Run()
	r := awaitRollout(t, s, func(r wire.Rollout) bool { return !r.State.Active() })
	if r.State != tenant.RolloutDone {
		t.Errorf("got %+v, want done", r)
	}
	if got := s.Log.String()[told:]; !strings.Contains(got, " runs with v2") {
		t.Errorf("the next daemon has not gone on with it:\n%s", got)
	}
	haveRelease(t, s, size, awake, "v2")

	// Aborted, each has the one or the other, as is told.
	ok(t, s, "rollout", "app", "--release", "v3", "--canary", "t1,t9", "--batch", "1", "--pause", "1m", "--detach")
	awaitRollout(t, s, func(r wire.Rollout) bool { return r.Changed == 1 })
	ok(t, s, "rollout", "pause", "app")
	if r := s.Ten("rollout", "app", "--release", "v4"); r.Code != 1 || !strings.Contains(r.Stderr, "goes on already") {
		t.Errorf("two at a time: %s", r)
	}
	ok(t, s, "rollout", "abort", "app")
	if r := rolloutStatus(t, s); r.State != tenant.RolloutAborted || r.Changed != 1 || r.Pending != 0 {
		t.Errorf("aborted: got %+v", r)
	}
	for i, want := range []string{"v2", "v3", "v2"} {
		if got := s.Text(fleetID(i), "/env?name=RELEASE"); got != want || s.Get(fleetID(i)).Release != want {
			t.Errorf("%s: runs with %s, has %s, want %s", fleetID(i), got, s.Get(fleetID(i)).Release, want)
		}
	}
	ok(t, s, "rollback", "app")
	haveRelease(t, s, size, awake, "v2")
}
