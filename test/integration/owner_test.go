package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
	"tenement.dev/test/harness"
)

// A host name whose owner has to agree is nobody's, and has no certificate, until the TXT
// record of one of those who wait for it is there.
func TestDomainOfItsOwner(t *testing.T) {
	dns, control := nameserver(t)
	tlsPort := harness.FreePort(t)
	s := harness.New(t, harness.Options{Config: app})
	acme, files, rootsURL := pebble(t, dns, s.Port, tlsPort, time.Hour)
	for name, text := range files {
		s.WriteFile(name, text)
	}
	s.WriteFile("tenement.toml", fmt.Sprintf("[settings]\ndns_resolver = %q\n%sredirect = false\n%s", dns, acme, app))
	runTLS(t, s, tlsPort, "--domain", "tenants.test")
	s.Spawn("app:alice", "app:bob")
	ok(t, s, "stop", "app:alice", "app:bob")
	client := browser(s, tlsPort, rootsAt(t, rootsURL))

	claim := func(id, host string) wire.Pending {
		t.Helper()
		r := s.Ten("domain", "add", id, host, "--verify", "--json")
		var d wire.Domain
		if err := json.Unmarshal([]byte(r.Stdout), &d); err != nil || r.Code != 0 || d.Pending == nil {
			t.Fatalf("got %s, %v, want it pending", r, err)
		}
		return *d.Pending
	}
	publish := func(p wire.Pending) {
		t.Helper()
		body := strings.NewReader(fmt.Sprintf(`{"host":%q,"value":%q}`, p.Record+".", p.Token))
		resp, err := http.Post("http://"+control+"/set-txt", "application/json", body)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("set the TXT record: %v, %v", resp, err)
		}
		resp.Body.Close()
	}
	asked := func(host string) int {
		t.Helper()
		return s.Fetch("127.0.0.1", "/.well-known/tenement/ask?domain="+host).Status
	}

	const host = "shop.example"
	claim("app:alice", host)
	his := claim("app:bob", host)
	publish(wire.Pending{Record: his.Record, Token: "of something else"})
	if r := s.Ten("domain", "verify"); r.Code != 1 || !strings.Contains(r.Stderr, "the TXT record _tenement."+host+" has another text") {
		t.Errorf("got %s, want that there is another text", r)
	}
	for _, name := range []string{host, "www." + host} {
		if got := s.Fetch(name, "/").Status; got != 404 {
			t.Errorf("%s is served: got %d, want 404", name, got)
		}
		if got := asked(name); got != 404 {
			t.Errorf("who asks of %s is told %d, want 404", name, got)
		}
		if _, err := client.Get("https://" + name + "/"); err == nil {
			t.Errorf("%s has a certificate", name)
		}
	}
	if strings.Contains(s.Log.String(), "ordering a certificate") {
		t.Errorf("a certificate was ordered for who only claims a name:\n%s", s.Log)
	}

	// Bob's record is there.
	publish(his)
	r := s.Ten("domain", "verify", host)
	if r.Code != 0 || !strings.Contains(r.Stdout, "app:bob answers at "+host+" now") || strings.Contains(r.Stdout+r.Stderr, "alice") {
		t.Errorf("got %s, want it bob's alone", r)
	}
	resp, text := body(t, client, "https://"+host+"/")
	if resp.StatusCode != 200 || s.Get("app:bob").State != tenant.Awake || s.Get("app:alice").State != tenant.Asleep {
		t.Errorf("got %s %s from bob, who is %v", resp.Status, text, s.Get("app:bob").State)
	}
	if r := s.Ten("domain", "add", "app:alice", host, "--verify"); r.Code != 1 {
		t.Errorf("got %s, want it taken", r)
	}

	// The daemon finds a record by itself.
	hers := claim("app:alice", "alice.example")
	publish(hers)
	deadline := time.Now().Add(harness.Timeout)
	for asked("alice.example") != 200 {
		if time.Now().After(deadline) {
			t.Fatalf("nobody has looked: %s", s.Ten("domain", "ls"))
		}
		time.Sleep(100 * time.Millisecond)
	}
	if r := s.Ten("domain", "ls"); !strings.Contains(r.Stdout, "verified") || strings.Contains(r.Stdout, "pending") {
		t.Errorf("got %s", r)
	}
}
