package api_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/api/apitest"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

var alice = tenant.ID{Service: "notes", Name: "alice"}

func TestLifeOfAnInstance(t *testing.T) {
	d := start(t)
	out := spawn(t, d, "notes:alice")
	if out.ID != alice || out.State != tenant.Awake || out.Unit != "tenement-notes@alice.service" ||
		out.URL != "http://alice.notes.localhost:8080" || out.Woke == nil || out.Woke.TotalMS != 63 {
		t.Fatalf("spawn: got %+v", out)
	}

	again := must[wire.Outcome](t, d, http.StatusOK, "POST", instances, `{"id":"notes:alice"}`)
	if again.State != tenant.Awake || again.Woke != nil || again.LastWake == nil {
		t.Fatalf("spawn of an awake one: got %+v, want it awake and not woken", again)
	}
	if got := must[wire.Instance](t, d, http.StatusOK, "GET", instances+"/notes:alice", ""); got.ID != alice || got.Port != 30001 {
		t.Fatalf("get: got %+v", got)
	}
	if got := must[wire.Instance](t, d, http.StatusOK, "GET", instances+"/notes%3Aalice", ""); got.ID != alice {
		t.Fatalf("get with an escaped colon: got %+v", got)
	}

	out = must[wire.Outcome](t, d, http.StatusOK, "POST", instances+"/notes:alice/stop", "")
	if out.State != tenant.Asleep || out.Woke != nil {
		t.Fatalf("stop: got %+v", out)
	}
	out = must[wire.Outcome](t, d, http.StatusOK, "POST", instances+"/notes:alice/wake", "")
	if out.State != tenant.Awake || out.Woke == nil {
		t.Fatalf("wake: got %+v", out)
	}
	out = must[wire.Outcome](t, d, http.StatusOK, "POST", instances+"/notes:alice/restart", "")
	if out.State != tenant.Awake || out.Woke == nil || out.Wakes != 3 {
		t.Fatalf("restart: got %+v", out)
	}

	must[empty](t, d, http.StatusNoContent, "DELETE", instances+"/notes:alice", "")
	must[wire.Failure](t, d, http.StatusNotFound, "GET", instances+"/notes:alice", "")
}

func TestMethodsAndPlaces(t *testing.T) {
	d := start(t)
	_, header, _, err := exchange(d.Path, "POST", instances, `{"id":"notes:alice"}`)
	if err != nil || header.Get("Location") != instances+"/notes:alice" {
		t.Errorf("spawn: got %v, %v, want the new one's place", header, err)
	}
	_, header, _, err = exchange(d.Path, "PATCH", instances+"/notes:alice", "")
	if err != nil || header.Get("Allow") != "DELETE, GET" {
		t.Errorf("PATCH: got %v, %v, want what is allowed", header, err)
	}
}

func TestList(t *testing.T) {
	d := start(t)
	if got := must[wire.Instances](t, d, 200, "GET", instances, ""); got.Instances == nil || len(got.Instances) != 0 {
		t.Fatalf("no instances: got %#v, want an empty list, not null", got)
	}
	for _, id := range []tenant.ID{{Service: "notes", Name: "bob"}, alice, {Service: "web", Name: "a"}} {
		d.Instances.Put(tenant.Snapshot{ID: id})
	}
	for query, want := range map[string]string{
		"": "notes:alice notes:bob web:a", "?service=notes": "notes:alice notes:bob", "?service=web": "web:a", "?service=broken": "",
	} {
		var got []string
		for _, inst := range must[wire.Instances](t, d, 200, "GET", instances+query, "").Instances {
			got = append(got, inst.ID.String())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("list%s: got %q, want %q", query, got, want)
		}
	}
}

// The counts are of all that the search finds, whatever states and page are asked for.
func TestSearchAndCounts(t *testing.T) {
	d := start(t)
	for _, s := range []tenant.Snapshot{
		{ID: alice, State: tenant.Awake}, {ID: tenant.ID{Service: "notes", Name: "malice"}}, {ID: tenant.ID{Service: "notes", Name: "bob"}, State: tenant.Awake},
	} {
		d.Instances.Put(s)
	}
	got := must[wire.Instances](t, d, 200, "GET", instances+"?search=ALIC&state=asleep", "")
	if len(got.Instances) != 1 || got.Instances[0].ID.Name != "malice" || got.Counts[tenant.Awake] != 1 || got.Counts[tenant.Asleep] != 1 {
		t.Errorf("search: got %+v", got)
	}
	got = must[wire.Instances](t, d, 200, "GET", instances+"?limit=1", "")
	if len(got.Instances) != 1 || got.Next != "notes:alice" || got.Counts[tenant.Awake] != 2 || got.Counts[tenant.Asleep] != 1 {
		t.Errorf("a page: got %+v", got)
	}
	services := must[wire.Services](t, d, 200, "GET", "/api/v1/services", "").Services
	if len(services) != 2 || services[1].Name != "notes" || services[1].Instances[tenant.Awake] != 2 || len(services[0].Instances) != 0 {
		t.Errorf("services: got %+v", services)
	}
}

func TestVersionAndDoctor(t *testing.T) {
	d := start(t)
	if got := must[wire.Version](t, d, 200, "GET", "/api/v1/version", ""); got != apitest.Version {
		t.Errorf("version: got %+v", got)
	}
	got := must[wire.Doctor](t, d, 200, "GET", "/api/v1/doctor", "")
	if len(got.Checks) != 2 || !got.Checks[0].OK || got.Checks[1].OK || got.Checks[1].Hint == "" {
		t.Errorf("doctor: got %+v", got)
	}
}

func TestBadRequests(t *testing.T) {
	d := start(t)
	d.Instances.Put(tenant.Snapshot{ID: alice})
	for _, c := range []struct {
		method, path, body string
		status             int
		code               tenant.Code
		says               string
	}{
		{"POST", instances, `{"id":"x"}`, 400, tenant.CodeInvalid, `"x" is not an instance name`},
		{"POST", instances, `{"id":"notes:../etc"}`, 400, tenant.CodeInvalid, "not a valid instance name"},
		{"POST", instances, `{}`, 400, tenant.CodeInvalid, `"" is not an instance name`},
		{"POST", instances, ``, 400, tenant.CodeInvalid, "not what is expected"},
		{"POST", instances, `{"id":"notes:alice","port":1}`, 400, tenant.CodeInvalid, "port"},
		{"POST", instances, `{"id":"notes:alice"}{"id":"notes:bob"}`, 400, tenant.CodeInvalid, "more than one"},
		{"POST", instances, `{"id":"` + strings.Repeat("a", 70<<10) + `"}`, 413, tenant.CodeInvalid, "64 KiB"},
		{"POST", instances, `{"id":"nosuch:alice"}`, 404, tenant.CodeNotFound, `there is no service "nosuch"`},
		{"GET", instances + "/Notes:Alice", "", 400, tenant.CodeInvalid, "not a valid service name"},
		{"GET", instances + "/notes:..%2F..%2Fetc", "", 400, tenant.CodeInvalid, "not a valid instance name"},
		{"GET", instances + "/notes:bob", "", 404, tenant.CodeNotFound, "there is no instance notes:bob"},
		{"POST", instances + "/notes:bob/wake", "", 404, tenant.CodeNotFound, "there is no instance notes:bob"},
		{"POST", instances + "/notes:bob/stop", "", 404, tenant.CodeNotFound, "there is no instance notes:bob"},
		{"POST", instances + "/notes:bob/restart", "", 404, tenant.CodeNotFound, "there is no instance notes:bob"},
		{"DELETE", instances + "/notes:bob", "", 404, tenant.CodeNotFound, "there is no instance notes:bob"},
		{"GET", instances + "/notes:bob/logs", "", 404, tenant.CodeNotFound, "there is no instance notes:bob"},
		{"GET", instances + "?service=N", "", 400, tenant.CodeInvalid, "not a valid service name"},
		{"GET", instances + "?servise=notes", "", 400, tenant.CodeInvalid, `"servise" is not a parameter here`},
		{"GET", instances + "?service=a&service=b", "", 400, tenant.CodeInvalid, "more than once"},
		{"GET", instances + "/notes:alice/logs?lines=-2", "", 400, tenant.CodeInvalid, "lines"},
		{"GET", instances + "/notes:alice/logs?since=10m", "", 400, tenant.CodeInvalid, "since"},
		{"GET", instances + "/notes:alice/logs?follow=maybe", "", 400, tenant.CodeInvalid, "follow"},
		{"GET", instances + "/notes:alice/logs?x=%zz", "", 400, tenant.CodeInvalid, "malformed"},
		{"PUT", instances + "/notes:alice", "", 405, tenant.CodeInvalid, `"PUT" is not possible here`},
		{"GET", instances + "/notes:alice/wake", "", 405, tenant.CodeInvalid, `"GET" is not possible here`},
		{"GET", "/api/v1/nothing", "", 404, tenant.CodeNotFound, "nothing at"},
		{"GET", "/api/v2/version", "", 404, tenant.CodeNotFound, "/api/v2/version"},
		{"GET", "/", "", 404, tenant.CodeNotFound, "nothing at"},
	} {
		got := must[wire.Failure](t, d, c.status, c.method, c.path, c.body).Error
		if got.Code != c.code || !strings.Contains(got.Message, c.says) || got.Hint == "" || strings.Contains(got.Message, "\n") {
			t.Errorf("%s %s %.60s: got %+v, want %s, a hint and %q", c.method, c.path, c.body, got, c.code, c.says)
		}
	}
	if all := d.Instances.List(); len(all) != 1 {
		t.Errorf("a refused request left something behind: %+v", all)
	}
}

// Every code of a tenant.Error has a status that says who is at fault.
func TestStatusOfEachCode(t *testing.T) {
	for code, want := range map[tenant.Code]int{
		tenant.CodeInvalid: 400, tenant.CodeNotFound: 404, tenant.CodeConflict: 409, tenant.CodeLimit: 429,
		tenant.CodeUnsupported: 501, tenant.CodeStartFailed: 503, tenant.CodeStartTimeout: 504, tenant.CodeFailed: 503,
		tenant.CodeUnavailable: 503, tenant.CodeInternal: 500, "new": 500,
	} {
		d := start(t)
		d.Instances.Put(tenant.Snapshot{ID: alice})
		d.Logs.Break(&tenant.Error{Code: code, Msg: "no", Hint: "do", RetryAfter: 1500 * time.Millisecond})
		got := must[wire.Failure](t, d, want, "GET", instances+"/notes:alice/logs", "").Error
		if got.Code != code || got.Message != "no" || got.Hint != "do" {
			t.Errorf("%s: got %+v", code, got)
		}
		_, header, _, err := exchange(d.Path, "GET", instances+"/notes:alice/logs", "")
		if err != nil || header.Get("Retry-After") != "2" || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %v, %v, want JSON to be retried after 2 s", code, header, err)
		}
		_ = d.Stop()
	}
}

func TestCausesStayInside(t *testing.T) {
	d := start(t)
	_, text, err := ask(d.Path, "POST", instances, `{"id":"notes:secret"}`)
	if err != nil || strings.Contains(text, "/var/lib") || !strings.Contains(text, `"internal"`) {
		t.Errorf("an error that is not for people: got %s, %v", text, err)
	}
	_, text, err = ask(d.Path, "POST", instances, `{"id":"broken:a"}`)
	if err != nil || strings.Contains(text, "only the log has") || !strings.Contains(text, "exit status 1") {
		t.Errorf("an error with a cause: got %s, %v", text, err)
	}
	d.Instances.Put(tenant.Snapshot{ID: alice})
	d.Logs.Break(errors.New("/var/lib/secret: is broken"))
	_, text, err = ask(d.Path, "GET", instances+"/notes:alice/logs?follow=1", "")
	if err != nil || strings.Contains(text, "/var/lib") || !strings.Contains(text, `"internal"`) {
		t.Errorf("an error in a stream: got %s, %v", text, err)
	}
}
