package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// versions runs instances of the service app that tell their names at /env?name=WHO.
func versions(t *testing.T, more string, names ...string) *harness.Server {
	t.Helper()
	s := harness.Start(t, harness.Options{Config: app + more + "[service.app.env]\nWHO = \"{id}\"\n"})
	for _, name := range names {
		s.Spawn("app:" + name)
	}
	return s
}

// who asks the service's own host name and gives the name of who answered.
func who(ctx context.Context, s *harness.Server, cookies ...*http.Cookie) (string, []*http.Cookie, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", "http://app.localhost/env?name=WHO", nil)
	if err != nil {
		return "", nil, err
	}
	for _, c := range cookies {
		req.AddCookie(c)
	}
	resp, err := s.HTTP.Do(req)
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
	}
	return strings.TrimSpace(string(body)), resp.Cookies(), err
}

// count asks n times.
func count(t *testing.T, s *harness.Server, n int) map[string]int {
	t.Helper()
	answers := map[string]int{}
	for range n {
		name, _, err := who(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		answers[name]++
	}
	return answers
}

func ok(t *testing.T, s *harness.Server, args ...string) {
	t.Helper()
	if r := s.Ten(args...); r.Code != 0 {
		t.Fatalf("ten %v: %s", args, r)
	}
}

func TestWeights(t *testing.T) {
	s := versions(t, "", "v1", "v2", "v3")
	ok(t, s, "weight", "app:v1", "80")
	ok(t, s, "weight", "app:v2", "20")
	ok(t, s, "weight", "app:v3", "0")
	// The binomial distribution's standard deviation is 12.6 here; this is six of them.
	if got := count(t, s, 1000); got["v1"] < 724 || got["v1"] > 876 || got["v3"] != 0 || got["v1"]+got["v2"] != 1000 {
		t.Errorf("80 to 20 to 0: got %v", got)
	}
	if got := s.Seen("app:v3", "/").Host; got != "v3.app.localhost" {
		t.Errorf("weight 0 at its own host name: got %q", got)
	}

	// All asleep: each request is answered, and by whom the weights allow.
	for _, name := range []string{"v1", "v2", "v3"} {
		ok(t, s, "stop", "app:"+name)
	}
	if got := count(t, s, 1); got["v1"]+got["v2"] != 1 {
		t.Errorf("from sleep: got %v", got)
	}
	awake := 0
	for _, i := range s.List() {
		if i.State != tenant.Asleep {
			awake++
		}
	}
	if awake != 1 {
		t.Errorf("one request woke %d", awake)
	}
	if got := count(t, s, 40); got["v3"] != 0 || got["v1"]+got["v2"] != 40 {
		t.Errorf("from sleep: got %v", got)
	}
	// Weight 0 is none even where there is nobody else.
	ok(t, s, "weight", "app:v1", "0")
	ok(t, s, "weight", "app:v2", "0")
	if resp := s.Fetch("app.localhost", "/"); resp.Status != http.StatusServiceUnavailable {
		t.Errorf("all with weight 0: got %d, want 503", resp.Status)
	}
	ok(t, s, "weight", "app:v1", "80")
	// One dead of two: no request notices.
	ok(t, s, "weight", "app:v2", "80")
	s.Systemctl("kill", "--signal=KILL", "tenement-app@v1.service")
	if got := count(t, s, 40); got["v1"]+got["v2"] != 40 {
		t.Errorf("one dead: got %v", got)
	}
}

func TestRequestsGoToWhoCanStart(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[service.app]\ncommand = \"{bin}/testapp unless={data_dir}/{id}/fixed\"\n[service.app.env]\nWHO = \"{id}\"\n"})
	if r := s.Ten("spawn", "app:v1"); r.Code != 5 {
		t.Fatalf("got %s, want a failure", r)
	}
	s.WriteFile("data/app/v1/fixed", "")
	ok(t, s, "restart", "app:v1")
	if r := s.Ten("deploy", "app:v2", "--weight", "100"); r.Code != 5 {
		t.Fatalf("deploy of what does not start: got %s", r)
	}
	if got := count(t, s, 20); got["v1"] != 20 {
		t.Errorf("after a failed deployment: got %v", got)
	}
	ok(t, s, "weight", "app:v2", "10000") // the operator insists
	if got := count(t, s, 20); got["v1"] != 20 {
		t.Errorf("where one cannot start: got %v", got)
	}
}

func TestSticky(t *testing.T) {
	s := versions(t, "sticky = true\n", "v1", "v2")
	first, cookies, err := who(t.Context(), s)
	if err != nil || len(cookies) != 1 || cookies[0].Value != first {
		t.Fatalf("got %q, %v, %v, want a cookie that names it", first, cookies, err)
	}
	for range 30 {
		if got, again, err := who(t.Context(), s, cookies[0]); err != nil || got != first || len(again) != 0 {
			t.Fatalf("got %q, %v, %v, want %q and no new cookie", got, again, err, first)
		}
	}
	ok(t, s, "weight", "app:"+first, "0")
	if got, again, err := who(t.Context(), s, cookies[0]); err != nil || got == first || len(again) != 1 {
		t.Errorf("with weight 0: got %q, %v, %v, want the other one and a new cookie", got, again, err)
	}
}

// A swap under load: each request is answered, and after it all by the new one.
func TestBlueGreenDropsNothing(t *testing.T) {
	s := versions(t, "", "v1")
	ok(t, s, "deploy", "app:v2", "--weight", "0")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				name, _, err := who(t.Context(), s)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				answers[name]++
				mu.Unlock()
			}
		})
	}
	from, to := "v1", "v2"
	served := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return answers["v1"] >= 50 && answers["v2"] >= 50
	}
	begun := time.Now()
	for swaps := 0; swaps < 8 || !served() && time.Since(begun) < harness.Timeout; swaps++ {
		ok(t, s, "route", "app", "--from", from, "--to", to)
		from, to = to, from
	}
	cancel()
	wg.Wait()
	if answers["v1"] < 50 || answers["v2"] < 50 {
		t.Errorf("got %v, want both to have answered", answers)
	}
	if got := count(t, s, 20); got[from] != 20 {
		t.Errorf("after the last swap: got %v, want all by %s", got, from)
	}
	for _, i := range s.List() {
		if i.State != tenant.Awake {
			t.Errorf("%s is %v", i.ID, i.State)
		}
	}
}
