package api_test

import (
	"net/http"
	"strings"
	"testing"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

func TestLimits(t *testing.T) {
	d := start(t)
	const path = instances + "/notes:alice/limits"
	must[wire.Failure](t, d, http.StatusNotFound, "GET", path, "")
	must[wire.Failure](t, d, http.StatusNotFound, "POST", path, `{"reset_all":true}`)
	spawn(t, d, "notes:alice")
	got := must[wire.Limits](t, d, 200, "POST", path, `{"set":{"memory":1048576,"tasks":0},"reset":["nofile"]}`)
	if got.ID != alice || got.State != tenant.Awake || len(got.Limits) != len(tenant.AllLimits()) || got.Usage.Memory == nil || *got.Usage.CPUMS != 1500 {
		t.Errorf("got %+v", got)
	}
	if first := (wire.LimitValue{Limit: tenant.LimitMemory, Value: 1 << 20, From: tenant.FromInstance}); got.Limits[0] != first {
		t.Errorf("got %+v, want %+v", got.Limits[0], first)
	}
	again := must[wire.Limits](t, d, 200, "GET", path, "")
	if again.Limits[0] != got.Limits[0] {
		t.Errorf("got %+v, want what was set", again)
	}
	for body, says := range map[string]string{
		`{}`:                                     "nothing is to be changed",
		`{"set":{}}`:                             "nothing is to be changed",
		`{"set":{"memory":-1}}`:                  "memory -1 is out of range",
		`{"set":{"memory":1}}`:                   "memory 1 is out of range",
		`{"set":{"dreams":1}}`:                   `there is no limit "dreams"`,
		`{"reset":["dreams"]}`:                   `there is no limit "dreams"`,
		`{"set":{"memory":"much"}}`:              "the request's body is not what is expected here",
		`{"set":{"memory":0.5}}`:                 "the request's body is not what is expected here",
		`{"memory":1048576}`:                     "the request's body is not what is expected here",
		`{"set":{"tasks":50},"reset":["tasks"]}`: "tasks is both set and reset",
	} {
		f := must[wire.Failure](t, d, http.StatusBadRequest, "POST", path, body)
		if !strings.Contains(f.Error.Message, says) || f.Error.Hint == "" {
			t.Errorf("%s: got %+v, want %q and a hint", body, f.Error, says)
		}
	}
	f := must[wire.Failure](t, d, http.StatusNotImplemented, "POST", path, `{"set":{"io-weight":50}}`)
	if f.Error.Code != tenant.CodeUnsupported {
		t.Errorf("what the machine has not: got %+v", f.Error)
	}
}
