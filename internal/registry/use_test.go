package registry

import (
	"reflect"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

func TestUse(t *testing.T) {
	path := newPath(t)
	r := mustOpen(t, path)
	alice, bob := id("notes", "alice"), id("notes", "bob")
	mustAdd(t, r, Instance{ID: alice})
	day := func(d string, u tenant.DailyUse) tenant.DailyUse { u.ID, u.Day = alice, d; return u }
	some := tenant.DailyUse{
		Traffic: tenant.Traffic{Requests: 3, Received: 10, Sent: 1 << 40}, Awake: time.Hour, Dozing: time.Minute,
		CPU: 1500 * time.Millisecond, Memory: 0.5 + 1<<50, Storage: 7,
	}
	at := time.Date(2026, 11, 22, 1, 2, 3, 4000, time.UTC)
	metered := tenant.Metered{ID: alice, Started: 42, CPU: time.Second, At: at}
	add := func(list []tenant.DailyUse, m ...tenant.Metered) {
		t.Helper()
		if err := r.AddUse(t.Context(), list, m); err != nil {
			t.Fatal(err)
		}
	}
	add([]tenant.DailyUse{day("2026-11-21", some), day("2026-11-22", some)}, metered, tenant.Metered{ID: bob, Started: 1})
	more := some
	more.Storage = 5
	add([]tenant.DailyUse{day("2026-11-22", more), {ID: bob, Day: "2026-11-22", CPU: time.Second}})
	add(nil)

	if got, err := r.Metered(t.Context()); err != nil || !reflect.DeepEqual(got, map[tenant.ID]tenant.Metered{alice: metered}) {
		t.Errorf("got %+v, %v, want %+v alone", got, err, metered)
	}
	double := tenant.DailyUse{
		Traffic: tenant.Traffic{Requests: 6, Received: 20, Sent: 2 << 40}, Awake: 2 * time.Hour, Dozing: 2 * time.Minute,
		CPU: 3 * time.Second, Memory: 1 + 2<<50, Storage: 5,
	}
	wantUse := func(q tenant.UseQuery, want ...tenant.DailyUse) {
		t.Helper()
		got, err := r.Use(t.Context(), q)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v: got %+v, %v\nwant %+v", q, got, err, want)
		}
	}
	if err := r.Remove(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Metered(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("after its end: got %+v, %v, want none", got, err)
	}
	wantUse(tenant.UseQuery{From: "2026-11-22", Until: "2026-11-30"}, day("2026-11-22", double),
		tenant.DailyUse{ID: bob, Day: "2026-11-22", CPU: time.Second})
	wantUse(tenant.UseQuery{From: "2026-11-01", Until: "2026-11-22", Service: "notes", Name: "alice"},
		day("2026-11-21", some), day("2026-11-22", double))
	wantUse(tenant.UseQuery{From: "2026-11-01", Until: "2026-11-30", Service: "web"})
	if err := r.ForgetUse(t.Context(), "2026-11-22"); err != nil {
		t.Fatal(err)
	}
	wantUse(tenant.UseQuery{From: "2026-11-01", Until: "2026-11-22", Name: "alice"}, day("2026-11-22", double))
}
