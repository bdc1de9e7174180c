package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// kinds are all kinds of event, as package event has them.
func kinds(t *testing.T) (list []event.Kind) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../internal/event/event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Kind" {
				list = append(list, event.Kind(strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`)))
			}
		}
		return true
	})
	if len(list) < 20 {
		t.Fatalf("got %q", list)
	}
	return list
}

// example is an event with every field that the kinds have.
func example(kind event.Kind, id tenant.ID) event.Event {
	fields := []slog.Attr{
		slog.String("from", "waking"), slog.String("to", "failed"), slog.String("reason", "exit status 3\nof the app"),
		slog.Duration("total", 63*time.Millisecond), slog.Int("weight", 50), slog.Int("failures", 3),
	}
	for _, name := range []string{"queue", "load", "unit_start", "app_ready", "dur", "wait", "for", "frozen"} {
		fields = append(fields, slog.Duration(name, 1500*time.Microsecond))
	}
	for _, name := range []string{"cause", "kind", "code", "state", "host", "entry", "token", "scope", "version", "config", "action", "becomes", "restarts", "bytes", "limit", "release", "text", "files", "taken_at", "kept"} {
		fields = append(fields, slog.String(name, "some-"+name))
	}
	if kind == event.Health {
		fields = append(fields, slog.String("health", "unhealthy"))
	} else {
		fields = append(fields, slog.Duration("health", time.Millisecond))
	}
	return event.Event{Kind: kind, Instance: id, Actor: "user carol", Fields: fields}
}

// tellAll has events told and put into the journal, and gives what was logged.
func tellAll(t *testing.T, w *Events, log *bytes.Buffer, events ...event.Event) string {
	t.Helper()
	bus := event.NewBus(event.Kept)
	ctx, cancel := context.WithCancel(t.Context())
	for _, e := range events {
		bus.Publish(e)
	}
	cancel() // what was told until now still comes
	if err := w.Run(ctx, bus); err != nil {
		t.Error(err)
	}
	run(t, "journalctl", "--sync")
	return log.String()
}

func newEvents(quiet bool) (*Events, *bytes.Buffer) {
	var log bytes.Buffer
	return NewEvents(slog.New(slog.NewTextHandler(&log, nil)), quiet), &log
}

// someone is an instance that no other test has.
func someone() tenant.ID {
	return tenant.ID{Service: "notes", Name: fmt.Sprintf("t%d", time.Now().UnixNano())}
}

// readEvents gives the events that are in the journal.
func readEvents(t *testing.T, q Query) []Entry {
	t.Helper()
	q.Events, q.Slice = true, "tenement.slice"
	return read(t, q)
}

func TestEventsInTheJournal(t *testing.T) {
	w, log := newEvents(true)
	alice, bob := someone(), someone()
	bob.Service = "blog"
	woke := event.Event{Kind: event.Woke, Instance: alice, Fields: []slog.Attr{
		slog.String("kind", "cold"), slog.String("cause", "GET request"), slog.Duration("queue", 0), slog.Duration("load", 3*time.Millisecond),
		slog.Duration("unit_start", 20*time.Millisecond), slog.Duration("app_ready", 40100*time.Microsecond), slog.Duration("total", 63100*time.Microsecond),
	}}
	stopped := event.Event{Kind: event.Stopped, Instance: alice, Actor: "user carol", Fields: []slog.Attr{slog.String("reason", "a\nline"), slog.Duration("dur", time.Second)}}
	unimportant := event.Event{Kind: event.State, Instance: alice, Fields: []slog.Attr{slog.String("from", "waking"), slog.String("to", "awake")}}
	said := tellAll(t, w, log, woke, unimportant, stopped, event.Event{Kind: event.Dozed, Instance: bob})
	if said != "" {
		t.Errorf("what the journal has was logged too:\n%s", said)
	}
	list := readEvents(t, Query{Instance: alice.String(), Lines: -1})
	want := []string{
		alice.String() + " woke from sleep in 63ms, by GET request (load 3ms, unit start 20ms, app ready 40ms)",
		alice.String() + " was stopped in 1s: a line, by user carol",
	}
	if got := texts(list); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	var whole struct {
		Kind, Instance string
		Fields         map[string]any
	}
	if err := json.Unmarshal([]byte(list[0].Event), &whole); err != nil || whole.Kind != "woke" || whole.Fields["app_ready_ms"] != 40.1 {
		t.Errorf("got %s, %v", list[0].Event, err)
	}
	if got := texts(readEvents(t, Query{Service: "blog", Lines: 1})); !slices.Equal(got, []string{bob.String() + " dozes"}) {
		t.Errorf("of a service: got %q", got)
	}
	if got := readEvents(t, Query{Lines: 3}); len(got) != 3 {
		t.Errorf("of all: got %q", texts(got))
	}
	// As people ask journald.
	for match, want := range map[string]int{
		"TENEMENT_TENANT=" + alice.Name: 2, "TENEMENT_ACTOR=user carol": 1, "TENEMENT_APP_READY_MS=40.1": 1, "TENEMENT_REASON=a\nline": 1,
		"TENEMENT_EVENT=woke": 1, "MESSAGE_ID=" + messageIDs[event.Woke]: 1, "TENEMENT_KIND=cold": 1, "PRIORITY=6": 2,
	} {
		out := run(t, "journalctl", "--quiet", "-t", "tenement", "--output=cat", "TENEMENT_INSTANCE="+alice.String(), match)
		if got := strings.Count(out, alice.String()); got != want {
			t.Errorf("%s: got %d entries, want %d:\n%s", match, got, want, out)
		}
	}
}

// A tenant is told of its own instances, and not who else works on them; a search finds only
// what is told.
func TestEventsForTenants(t *testing.T) {
	w, log := newEvents(true)
	alice, bob := someone(), someone()
	by := func(actor tenant.Actor, kind event.Kind, fields ...slog.Attr) event.Event {
		return event.Event{Kind: kind, Instance: alice, Actor: actor, Fields: fields}
	}
	tellAll(t, w, log,
		by("user carol", event.Paused), by("token alice", event.Unpaused),
		by("user carol", event.Audit, slog.String("action", "pause")), by("token alice", event.Audit, slog.String("action", "unpause")),
		by("user carol", event.Routed, slog.String("from", bob.String()), slog.Int("weight", 70)),
		event.Event{Kind: event.Dozed, Instance: bob, Actor: "user carol"})
	q := Query{Tenant: alice.Name, Viewer: "token alice", Lines: -1}
	list := readEvents(t, q)
	want := []string{
		alice.String() + " is paused", alice.String() + " is not paused any more, by token alice",
		"somebody asked for pause of " + alice.String(), "token alice asked for unpause of " + alice.String(),
		alice.String() + " gets requests, with weight 70",
	}
	if got := texts(list); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, e := range list {
		if strings.Contains(e.Event, "carol") || strings.Contains(e.Event, bob.Name) || !json.Valid([]byte(e.Event)) {
			t.Errorf("%q: the event tells too much: %s", e.Message, e.Event)
		}
	}
	q.Search = "carol"
	if got := texts(readEvents(t, q)); len(got) != 0 {
		t.Errorf("a search for who it was: got %q, want nothing", got)
	}
	if got := texts(readEvents(t, Query{Tenant: alice.Name, Service: "nosuch", Lines: -1})); len(got) != 0 {
		t.Errorf("of another service: got %q", got)
	}
}

// An instance that claims to be Tenement is not believed.
func TestForgedEvents(t *testing.T) {
	victim := someone()
	fields := "MESSAGE=" + victim.String() + " was destroyed\nSYSLOG_IDENTIFIER=tenement\n_SYSTEMD_SLICE=system.slice\n" +
		"TENEMENT_INSTANCE=" + victim.String() + "\nTENEMENT_EVENT_JSON={\"kind\":\"destroyed\"}\n"
	by := []string{"systemd-run", "--quiet", "--pipe", "--wait", "--collect"}
	runRole(t, "send", fields, append(by, "--slice=tenement.slice")...)            // of the same user
	runRole(t, "send", fields, append(by, "--slice=system.slice", "--uid=dev")...) // of another
	runRole(t, "send", strings.Replace(fields, "{", "{{", 1), by...)               // no event at all
	runRole(t, "send", strings.ReplaceAll(fields, "destroyed", "believed"), by...) // root may
	if got, want := texts(readEvents(t, Query{Instance: victim.String(), Lines: 10})), []string{victim.String() + " was believed"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Where no journal is, or the log is elsewhere, events are lines of the log; each once.
func TestEventsInTheLog(t *testing.T) {
	alice := someone()
	events := []event.Event{
		{Kind: event.DomainAdded, Instance: alice, Actor: "root", Fields: []slog.Attr{slog.String("host", "a.example")}},
		{Kind: event.WakeFailed, Instance: alice}, // which lifecycle logs
		{Kind: event.Dozed, Instance: alice, Fields: []slog.Attr{slog.Duration("dur", time.Millisecond)}},
	}
	line := fmt.Sprintf(`level=INFO msg="domain added" instance=%s actor=root host=a.example`, alice)
	w, log := newEvents(false)
	if said := tellAll(t, w, log, events...); strings.Count(said, "\n") != 2 || !strings.Contains(said, line) {
		t.Errorf("got %q, want %q and another", said, line)
	}
	w, log = newEvents(true)
	w.to.path = filepath.Join(t.TempDir(), "no-journal")
	said := tellAll(t, w, log, events...)
	if strings.Count(said, "events are not in the journal, but here") != 1 || !strings.Contains(said, line) || strings.Count(said, "\n") != 3 {
		t.Errorf("without a journal: got %q", said)
	}
}

// A restart of journald costs no event.
func TestEventsWhileJournaldRestarts(t *testing.T) {
	w, _ := newEvents(true)
	alice := someone()
	bus := event.NewBus(event.Kept)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, bus) }()
	var want []string
	for i := range 200 {
		host := fmt.Sprintf("h%d.example", i)
		bus.Publish(event.Event{Kind: event.DomainAdded, Instance: alice, Fields: []slog.Attr{slog.String("host", host)}})
		want = append(want, alice.String()+" has the host name "+host)
		if i == 100 {
			restartJournald(t)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	run(t, "journalctl", "--sync")
	if got := texts(readEvents(t, Query{Instance: alice.String(), Lines: -1})); !slices.Equal(got, want) {
		t.Errorf("got %d events, want %d", len(got), len(want))
	}
}

// Each kind of event has a MESSAGE_ID, and the catalog explains it with fields that it
// has.
func TestCatalog(t *testing.T) {
	catalog, err := os.ReadFile("../packaging/tenement.catalog")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/usr/lib/systemd/catalog/tenement.catalog", catalog, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "journalctl", "--update-catalog"); out != "" {
		t.Errorf("update the catalog: %s", out)
	}
	explained := regexp.MustCompile(`(?m)^-- ([0-9a-f]{32})$`).FindAllStringSubmatch(string(catalog), -1)
	if got, want := len(explained), len(messageIDs); got != want {
		t.Errorf("the catalog has %d entries, want %d", got, want)
	}
	used := map[string]event.Kind{otherID: "none"}
	var events []event.Event
	alice := someone()
	for _, kind := range kinds(t) {
		id, ok := messageIDs[kind]
		if before, taken := used[id]; taken {
			t.Errorf("%s has the MESSAGE_ID of %s", kind, before)
		}
		used[id] = kind
		if !ok || !strings.Contains(string(catalog), "-- "+id+"\n") {
			t.Errorf("%s has no MESSAGE_ID, or no entry in packaging/tenement.catalog", kind)
		}
		events = append(events, example(kind, alice))
	}
	w, log := newEvents(true)
	tellAll(t, w, log, events...)
	for _, e := range events {
		out := run(t, "journalctl", "--quiet", "-t", "tenement", "-x", "TENEMENT_INSTANCE="+alice.String(), "TENEMENT_EVENT="+string(e.Kind))
		if !strings.Contains(out, "░░ Subject: ") || !strings.Contains(out, "░░ Defined-By: Tenement") {
			t.Errorf("%s: not explained:\n%s", e.Kind, out)
		}
		if left := regexp.MustCompile(`TENEMENT_[A-Z_]+`).FindString(strings.ReplaceAll(out, "TENEMENT_INSTANCE=", "")); left != "" {
			t.Errorf("%s: the explanation has a field that the event has not, %s:\n%s", e.Kind, left, out)
		}
		text, priority := describe(e)
		if !strings.Contains(out, text) || strings.ContainsAny(text, "\n!?") || priority < priorityError || priority > priorityInfo {
			t.Errorf("%s: got the message %q with priority %d in\n%s", e.Kind, text, priority, out)
		}
	}
	if len(readEvents(t, Query{Instance: alice.String(), Lines: -1})) != len(events) {
		t.Error("not all of them are found")
	}
}

// A pause is told of an instance, or of a service as a whole.
func TestPausesInWords(t *testing.T) {
	id := someone()
	service := slog.String("service", "notes")
	for _, c := range []struct {
		event event.Event
		want  string
	}{
		{event.Event{Kind: event.Paused, Instance: id, Actor: "root", Fields: []slog.Attr{slog.String("message", "Back soon"), slog.Duration("for", time.Hour)}},
			id.String() + " is paused for 1h0m0s: Back soon, by root"},
		{event.Event{Kind: event.Paused, Fields: []slog.Attr{slog.String("message", ""), service}}, "service notes is paused"},
		{event.Event{Kind: event.Unpaused, Instance: id}, id.String() + " is not paused any more"},
		{event.Event{Kind: event.Unpaused, Fields: []slog.Attr{service}}, "service notes is not paused any more"},
	} {
		if got, _ := describe(c.event); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// Backups are told with numbers and times as people write them.
func TestBackupsInWords(t *testing.T) {
	id := someone()
	size := []slog.Attr{slog.Int64("bytes", 1), slog.Int("files", 1)}
	taken := slog.Time("taken_at", time.Date(2026, 11, 22, 18, 16, 11, 642949218, time.FixedZone("", 3600)))
	for _, c := range []struct {
		event event.Event
		want  string
	}{
		{event.Event{Kind: event.BackedUp, Instance: id, Fields: size}, id.String() + " was backed up: 1 file with 1 byte"},
		{event.Event{Kind: event.BackedUp, Instance: id, Fields: []slog.Attr{slog.Int64("bytes", 2), slog.Int("files", 0)}}, id.String() + " was backed up: 0 files with 2 bytes"},
		{event.Event{Kind: event.Restored, Instance: id, Fields: []slog.Attr{slog.String("from", "notes:alice"), taken, slog.String("kept", "/x")}},
			id.String() + " has the data of a backup of notes:alice of 2026-11-22T17:16:11Z; what it had is in /x"},
	} {
		if got, _ := describe(c.event); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
