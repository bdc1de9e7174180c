package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/test/harness"
)

// app is a service that runs the test app; more lines may follow.
const app = `
[service.app]
command = "{bin}/testapp"
`

func TestRequestReachesTheAppUnchanged(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")

	seen := s.Seen("app:alice", "/", "Authorization", "Bearer secret", "Accept-Encoding", "x-none")
	if got, want := seen.Host, "alice.app.localhost"; got != want {
		t.Errorf("Host: got %q, want %q", got, want)
	}
	if got, want := seen.Header.Get("Authorization"), "Bearer secret"; got != want {
		t.Errorf("Authorization: got %q, want %q", got, want)
	}
	if got, want := seen.Header.Get("Accept-Encoding"), "x-none"; got != want {
		t.Errorf("Accept-Encoding: got %q, want %q", got, want)
	}
	resp, err := s.Do(t.Context(), "PUT", "app:alice", "/", "the body")
	if err != nil || !strings.Contains(resp.Body, `"Body":"the body"`) || !strings.Contains(resp.Body, `"Method":"PUT"`) {
		t.Errorf("PUT with a body: got %v %s", err, resp.Body)
	}
}

func TestRequestTargetIsNotRewritten(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	for _, target := range []string{"/a%2Fb/%7e|x?q=1&q=%zz;y&&z", "/%41/../b/./c", "/?", "/a;b=c,d", "//two/slashes", "/ü?ü"} {
		status, body := raw(t, s, "GET "+target+" HTTP/1.1\r\nHost: alice.app.localhost\r\nConnection: close\r\n\r\n")
		want, err := json.Marshal(target)
		if err != nil {
			t.Fatal(err)
		}
		if status != 200 || !strings.Contains(body, `"URI":`+strings.ReplaceAll(string(want), "&", `\u0026`)) && !strings.Contains(body, `"URI":`+string(want)) {
			t.Errorf("GET %s: got %d %s", target, status, body)
		}
	}
}

func TestForwardedHeadersAreOurs(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	seen := s.Seen("app:alice", "/", "X-Forwarded-For", "6.6.6.6", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil", "Forwarded", "for=6.6.6.6",
		"Connection", "X-Hop", "X-Hop", "gone")
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "alice.app.localhost", "Forwarded": "", "X-Hop": "",
	} {
		if got := seen.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestTrustedProxyIsBelieved(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[settings]\ntrusted_proxies = [\"127.0.0.0/8\"]\n" + app})
	s.Spawn("app:alice")
	seen := s.Seen("app:alice", "/", "X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "notes.example")
	for name, want := range map[string]string{
		"X-Forwarded-For": "203.0.113.9, 127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "notes.example",
	} {
		if got := seen.Header.Get(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestProxyProtocol(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[settings]\ntrusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true\n" + app})
	s.Spawn("app:alice")
	request := "GET / HTTP/1.1\r\nHost: alice.app.localhost\r\nConnection: close\r\n\r\n"
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\x7f\x00\x00\x01\x10\x00\x00\x50"
	for what, header := range map[string]string{"v1": "PROXY TCP4 203.0.113.9 127.0.0.1 4096 80\r\n", "v2": v2} {
		if status, body := raw(t, s, header+request); status != 200 || !strings.Contains(body, `"X-Forwarded-For":["203.0.113.9"]`) {
			t.Errorf("%s: got %d %s", what, status, body)
		}
	}
	if status, body := raw(t, s, request); status != 200 || !strings.Contains(body, `"X-Forwarded-For":["127.0.0.1"]`) {
		t.Errorf("without a header: got %d %s", status, body)
	}
	// One that says nothing keeps nobody waiting.
	silent, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if got := s.Fetch("app:alice", "/").Status; got != 200 {
		t.Errorf("beside a silent client: got %d", got)
	}

	s.WriteFile("tenement.toml", "[settings]\ntrusted_proxies = [\"10.9.9.9\"]\nproxy_protocol = true\n"+app)
	s.Signal(syscall.SIGTERM)
	s.Run()
	if status, _ := raw(t, s, "PROXY TCP4 203.0.113.9 127.0.0.1 4096 80\r\n"+request); status != 400 {
		t.Errorf("from who is not trusted: got %d, want 400", status)
	}
}

// Where instances are customers, nobody's answers at the service's own host name.
func TestNoServiceHost(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "service_host = false\n"})
	s.Spawn("app:alice", "app:bob")
	s.Ten("stop", "app:alice")
	s.Ten("stop", "app:bob")
	s.Await("app:alice", tenant.Asleep)
	ask := func() (int, string) {
		t.Helper()
		return raw(t, s, "GET / HTTP/1.1\r\nHost: app.localhost\r\nConnection: close\r\n\r\n")
	}
	if status, body := ask(); status != 404 || !strings.Contains(body, "no_service_host") || !strings.Contains(body, "service_host of it is false") {
		t.Errorf("the service's own host: got %d %s, want a 404 that says why", status, body)
	}
	for _, one := range s.List() {
		if one.State != tenant.Asleep || one.Wakes != 1 {
			t.Errorf("%s: got %v, %d wakes, want it left asleep", one.ID, one.State, one.Wakes)
		}
	}
	for _, args := range [][]string{{"weight", "app:alice", "5"}, {"route", "app", "--from", "alice", "--to", "bob"}, {"deploy", "app:v2", "--weight", "0"}} {
		if r := s.Ten(args...); r.Code != 1 || !strings.Contains(r.Stderr, "service_host of it is false") {
			t.Errorf("%s: want it refused", r)
		}
	}
	if r := s.Ten("open", "app"); r.Code != 4 {
		t.Errorf("%s: want no URL", r)
	}
	if r := s.Ten("deploy", "app:v2"); r.Code != 0 || strings.Contains(r.Stdout, "weight") {
		t.Errorf("%s: want it started, without a weight", r)
	}
	s.WriteFile("tenement.toml", app)
	if r := s.Ten("reload"); r.Code != 0 {
		t.Fatal(r)
	}
	if status, body := ask(); status != 200 {
		t.Errorf("once it is on: got %d %s", status, body)
	}
	if r := s.Ten("doctor"); !strings.Contains(r.Stdout, "app.localhost: any instance answers") {
		t.Errorf("%s: want it told", r)
	}
}

func TestDomains(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	ok(t, s, "domain", "add", "app:alice", "notes.alice.example")
	ok(t, s, "domain", "add", "app:alice", "www.alice.example")
	ok(t, s, "stop", "app:alice")
	if got := s.Seen("Notes.Alice.Example.", "/").Host; got != "Notes.Alice.Example." {
		t.Errorf("got Host %q, want it as it was sent", got)
	}
	for host, want := range map[string]string{"www.notes.alice.example": "http://notes.alice.example/x?y", "alice.example": "http://www.alice.example/x?y"} {
		if got := s.Fetch(host, "/x?y"); got.Status != 308 || got.Header.Get("Location") != want {
			t.Errorf("%s: got %d %q, want 308 %q", host, got.Status, got.Header.Get("Location"), want)
		}
	}
	for _, args := range [][]string{{"domain", "add", "app:alice", "bob.app.localhost"}, {"domain", "add", "app:bob", "b.example"}} {
		if r := s.Ten(args...); r.Code == 0 {
			t.Errorf("ten %v worked", args)
		}
	}
	s.Signal(syscall.SIGKILL)
	s.Run()
	if got := s.Fetch("notes.alice.example", "/").Status; got != 200 {
		t.Errorf("after a restart of the daemon: got %d, want 200", got)
	}
	ok(t, s, "domain", "rm", "notes.alice.example")
	if got := s.Fetch("notes.alice.example", "/").Status; got != 404 {
		t.Errorf("after its removal: got %d, want 404", got)
	}
}

// Every base domain leads to the instances; the first one is what people are told.
func TestSeveralBaseDomains(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: "[settings]\ndomain = [\"one.localhost\", \"two.example\"]\n" + app})
	s.Spawn("app:alice")
	for host, want := range map[string]int{
		"alice.app.one.localhost": 200, "alice.app.two.example": 200, "app.two.example": 200,
		"bob.app.two.example": 404, "two.example": 404, "alice.app.localhost": 404, "alice.app.three.example": 404,
	} {
		if got := s.Fetch(host, "/").Status; got != want {
			t.Errorf("%s: got %d, want %d", host, got, want)
		}
	}
	if r := s.Ten("ps", "--json"); r.Code != 0 || !strings.Contains(r.Stdout, `"http://alice.app.one.localhost:`) {
		t.Errorf("got %s, want the first domain's address", r)
	}
	if r := s.Ten("domain", "add", "app:alice", "x.app.two.example"); r.Code == 0 {
		t.Error("a name below a base domain was given away")
	}
	if got := s.Fetch("127.0.0.1", "/.well-known/tenement/ask?domain=alice.app.two.example").Status; got != 200 {
		t.Errorf("Caddy is told %d, want 200", got)
	}
	r := s.Ten("caddy", "--dns-provider", "hetzner")
	for _, want := range []string{"app.one.localhost, *.app.one.localhost {", "app.two.example, *.app.two.example {"} {
		if r.Code != 0 || !strings.Contains(r.Stdout, want) {
			t.Errorf("got %s, want %q in it", r, want)
		}
	}
}

func TestHostsThatNameNoInstance(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	before := s.List()
	for _, test := range []struct {
		host string
		want int
	}{
		{"zed.app.localhost", 404},
		{"alice.nope.localhost", 404},
		{"nope.localhost", 404},
		{"localhost", 404},
		{"example.com", 404},
		{"127.0.0.1", 404},
		{"[::1]:80", 404},
		{"..app.localhost", 400},
		{"-x.app.localhost", 400},
		{"x--f.app.localhost", 404},
		{"a_b.app.localhost", 400},
		{"a.b.app.localhost", 400},
		{strings.Repeat("a", 64) + ".app.localhost", 400},
		{"alice.app.localhost.evil", 404},
		{"etc%2fx.app.localhost", 400},
	} {
		if got := rawStatus(t, s, test.host); got != test.want {
			t.Errorf("Host %s: got %d, want %d", test.host, got, test.want)
		}
	}
	for _, host := range []string{"ALICE.App.localhost.", "alice.app.localhost:9999"} {
		if got := rawStatus(t, s, host); got != 200 {
			t.Errorf("Host %s: got %d, want 200", host, got)
		}
	}
	if after := s.List(); len(after) != len(before) {
		t.Errorf("instances: got %v, want %v", after, before)
	}
	if got := s.Systemctl("list-units", "--all", "--plain", "--no-legend", "tenement-*@*.service"); strings.Count(got, ".service") != 1 {
		t.Errorf("units: got %s, want one", got)
	}
}

// rawStatus makes a request with any Host header and gives the answer's status.
func rawStatus(t *testing.T, s *harness.Server, host string) int {
	t.Helper()
	status, _ := raw(t, s, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
	return status
}

// raw sends a request as it is written and gives the answer's status and body.
func raw(t *testing.T, s *harness.Server, request string) (int, string) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(harness.Timeout))
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestTenantsOwnPathsAreTheirs(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	for _, path := range []string{"/", "/metrics", "/api/v1/instances", "/api/x"} {
		if got := s.Seen("app:alice", path).URI; got != path {
			t.Errorf("GET %s reached the app as %q", path, got)
		}
	}
	if got := s.Text("app:alice", "/health"); got != "200 OK is only in the body" {
		t.Errorf("GET /health: got %q, want the app's own", got)
	}
}

func TestFirstRequestsOfASleeper(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app})
	s.Spawn("app:alice")
	s.Ten("stop", "app:alice")
	s.Await("app:alice", tenant.Asleep)

	const parallel = 50
	pids := make(chan int, parallel)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() { pids <- s.Seen("app:alice", "/").PID })
	}
	wg.Wait()
	close(pids)
	first := 0
	for pid := range pids {
		if first == 0 {
			first = pid
		}
		if pid != first {
			t.Errorf("answers from processes %d and %d, want one", first, pid)
		}
	}
	if got := s.Get("app:alice").Wakes; got != 2 {
		t.Errorf("wakes: got %d, want 2 (the spawn and one for all requests)", got)
	}
}

func TestClientThatLeavesDuringAWakeHarmsNobody(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: strings.Replace(app, `testapp"`, `testapp delay=1s"`, 1)})
	s.Spawn("app:alice")
	for range 2 {
		s.Ten("stop", "app:alice")
		s.Await("app:alice", tenant.Asleep)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, err := s.Do(ctx, http.MethodGet, "app:alice", "/", ""); err == nil {
			t.Error("the app answered before it could have started")
		}
		cancel()
		if got := s.Text("app:alice", "/count"); got != "1" {
			t.Errorf("the next request: got count %s, want 1", got)
		}
	}
	if got := s.Get("app:alice").InFlight; got != 0 {
		t.Errorf("in flight: got %d, want 0", got)
	}
}

func TestSlowAndDeadApps(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "request_timeout = 1\n"})
	s.Spawn("app:alice")
	if got := s.Fetch("app:alice", "/slow?ms=3000").Status; got != http.StatusGatewayTimeout {
		t.Errorf("slower than request_timeout: got %d, want 504 before the app answers", got)
	}
	if got := s.Fetch("app:alice", "/exit?code=1").Status; got != http.StatusBadGateway {
		t.Errorf("an app that dies over a request: got %d, want 502", got)
	}
	if got := s.Text("app:alice", "/count"); got != "1" {
		t.Errorf("the request after it: got count %s, want 1 of a new process", got)
	}
}

func TestAppThatStopsListening(t *testing.T) {
	// It accepts two connections, that which finds it ready and that of the wake, and
	// closes its socket for good.
	s := harness.Start(t, harness.Options{
		Config: "[service.app]\ncommand = \"python3 once.py\"\n",
		Files: map[string]string{"once.py": `
import os, socket, time
l = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
l.accept()
l.accept()
l.close()
time.sleep(1000)
`},
	})
	s.Spawn("app:alice")
	if got := s.Fetch("app:alice", "/"); got.Status != http.StatusBadGateway {
		t.Errorf("app refuses the connection: got %d %s, want 502", got.Status, got.Body)
	}
}

func TestOnDemand(t *testing.T) {
	s := harness.Start(t, harness.Options{Config: app + "on_demand = true\nmax_instances = 2\n"})
	for id, want := range map[string]int{"app:one": 200, "app:two": 200} {
		if got := s.Fetch(id, "/").Status; got != want {
			t.Errorf("%s: got %d, want %d", id, got, want)
		}
	}
	if got := s.Fetch("app:three", "/").Status; got != http.StatusTooManyRequests {
		t.Errorf("beyond max_instances: got %d, want 429", got)
	}
	if got := rawStatus(t, s, "A_B.app.localhost"); got != 400 {
		t.Errorf("an odd label: got %d, want 400", got)
	}
	if got := len(s.List()); got != 2 {
		t.Errorf("instances: got %d, want 2", got)
	}
}
