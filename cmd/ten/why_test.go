package main

import (
	"slices"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func TestExplainFailures(t *testing.T) {
	id, now := tenant.ID{Service: "notes", Name: "alice"}, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for failures, want := range map[int]string{
		1: "it has failed once and is not tried again; `ten restart notes:alice` does",
		3: "it has failed 3 times and is not tried again; `ten restart notes:alice` does",
	} {
		w := wire.Why{Spent: true, Failures: failures}
		w.ID, w.State, w.Reason = id, tenant.Failed, "the app ended: status 3"
		if got := explainRest(w, now); !slices.Equal(got, []string{"because: the app ended: status 3", want}) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
