package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/api"
	"tenement.dev/internal/api/apitest"
	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

var bob = tenant.ID{Service: "notes", Name: "bob"}

// over makes a request over TCP, with a token if that is not empty.
func over(t *testing.T, d *apitest.Daemon, secret, method, path, body string) (status int, header http.Header, answer string) {
	t.Helper()
	resp := open(t, d, secret, method, path, body)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	if err := conform(method, path, body, resp.StatusCode, resp.Header.Get("Content-Type"), string(text)); err != nil {
		t.Error(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// open is over that leaves the answer's body to the caller.
func open(t *testing.T, d *apitest.Daemon, secret, method, path, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+d.TCP+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// give makes a token.
func give(t *testing.T, d *apitest.Daemon, want tenant.Token) (id, secret string) {
	t.Helper()
	made, secret, err := d.Tokens.Create(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	return made.ID, secret
}

// Each route, and who may use it. A route that is not in here fails the test.
func TestAccess(t *testing.T) {
	const (
		everybody = iota // also without a token
		known            // whoever has a good token
		owner            // admins, and the tenant
		waker            // admins, and the tenant with wake
		restarter        // admins, and the tenant with restart
		admins
	)
	type try struct {
		may  int
		path string // "" for the route's own
		body string
	}
	routes := map[string]try{
		"GET /openapi.json":                           {may: everybody},
		"GET /self":                                   {may: known},
		"GET /version":                                {may: known},
		"GET /doctor":                                 {may: admins},
		"GET /services":                               {may: admins},
		"POST /reload":                                {may: admins},
		"GET /instances":                              {may: known},
		"POST /instances":                             {may: admins, body: `{"id":"notes:alice"}`},
		"GET /instances/{id}":                         {may: owner},
		"DELETE /instances/{id}":                      {may: admins},
		"POST /instances/{id}/wake":                   {may: waker},
		"POST /instances/{id}/doze":                   {may: admins},
		"POST /instances/{id}/stop":                   {may: admins},
		"POST /instances/{id}/restart":                {may: restarter},
		"POST /instances/{id}/weight":                 {may: admins, body: `{"weight":5}`},
		"POST /instances/{id}/deploy":                 {may: admins, body: `{"weight":5}`},
		"POST /services/{service}/route":              {may: admins, path: "/services/notes/route", body: `{"from":"alice","to":"bob"}`},
		"GET /domains":                                {may: admins},
		"POST /domains":                               {may: admins, body: `{"host":"a.example","id":"notes:alice"}`},
		"POST /domains/{host}/verify":                 {may: admins, path: "/domains/a.example/verify"},
		"DELETE /domains/{host}":                      {may: admins, path: "/domains/a.example"},
		"POST /instances/{id}/keep-awake":             {may: admins, body: `{"for_ms":1000}`},
		"GET /instances/{id}/why":                     {may: owner},
		"GET /instances/{id}/limits":                  {may: owner},
		"POST /instances/{id}/limits":                 {may: admins, body: `{"set":{"memory":1000000}}`},
		"GET /instances/{id}/logs":                    {may: owner},
		"POST /instances/{id}/pause":                  {may: admins, body: `{}`},
		"DELETE /instances/{id}/pause":                {may: admins},
		"GET /instances/{id}/secrets":                 {may: admins},
		"PUT /instances/{id}/secrets/{secret}":        {may: admins, path: "/instances/notes:alice/secrets/KEY", body: `{"value":"eA=="}`},
		"DELETE /instances/{id}/secrets/{secret}":     {may: admins, path: "/instances/notes:alice/secrets/KEY"},
		"GET /services/{service}/secrets":             {may: admins, path: "/services/notes/secrets"},
		"PUT /services/{service}/secrets/{secret}":    {may: admins, path: "/services/notes/secrets/KEY", body: `{"value":"eA=="}`},
		"DELETE /services/{service}/secrets/{secret}": {may: admins, path: "/services/notes/secrets/KEY"},
		"POST /services/{service}/pause":              {may: admins, path: "/services/notes/pause", body: `{}`},
		"DELETE /services/{service}/pause":            {may: admins, path: "/services/notes/pause"},
		"GET /services/{service}/rollout":             {may: admins, path: "/services/notes/rollout"},
		"POST /services/{service}/rollout":            {may: admins, path: "/services/notes/rollout", body: `{"release":"v2"}`},
		"POST /services/{service}/rollout/pause":      {may: admins, path: "/services/notes/rollout/pause"},
		"POST /services/{service}/rollout/resume":     {may: admins, path: "/services/notes/rollout/resume"},
		"POST /services/{service}/rollout/abort":      {may: admins, path: "/services/notes/rollout/abort"},
		"POST /services/{service}/rollout/rollback":   {may: admins, path: "/services/notes/rollout/rollback"},
		"GET /services/{service}/rollout/events":      {may: admins, path: "/services/notes/rollout/events"},
		"GET /usage":                                  {may: known},
		"GET /logs":                                   {may: known},
		"GET /events":                                 {may: known},
		"GET /tokens":                                 {may: admins},
		"POST /tokens":                                {may: admins, body: `{}`},
		"DELETE /tokens/{token}":                      {may: admins, path: "/tokens/none"},
		"GET /history":                                {may: known},
		"GET /instances/{id}/backup":                  {may: owner},
		"POST /instances/{id}/restore":                {may: admins, body: "backup of notes:alice"},
		"POST /import":                                {may: admins, path: "/import?as=notes:carol", body: "backup of notes:alice"},
	}
	who := []string{"nobody", "a bad token", "one that was revoked", "bob", "alice", "alice who may wake", "alice who may restart", "admin", "root"}
	var unknown []string
	for _, rt := range api.Routes() {
		name := rt.Method + " " + rt.Path
		try, ok := routes[name]
		if !ok {
			t.Errorf("%s is a route that this test does not know: say who may use it", name)
			continue
		}
		unknown = append(unknown, name)
		for _, as := range who {
			t.Run(name+" as "+as, func(t *testing.T) {
				d := start(t)
				d.Instances.Put(tenant.Snapshot{ID: alice})
				d.Instances.Put(tenant.Snapshot{ID: bob})
				_, secret := secretOf(t, d, as)
				path := try.path
				if path == "" {
					path = strings.ReplaceAll(rt.Path, "{id}", "notes:alice")
				}
				var status int
				if as == "root" {
					status = headOf(t, d, rt.Method, api.Prefix+path, try.body)
				} else {
					resp := open(t, d, secret, rt.Method, api.Prefix+path, try.body)
					status = resp.StatusCode
					resp.Body.Close()
				}
				want := 200
				switch {
				case try.may == everybody || as == "admin" || as == "root":
				case as == "nobody", as == "a bad token", as == "one that was revoked":
					want = 401
				case try.may == known:
				case as == "bob", try.may == admins,
					try.may == waker && as != "alice who may wake",
					try.may == restarter && as != "alice who may restart":
					want = 403
				}
				if refused := status == 401 || status == 403; want != 200 && status != want || want == 200 && refused || status == 500 {
					t.Errorf("got %d, want %d", status, want)
				}
			})
		}
	}
	for name := range maps.Keys(routes) {
		if !slices.Contains(unknown, name) {
			t.Errorf("%s is no route", name)
		}
	}
}

// secretOf makes the token of somebody of whom TestAccess speaks.
func secretOf(t *testing.T, d *apitest.Daemon, as string) (id, secret string) {
	t.Helper()
	switch as {
	case "a bad token":
		return "", "ten_" + strings.Repeat("a", 52)
	case "one that was revoked":
		id, secret := give(t, d, tenant.Token{})
		if err := d.Tokens.Revoke(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return id, secret
	case "bob", "alice":
		return give(t, d, tenant.Token{Tenant: as})
	case "alice who may wake":
		return give(t, d, tenant.Token{Tenant: "alice", Allow: []tenant.Permission{tenant.MayWake}})
	case "alice who may restart":
		return give(t, d, tenant.Token{Tenant: "alice", Allow: []tenant.Permission{tenant.MayRestart}})
	case "admin":
		return give(t, d, tenant.Token{})
	}
	return "", ""
}

// headOf makes a request on the Unix socket and gives its status, without waiting for
// the end of the answer.
func headOf(t *testing.T, d *apitest.Daemon, method, path, body string) int {
	t.Helper()
	conn, err := dial(d.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close() // or the body of a stream would be read to its end
	resp.Body.Close()
	return resp.StatusCode
}

// A tenant finds its own instances, under every service, and does not learn of others:
// one that is not there is refused as one that is.
func TestTenantSeesItsOwn(t *testing.T) {
	d := start(t)
	for _, name := range []string{"notes:alice", "notes:bob", "web:alice", "web:carol"} {
		id, err := tenant.ParseID(name)
		if err != nil {
			t.Fatal(err)
		}
		d.Instances.Put(tenant.Snapshot{ID: id})
	}
	_, secret := give(t, d, tenant.Token{Tenant: "alice"})
	for query, want := range map[string]string{
		"": "notes:alice web:alice", "?service=notes": "notes:alice", "?prefix=b": "", "?cursor=notes:alice": "web:alice",
		"?limit=1": "notes:alice +notes:alice", "?service=nosuch": "", // not which services there are
	} {
		_, _, text := over(t, d, secret, "GET", instances+query, "")
		var list wire.Instances
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := names(list); got != want {
			t.Errorf("list%s: got %q, want %q", query, got, want)
		}
	}
	for _, path := range []string{"/notes:bob", "/notes:bob/logs", "/notes:bob/why", "/notes:bob/limits", "/web:nobody", "/nosuch:bob"} {
		status, _, text := over(t, d, secret, "GET", instances+path, "")
		if status != 403 || !strings.Contains(text, `"forbidden"`) || !strings.Contains(text, `"hint"`) {
			t.Errorf("GET %s: got %d %s, want 403 with a hint", path, status, text)
		}
	}
	if status, _, text := over(t, d, secret, "GET", api.Prefix+"/self", ""); status != 200 || !strings.Contains(text, `"tenant":"alice"`) {
		t.Errorf("self: got %d %s", status, text)
	}
	if status, _, _ := over(t, d, secret, "GET", instances+"/Web:bob", ""); status != 400 {
		t.Errorf("a name that cannot be: got %d, want 400", status)
	}
}

func names(list wire.Instances) string {
	var got []string
	for _, inst := range list.Instances {
		got = append(got, inst.ID.String())
	}
	if list.Next != "" {
		got = append(got, "+"+list.Next)
	}
	return strings.Join(got, " ")
}

func TestListFilters(t *testing.T) {
	d := start(t)
	for i := range 25 {
		s := tenant.Snapshot{ID: tenant.ID{Service: "notes", Name: fmt.Sprintf("n%02d", i)}}
		if i%5 == 0 {
			s.State = tenant.Awake
		}
		d.Instances.Put(s)
	}
	d.Instances.Put(tenant.Snapshot{ID: tenant.ID{Service: "a-b", Name: "x"}, State: tenant.Failed})
	for query, want := range map[string]string{
		"?state=awake":                                "notes:n00 notes:n05 notes:n10 notes:n15 notes:n20",
		"?state=failed,awake&limit=2":                 "a-b:x notes:n00 +notes:n00",
		"?state=failed,awake&limit=2&cursor=notes:n0": "notes:n00 notes:n05 +notes:n05",
		"?prefix=n2&limit=5":                          "notes:n20 notes:n21 notes:n22 notes:n23 notes:n24",
		"?prefix=notes:n0&state=awake":                "notes:n00 notes:n05",
		"?prefix=zz":                                  "",
		"?cursor=notes:n23":                           "notes:n24",
		"?cursor=zz:zz":                               "",
	} {
		if got := names(must[wire.Instances](t, d, 200, "GET", instances+query, "")); got != want {
			t.Errorf("list%s: got %q, want %q", query, got, want)
		}
	}
	// All pages together are the list, once each.
	var all []string
	for cursor := ""; ; {
		page := must[wire.Instances](t, d, 200, "GET", instances+"?limit=4"+cursor, "")
		for _, inst := range page.Instances {
			all = append(all, inst.ID.String())
		}
		if page.Next == "" {
			break
		}
		cursor = "&cursor=" + page.Next
	}
	if len(all) != 26 || !slices.IsSorted(all) {
		t.Errorf("the pages have %d: %q", len(all), all)
	}
	for _, query := range []string{"?limit=0", "?limit=1001", "?limit=x", "?state=up", "?state=", "?cursor=x"} {
		must[wire.Failure](t, d, 400, "GET", instances+query, "")
	}
}

// A hundred bad tokens a second from one address do not disturb a good one from there.
func TestBadTokensDisturbNobody(t *testing.T) {
	d := start(t)
	_, good := give(t, d, tenant.Token{})
	var limited int
	for i := range 60 {
		status, header, text := over(t, d, fmt.Sprintf("ten_%052d", i), "GET", api.Prefix+"/version", "")
		switch status {
		case 429:
			limited++
			if header.Get("Retry-After") == "" {
				t.Error("429 does not say when to come back")
			}
		case 401:
			if !strings.HasPrefix(header.Get("WWW-Authenticate"), "Bearer") || !strings.Contains(text, `"unauthorized"`) {
				t.Errorf("got %v %s", header, text)
			}
		default:
			t.Fatalf("a bad token: got %d %s", status, text)
		}
		if status, _, text := over(t, d, good, "GET", api.Prefix+"/version", ""); status != 200 {
			t.Fatalf("a good token after %d bad ones: got %d %s", i+1, status, text)
		}
	}
	if limited == 0 {
		t.Error("nobody was told to hold back")
	}
}

func TestTokensByAPI(t *testing.T) {
	d := start(t)
	const tokens = "/api/v1/tokens"
	made := must[wire.NewToken](t, d, 201, "POST", tokens, `{"tenant":"alice","allow":["wake"],"description":"for her","for_ms":3600000}`)
	if made.Tenant != "alice" || made.Description != "for her" || made.Expires.Sub(made.Created).Round(time.Minute) != time.Hour {
		t.Errorf("made %+v", made)
	}
	if status, _, text := over(t, d, made.Secret, "GET", api.Prefix+"/self", ""); status != 200 || !strings.Contains(text, made.ID) {
		t.Errorf("with it: got %d %s", status, text)
	}
	// A token that is sent counts also on the Unix socket, in place of who sends it.
	list := must[wire.Tokens](t, d, 200, "GET", tokens, "")
	if len(list.Tokens) != 1 || list.Tokens[0].ID != made.ID || list.Tokens[0].Used.IsZero() {
		t.Errorf("list: got %+v", list)
	}
	_, text, err := ask(d.Path, "GET", tokens, "")
	if err != nil || strings.Contains(text, made.Secret) || strings.Contains(text, "hash") {
		t.Errorf("the list tells too much: %s, %v", text, err)
	}
	must[empty](t, d, 204, "DELETE", tokens+"/"+made.ID, "")
	if status, _, _ := over(t, d, made.Secret, "GET", api.Prefix+"/self", ""); status != 401 {
		t.Errorf("revoked: got %d, want 401", status)
	}
	must[wire.Failure](t, d, 404, "DELETE", tokens+"/"+made.ID, "")
	for _, body := range []string{`{"tenant":"Alice"}`, `{"tenant":""}`, `{"tenant":null}`, `{"tenant":7}`, `{"TENANT":""}`, `{"allow":["wake"]}`, `{"tenant":"a","allow":["stop"]}`, `{"for_ms":-1}`, `{"for_ms":9223372036854775807}`} {
		must[wire.Failure](t, d, 400, "POST", tokens, body)
	}
}

// follower follows events, or a log, line by line.
type follower struct {
	t     *testing.T
	resp  *http.Response
	lines chan string
}

func follow(t *testing.T, d *apitest.Daemon, secret, path, last string) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+d.TCP+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		t.Fatalf("GET %s: got %s", path, resp.Status)
	}
	s := &follower{t, resp, make(chan string, 1000)}
	go func() {
		defer close(s.lines)
		for in := bufio.NewScanner(resp.Body); in.Scan(); {
			s.lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range s.lines {
		}
		resp.Body.Close()
	})
	return s
}

// next gives the next line, not ok at the end.
func (s *follower) next() (line string, ok bool) {
	s.t.Helper()
	return s.before(time.After(20 * time.Second))
}

func (s *follower) before(late <-chan time.Time) (line string, ok bool) {
	s.t.Helper()
	select {
	case line, ok := <-s.lines:
		return line, ok
	case <-late:
		s.t.Fatal("nothing more comes")
		return "", false
	}
}

// event gives the next event: its id, its name, its data. Heartbeats are none.
func (s *follower) event() (id, name, data string) {
	s.t.Helper()
	late := time.After(20 * time.Second)
	for {
		line, ok := s.before(late)
		if !ok {
			s.t.Fatal("the stream has ended")
		}
		key, value, _ := strings.Cut(line, ": ")
		switch {
		case key == "id":
			id = value
		case key == "event":
			name = value
		case key == "data":
			data = value
		case line == "" && name != "":
			return id, name, data
		}
	}
}

func TestEvents(t *testing.T) {
	d := start(t)
	adminID, admin := give(t, d, tenant.Token{})
	_, hers := give(t, d, tenant.Token{Tenant: "alice", Allow: []tenant.Permission{"restart"}})
	d.Instances.Put(tenant.Snapshot{ID: alice})
	d.Instances.Put(tenant.Snapshot{ID: bob})
	all := follow(t, d, admin, "/api/v1/events", "")
	own := follow(t, d, hers, "/api/v1/events", "")
	audits := follow(t, d, admin, "/api/v1/events?kind=audit,token_revoked&instance=notes:bob", "")
	if line, _ := all.next(); line != "retry: 1000" {
		t.Errorf("got %q first", line)
	}
	d.Events.Publish(event.Event{Kind: event.State, Instance: bob})
	d.Events.Publish(event.Event{Kind: event.Weight, Instance: alice, Actor: "user carol"})
	d.Events.Publish(event.Event{Kind: event.Routed, Instance: alice, Fields: []slog.Attr{slog.String("from", bob.String()), slog.String("weight", "7")}})
	over(t, d, admin, "POST", instances+"/notes:bob/stop", "")
	over(t, d, hers, "POST", instances+"/notes:alice/restart", "")
	over(t, d, hers, "POST", instances+"/notes:bob/restart", "") // refused: nothing is told
	over(t, d, admin, "POST", instances, `{"id":"nosuch:bob"}`)  // fails: it is told

	var ids []string
	for _, want := range []string{"state notes:bob", "weight notes:alice by user carol", "routed notes:alice notes:bob 7", "audit notes:bob by token " + adminID + " stop",
		"audit notes:alice restart", "audit nosuch:bob by token " + adminID + " spawn not_found"} {
		id, name, data := all.event()
		ids = append(ids, id)
		var e struct {
			ID, Kind, Instance, Actor string
			Fields                    map[string]string
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil || e.ID != id || e.Kind != name {
			t.Fatalf("got %s, %s: %s, %v", id, name, data, err)
		}
		for word := range strings.FieldsSeq(want) {
			if !strings.Contains(name+" "+data, word) && word != "by" {
				t.Errorf("got %s %s, want %s", name, data, want)
			}
		}
	}
	// Alice sees her own, and not who else works on it, nor whose requests it got.
	if _, name, data := own.event(); name != "weight" || strings.Contains(data, "carol") {
		t.Errorf("alice: got %s %s", name, data)
	}
	if _, name, data := own.event(); name != "routed" || strings.Contains(data, "bob") || !strings.Contains(data, `"7"`) {
		t.Errorf("alice: got %s %s", name, data)
	}
	if _, name, data := own.event(); name != "audit" || !strings.Contains(data, `"restart"`) || !strings.Contains(data, "token ") {
		t.Errorf("alice: got %s %s", name, data)
	}
	if _, name, data := audits.event(); name != "audit" || !strings.Contains(data, `"stop"`) {
		t.Errorf("bob's audits: got %s %s", name, data)
	}
	// Who comes back gets what he has missed, and no more.
	again := follow(t, d, admin, "/api/v1/events", ids[2])
	for _, want := range ids[3:] {
		if id, _, _ := again.event(); id != want {
			t.Errorf("resumed: got %s, want %s", id, want)
		}
	}
	// One that was another daemon's follower learns that there is a gap.
	gap := follow(t, d, admin, "/api/v1/events?after=zz-9", "")
	if _, name, data := gap.event(); name != "gap" || data != `{"missed":0}` {
		t.Errorf("got %s %s, want a gap", name, data)
	}
	for path, want := range map[string]int{"?after=x": 400, "?instance=x": 400} {
		if status, _, _ := over(t, d, admin, "GET", "/api/v1/events"+path, ""); status != want {
			t.Errorf("events%s: got %d, want %d", path, status, want)
		}
	}
	if status, _, _ := over(t, d, hers, "GET", "/api/v1/events?instance=notes:bob", ""); status != 403 {
		t.Errorf("bob's events for alice: got %d, want 403", status)
	}
}

// What a token has open ends when it is revoked, and when it expires.
func TestStreamsEndWithTheirToken(t *testing.T) {
	d := start(t)
	d.Instances.Put(tenant.Snapshot{ID: alice})
	for _, path := range []string{"/api/v1/events", instances + "/notes:alice/logs?follow=true"} {
		id, secret := give(t, d, tenant.Token{Tenant: "alice"})
		s := follow(t, d, secret, path, "")
		if err := d.Tokens.Revoke(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		for ok := true; ok; {
			_, ok = s.next()
		}
		_, secret = give(t, d, tenant.Token{Tenant: "alice", Expires: time.Now().Add(2 * time.Second)})
		s = follow(t, d, secret, path, "")
		for ok := true; ok; {
			_, ok = s.next()
		}
	}
}

// One token can have so many streams, of whatever kind; the next one is told so, and
// others have theirs.
func TestStreamsOfOneToken(t *testing.T) {
	d := start(t)
	d.Instances.Put(tenant.Snapshot{ID: alice})
	const events, logs = "/api/v1/events", instances + "/notes:alice/logs?follow=true"
	id, hers := give(t, d, tenant.Token{Tenant: "alice"})
	_, other := give(t, d, tenant.Token{Tenant: "alice"})
	const most = 16
	var last *follower
	for i := range most {
		last = follow(t, d, hers, []string{events, logs}[i%2], "")
	}
	for _, path := range []string{events, logs} {
		status, header, text := over(t, d, hers, "GET", path, "")
		if status != 429 || header.Get("Retry-After") == "" || !strings.Contains(text, "token "+id+" has 16 streams open") {
			t.Errorf("one more, %s: got %d %v %s, want 429", path, status, header, text)
		}
	}
	if status, _, _ := over(t, d, hers, "GET", instances+"/notes:alice", ""); status != 200 {
		t.Errorf("what is no stream: got %d, want 200", status)
	}
	follow(t, d, other, events, "")
	if got := d.Streams(); got != most+1 {
		t.Errorf("got %d streams, want %d", got, most+1)
	}
	// The client goes, without a word.
	last.resp.Body.Close()
	for range last.lines {
	}
	gone := func() bool { return d.Streams() == most }
	for end := time.Now().Add(20 * time.Second); !gone(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("got %d streams after one was left, want %d", d.Streams(), most)
		}
	}
	follow(t, d, hers, events, "")
}

// Audit events call what was asked for as the command of ten is called.
func TestAuditedAsCommands(t *testing.T) {
	commands := map[string]bool{}
	for _, name := range strings.Split("reload,spawn,destroy,wake,doze,stop,restart,weight,deploy,route,rollout,rollout pause,rollout resume,rollout abort,"+
		"rollback,domain add,domain verify,domain rm,keep-awake,limit,pause,unpause,secret set,secret rm,token gen,token revoke,backup,restore,import,export", ",") {
		commands[name] = true
	}
	for _, rt := range api.Routes() {
		if rt.Method != http.MethodGet && !commands[rt.Audited] {
			t.Errorf("%s %s is audited as %q, which is no command", rt.Method, rt.Path, rt.Audited)
		}
	}
}
