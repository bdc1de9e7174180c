package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// What an app says over and over, as of each health check, leaves room for the rest.
func TestWhyWithHealthChecks(t *testing.T) {
	d := start(t)
	d.Instances.Put(tenant.Snapshot{ID: alice, State: tenant.Awake})
	const unit = "tenement-notes@alice.service"
	check := func(i int) string {
		return fmt.Sprintf(`127.0.0.1 - - [22/Nov/2026 04:%02d:10] "GET /health HTTP/1.1" 200 %x`, i, i*7919)
	}
	d.Logs.Add(unit, "listening", false)
	for i := range 60 {
		if i == 20 {
			d.Logs.Add(unit, "saved a note", false)
		}
		d.Logs.Add(unit, check(i), false)
	}
	d.Logs.Add(unit, "saved another", false)
	want := []string{"listening", "saved a note", check(57), check(58), check(59), "saved another"}
	if got := must[wire.Why](t, d, http.StatusOK, "GET", instances+"/notes:alice/why", "").Log; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWhy(t *testing.T) {
	d := start(t)
	d.Instances.Put(tenant.Snapshot{ID: alice, State: tenant.Awake})
	path := instances + "/notes:alice/why"
	if got := must[wire.Why](t, d, http.StatusOK, "GET", path, ""); got.ID != alice || got.State != tenant.Awake || got.Holds == nil || len(got.Holds) != 0 {
		t.Errorf("got %+v, want an awake alice with an empty list of holds", got)
	}
	want := tenant.Why{
		Snapshot: tenant.Snapshot{ID: alice},
		Holds:    []tenant.Hold{{Kind: tenant.HoldRequests, Count: 3}},
		SleepAt:  time.Unix(1e9, 0).UTC(), WokenBy: tenant.CauseOperator, Rested: "idle", Failures: 2, FailedChecks: 1, CheckedAt: time.Unix(2e9, 0).UTC(), Spent: true, Entry: "hourly",
	}
	d.Instances.PutWhy(want)
	d.Logs.Add("tenement-notes@alice.service", "hello", false)
	got := must[wire.Why](t, d, http.StatusOK, "GET", path, "")
	if !slices.Equal(got.Holds, want.Holds) || !got.SleepAt.Equal(want.SleepAt) || got.WokenBy != want.WokenBy || got.Rested != "idle" ||
		got.Failures != 2 || got.FailedChecks != 1 || got.CheckedAt.Unix() != 2e9 || !got.Spent || got.Entry != "hourly" || !slices.Equal(got.Log, []string{"hello"}) {
		t.Errorf("got %+v, want %+v and its last line", got, want)
	}
	must[wire.Failure](t, d, http.StatusNotFound, "GET", instances+"/notes:bob/why", "")
	must[wire.Failure](t, d, http.StatusBadRequest, "GET", instances+"/Notes:bob/why", "")
}
