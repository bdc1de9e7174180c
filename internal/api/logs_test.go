package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/api/apitest"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
	"tenement.dev/units"
)

const unit = "tenement-notes@alice.service"

func messages(t *testing.T, d *apitest.Daemon, query string) string {
	t.Helper()
	status, text, err := ask(d.Path, "GET", instances+"/notes:alice/logs"+query, "")
	if err != nil || status != 200 {
		t.Fatalf("logs%s: got %d %s, %v", query, status, text, err)
	}
	var got []string
	for line := range strings.Lines(text) {
		var l wire.LogLine
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.LogEntry == nil || l.Error != nil {
			t.Fatalf("logs%s: line %q: %v", query, line, err)
		}
		got = append(got, l.Message)
	}
	return strings.Join(got, " ")
}

func TestLogs(t *testing.T) {
	d := start(t)
	d.Instances.Put(tenant.Snapshot{ID: alice})
	if got := messages(t, d, ""); got != "" {
		t.Errorf("empty log: got %q", got)
	}
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	for i := range 150 {
		d.Logs.AddAt(noon.Add(time.Duration(i)*time.Second), unit, fmt.Sprint(i), false)
	}
	if got := strings.Fields(messages(t, d, "")); len(got) != 100 || got[0] != "50" || got[99] != "149" {
		t.Errorf("default: got %d lines, %q", len(got), got)
	}
	for query, want := range map[string]string{
		"?lines=2": "148 149", "?lines=0": "", "?since=2030-01-01T12:02:28Z": "148 149",
		"?since=2030-01-01T13:02:27.5%2B01:00&lines=1": "149",
	} {
		if got := messages(t, d, query); got != want {
			t.Errorf("logs%s: got %q, want %q", query, got, want)
		}
	}
	if got := strings.Fields(messages(t, d, "?lines=-1")); len(got) != 150 {
		t.Errorf("lines=-1: got %d lines, want all 150", len(got))
	}
}

// What is looked for, page by page.
func TestSearchLogs(t *testing.T) {
	d := start(t)
	d.Instances.Put(tenant.Snapshot{ID: alice})
	d.Instances.Put(tenant.Snapshot{ID: tenant.ID{Service: "web", Name: "x"}})
	noon := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	for i, m := range []string{"GET / 200", "<3>payment 1 failed", "GET /x 404", "Payment 2 done", "<3>disk full"} {
		d.Logs.AddAt(noon.Add(time.Duration(i)*time.Second), unit, m, false)
	}
	d.Logs.AddAt(noon, "tenement-web@x.service", "other", false)
	for query, want := range map[string]string{
		"?search=payment": "payment 1 failed Payment 2 done", "?search=payment&lines=1": "Payment 2 done",
		"?grep=%5EGET+.*+%5B0-9%5D%2B%24": "GET / 200 GET /x 404", "?level=err": "payment 1 failed disk full",
		"?until=2030-01-01T12:00:01Z": "GET / 200 payment 1 failed", "?search=%24%5Ba": "",
		"?level=error&search=disk&since=2030-01-01T12:00:03Z": "disk full",
		"?after=s%3D7%3Bi%3D0001&lines=2":                     "GET /x 404 Payment 2 done",
		"?before=s%3D7%3Bi%3D0003&lines=2":                    "payment 1 failed GET /x 404",
	} {
		if got := messages(t, d, query); got != want {
			t.Errorf("logs%s: got %q, want %q", query, got, want)
		}
	}
	for query, want := range map[string]string{
		"?grep=(":                   "is not a regular expression",
		"?level=loud":               `\"loud\" is not a level`,
		"?until=yesterday":          "is not a time",
		"?lines=x":                  "is not a number of lines",
		"?before=s%3D1&lines=-1":    "needs a number of lines",
		"?before=s%3D1&follow=true": "needs a number of lines",
		"?follow=true&until=2030-01-01T12:00:01Z": "has no end time",
		"?search=" + strings.Repeat("x", 1001):    "too long",
		"?grep=" + strings.Repeat("x", 1001):      "too long",
		"?search=a&search=b":                      "more than once",
		"?service=notes":                          "is not a parameter here",
	} {
		if status, text, err := ask(d.Path, "GET", instances+"/notes:alice/logs"+query, ""); err != nil || status != 400 || !strings.Contains(text, want) {
			t.Errorf("logs%.60s: got %d %s, %v, want %q", query, status, text, err, want)
		}
	}
	all := func(query string) (got []string) {
		t.Helper()
		status, text, err := ask(d.Path, "GET", "/api/v1/logs"+query, "")
		if err != nil || status != 200 {
			t.Fatalf("logs%s: got %d %s, %v", query, status, text, err)
		}
		for line := range strings.Lines(text) {
			var l wire.LogLine
			if err := json.Unmarshal([]byte(line), &l); err != nil || l.LogEntry == nil {
				t.Fatalf("logs%s: line %q: %v", query, line, err)
			}
			got = append(got, l.ID.String()+" "+l.Message)
		}
		return got
	}
	if got := all("?search=o&since=2030-01-01T00:00:00Z"); strings.Join(got, "|") != "web:x other|notes:alice Payment 2 done" {
		t.Errorf("of all: got %q", got)
	}
	if got := all("?service=web"); strings.Join(got, "|") != "web:x other" {
		t.Errorf("of a service: got %q", got)
	}
	must[wire.Failure](t, d, 404, "GET", "/api/v1/logs?service=nobody", "")
	must[wire.Failure](t, d, 400, "GET", "/api/v1/logs?service=No", "")
}

// What happened, also to those who are gone.
func TestHistory(t *testing.T) {
	d := start(t)
	d.Logs.Tell(alice, "woke", "notes:alice woke")
	d.Logs.Tell(tenant.ID{Service: "web", Name: "x"}, "dozed", "web:x dozes")
	for query, want := range map[string]string{
		"": `"notes:alice woke".*"kind":"woke".*\n.*"web:x dozes"`, "?instance=notes:alice": `^[^\n]*"notes:alice woke"[^\n]*\n$`,
		"?service=web&lines=1": `^[^\n]*"web:x dozes"[^\n]*\n$`, "?search=DOZES": `^[^\n]*"web:x dozes"[^\n]*\n$`, "?instance=notes:nobody": `^$`,
	} {
		if status, text, err := ask(d.Path, "GET", "/api/v1/history"+query, ""); err != nil || status != 200 || !regexp.MustCompile(`(?s)`+want).MatchString(text) {
			t.Errorf("%s: got %d %s, %v, want %s", query, status, text, err, want)
		}
	}
	must[wire.Failure](t, d, 400, "GET", "/api/v1/history?instance=Notes", "")
	must[wire.Failure](t, d, 400, "GET", "/api/v1/history?instance=notes:alice&service=web", "")
	must[wire.Failure](t, d, 404, "GET", "/api/v1/history?service=nobody", "")
}

// A tenant reads the logs and the history of its own instances, under every service.
func TestTenantsReadTheirOwn(t *testing.T) {
	d := start(t)
	mine, others := tenant.ID{Service: "web", Name: "alice"}, tenant.ID{Service: "notes", Name: "bob"}
	for _, id := range []tenant.ID{alice, mine, others} {
		d.Instances.Put(tenant.Snapshot{ID: id, Unit: units.ServiceName(id)})
		d.Logs.Add(units.ServiceName(id), "printed by "+id.String(), false)
		d.Logs.Tell(id, "dozed", id.String()+" dozes")
	}
	_, own := give(t, d, tenant.Token{Tenant: "alice"})
	_, stranger := give(t, d, tenant.Token{Tenant: "carol"})
	for _, c := range []struct {
		secret, path string
		status       int
		want, not    string
	}{
		{own, "/logs", 200, "printed by notes:alice.*printed by web:alice", "bob"},
		{own, "/logs?service=web", 200, "printed by web:alice", "notes"},
		{own, "/logs?service=nosuch", 404, "no instance called alice", "notes"},
		{own, "/history", 200, "notes:alice dozes.*web:alice dozes", "bob"},
		{own, "/history?service=notes", 200, "notes:alice dozes", "web"},
		{own, "/history?instance=notes:alice", 200, "notes:alice dozes", "web"},
		{own, "/history?instance=notes:bob", 403, "not an instance of alice", "dozes"},
		{stranger, "/logs", 404, "no instance called carol", "printed"},
		{stranger, "/history", 200, "^$", "dozes"},
	} {
		status, _, answer := over(t, d, c.secret, http.MethodGet, "/api/v1"+c.path, "")
		if status != c.status || !regexp.MustCompile("(?s)"+c.want).MatchString(answer) || strings.Contains(answer, c.not) {
			t.Errorf("%s: got %d %s\nwant %d with %q and without %q", c.path, status, answer, c.status, c.want, c.not)
		}
	}
}

// A browser follows by server-sent events, and goes on where it was when it comes back.
func TestLogEvents(t *testing.T) {
	d := start(t)
	d.Instances.Put(tenant.Snapshot{ID: alice})
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.Path)
	}}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	last := ""
	for i, want := range []string{"one", "two\nlines"} {
		d.Logs.Add(unit, want, false)
		req, err := http.NewRequestWithContext(ctx, "GET", "http://x"+instances+"/notes:alice/logs", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/event-stream")
		if last != "" {
			req.Header.Set("Last-Event-ID", last)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("got %v, %v", resp, err)
		}
		lines := bufio.NewScanner(resp.Body)
		var got []string
		for len(got) < 3 && lines.Scan() {
			got = append(got, lines.Text())
		}
		resp.Body.Close()
		var l wire.LogLine
		if len(got) != 3 || got[0] != fmt.Sprintf("id: s=7;i=%04x", i) || got[2] != "" ||
			json.Unmarshal([]byte(strings.TrimPrefix(got[1], "data: ")), &l) != nil || l.Message != want {
			t.Fatalf("got %q, want the event of %q", got, want)
		}
		last = strings.TrimPrefix(got[0], "id: ")
		if err := d.Logs.AwaitFollowers(ctx, 0); err != nil {
			t.Fatalf("after the client left: %v", err)
		}
	}
}

// A follower gets each line when it comes, and when it leaves or the daemon stops
// nothing of it is left.
func TestFollow(t *testing.T) {
	d := start(t)
	d.Instances.Put(tenant.Snapshot{ID: alice})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.Path)
	}}
	defer transport.CloseIdleConnections()
	follow := func(ctx context.Context) (*bufio.Scanner, func() error) {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://x"+instances+"/notes:alice/logs?follow=true&lines=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req) //nolint:bodyclose // answers although there is no line yet; the caller closes it
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("follow: %v, %v", resp, err)
		}
		return bufio.NewScanner(resp.Body), resp.Body.Close
	}
	leaving, leave := context.WithCancel(ctx)
	lines, closeBody := follow(leaving)
	for _, want := range []string{"one", "two"} {
		d.Logs.Add(unit, want, false)
		if !lines.Scan() || !strings.Contains(lines.Text(), `"`+want+`"`) {
			t.Fatalf("got %q, %v, want the line %q", lines.Text(), lines.Err(), want)
		}
	}
	leave()
	_ = closeBody()
	if err := d.Logs.AwaitFollowers(ctx, 0); err != nil {
		t.Fatalf("after the client left: %v", err)
	}

	lines, closeBody = follow(ctx)
	defer func() { _ = closeBody() }()
	if !lines.Scan() { // the stored one
		t.Fatal(lines.Err())
	}
	begun := time.Now()
	_ = d.Stop()
	if lines.Scan() {
		t.Errorf("after the daemon stopped: got %q", lines.Text())
	}
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("stopping with a follower took %v", took)
	}
}

func TestErrorInTheMiddleOfALog(t *testing.T) {
	d := start(t)
	d.Instances.Put(tenant.Snapshot{ID: alice})
	d.Logs.Add(unit, "one", false)
	d.Logs.Break(&tenant.Error{Code: tenant.CodeUnavailable, Msg: "no journal any more", Hint: "see why"})
	status, text, err := ask(d.Path, "GET", instances+"/notes:alice/logs", "")
	if err != nil || status != 200 {
		t.Fatalf("got %d %s, %v", status, text, err)
	}
	all := strings.Split(strings.TrimSpace(text), "\n")
	var last wire.LogLine
	if err := json.Unmarshal([]byte(all[len(all)-1]), &last); err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || last.LogEntry != nil || last.Error == nil || last.Error.Message != "no journal any more" {
		t.Errorf("got %s, want an entry and an error", text)
	}
}

// The error of a failed start has what the app said, also what arrives after it is
// known, and not what an earlier run said.
func TestLastLines(t *testing.T) {
	d := start(t)
	id := tenant.ID{Service: "broken", Name: "a"}
	d.Logs.AddAt(time.Now().Add(-time.Minute), "tenement-broken@a.service", "an old line", false)
	got := must[wire.Failure](t, d, 503, "POST", instances, `{"id":"`+id.String()+`"}`).Error
	if got.Code != tenant.CodeStartFailed || strings.Join(got.Log, "|") != apitest.Broken {
		t.Errorf("spawn: got %+v, want the log %q", got, apitest.Broken)
	}
	for range 2 {
		got = must[wire.Failure](t, d, 503, "POST", instances+"/broken:a/restart", "").Error
		if strings.Join(got.Log, "|") != apitest.Broken {
			t.Errorf("restart: got the log %q, want that of its own run", got.Log)
		}
	}
}

// systemd's lines are what there is to say where the app said nothing; a run that says
// nothing at all does not hold the answer up for long.
func TestLastLinesOfASilentApp(t *testing.T) {
	d := start(t)
	begun := time.Now()
	got := must[wire.Failure](t, d, 504, "POST", instances, `{"id":"notes:late"}`).Error
	if took := time.Since(begun); len(got.Log) != 0 || took > 3*time.Second {
		t.Errorf("got the log %q after %v", got.Log, took)
	}
	d.Instances.Put(tenant.Snapshot{ID: tenant.ID{Service: "notes", Name: "late"}, State: tenant.Waking, Since: begun})
	d.Logs.Add("tenement-notes@late.service", "Failed to execute /bin/none: No such file", true)
	got = must[wire.Failure](t, d, 504, "POST", instances+"/notes:late/wake", "").Error
	if strings.Join(got.Log, "|") != "Failed to execute /bin/none: No such file" {
		t.Errorf("a joined wake: got the log %q", got.Log)
	}
}

func TestLastLinesAreBounded(t *testing.T) {
	d := start(t)
	begun := time.Now()
	d.Instances.Put(tenant.Snapshot{ID: tenant.ID{Service: "notes", Name: "late"}, State: tenant.Waking, Since: begun})
	for i := range 50 {
		d.Logs.Add("tenement-notes@late.service", fmt.Sprintf("%d\n%s", i, strings.Repeat("é", 5000)), false)
	}
	got := must[wire.Failure](t, d, 504, "POST", instances+"/notes:late/wake", "").Error.Log
	if len(got) != 20 || got[18] != "49" || len(got[19]) > 1100 || !strings.HasSuffix(got[19], "é…") {
		t.Errorf("got %d lines, the last two %.40q", len(got), got[max(0, len(got)-2):])
	}
}

// A client that goes away ends its wait, and the daemon goes on.
func TestClientLeavesASlowWake(t *testing.T) {
	d := start(t)
	ctx, leave := context.WithCancel(t.Context())
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.Path)
	}}
	req, err := http.NewRequestWithContext(ctx, "POST", "http://x"+instances, strings.NewReader(`{"id":"notes:slow"}`))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		resp, err := transport.RoundTrip(req)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	<-d.Instances.Waiting()
	leave()
	if err := <-done; err == nil {
		t.Error("the request of a client that left was answered")
	}
	d.Instances.Release()
	if out := must[wire.Outcome](t, d, 200, "POST", instances, `{"id":"notes:slow"}`); out.State != tenant.Awake {
		t.Errorf("the next request: got %+v", out)
	}
}
