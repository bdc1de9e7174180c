package api_test

import (
	"net/http"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func TestKeepAwake(t *testing.T) {
	d := start(t)
	d.Instances.Put(tenant.Snapshot{ID: alice})
	path := instances + "/notes:alice/keep-awake"
	out := must[wire.Outcome](t, d, http.StatusOK, "POST", path, `{"for_ms":3600000}`)
	if out.State != tenant.Awake || out.Woke == nil || len(out.Leases) != 1 || time.Until(out.Leases[0].Until) < 59*time.Minute {
		t.Errorf("got %+v, want it woken with a lease of an hour", out)
	}
	out = must[wire.Outcome](t, d, http.StatusOK, "POST", path, `{"for_ms":0}`)
	if len(out.Leases) != 0 || out.Woke != nil {
		t.Errorf("got %+v, want no lease", out)
	}
	for _, body := range []string{`{"for_ms":-1}`, `{"for_ms":9223372036854775807}`, `{"for_ms":"1h"}`, ``} {
		must[wire.Failure](t, d, http.StatusBadRequest, "POST", path, body)
	}
	must[wire.Failure](t, d, http.StatusNotFound, "POST", instances+"/notes:bob/keep-awake", `{"for_ms":1000}`)
}
