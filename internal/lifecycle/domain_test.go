package lifecycle_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

func TestDomains(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice, bob)
		add := func(host string, id tenant.ID) (bool, error) {
			_, added, err := w.manager.AddDomain(t.Context(), host, id, false)
			return added, err
		}
		if added, err := add("Notes.Alice.Example.", alice); err != nil || !added {
			t.Fatalf("got %t, %v, want it added", added, err)
		}
		if added, err := add("notes.alice.example", alice); err != nil || added {
			t.Errorf("again: got %t, %v, want it there", added, err)
		}
		_, err := add("notes.alice.example", bob)
		code(t, err, tenant.CodeConflict)
		_, err = add("notes.zed.example", tenant.ID{Service: "notes", Name: "zed"})
		code(t, err, tenant.CodeNotFound)
		for _, host := range []string{"", "localhost", "-a.example", "a..example", "a.example:80", "10.0.0.1", "a_b.example", "ü.example", strings.Repeat("a.", 127) + "b"} {
			_, err := add(host, alice)
			code(t, err, tenant.CodeInvalid)
		}
		w.store.fail("adddomain", errors.New("disk full"))
		if _, err := add("other.example", bob); err == nil {
			t.Error("got no error although it was not stored")
		}
		if _, ok := w.manager.Domain("other.example"); ok {
			t.Error("it is there although it was not stored")
		}
		if _, err := add("other.example", bob); err != nil {
			t.Fatal(err)
		}

		w.restart(parse(t, notes("")))
		if id, ok := w.manager.Domain("notes.alice.example"); !ok || id != alice {
			t.Errorf("after a restart: got %v, %t, want alice", id, ok)
		}
		if err := w.manager.Destroy(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		if _, ok := w.manager.Domain("notes.alice.example"); ok || len(w.manager.Domains()) != 1 {
			t.Errorf("of one that was destroyed: got %v", w.manager.Domains())
		}
		if err := w.manager.RemoveDomain(t.Context(), "OTHER.example"); err != nil {
			t.Error(err)
		}
		code(t, w.manager.RemoveDomain(t.Context(), "other.example"), tenant.CodeNotFound)
		w.state(bob, tenant.Asleep) // nothing of it has woken anybody
	})
}

// Who leaves gets nothing of what is made without them.
func TestLeaveAddDomain(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		w.store.slow(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d, added, err := w.manager.AddDomain(ctx, "a.example", alice, false)
		if err == nil || added || d != (tenant.Domain{}) {
			t.Errorf("got %+v, %t, %v, want an error alone", d, added, err)
		}
		time.Sleep(10 * time.Second)
		if id, ok := w.manager.Domain("a.example"); !ok || id != alice {
			t.Errorf("got %v, %t, want it added all the same", id, ok)
		}
	})
}

// A timer that fires while the registry takes its time is not the last one.
func TestTimersDuringAddDomain(t *testing.T) {
	bubble(t, patient("doze_timeout = 60\nidle_timeout = 90\n"), func(t *testing.T, w *world) {
		c := newChecked()
		w.systemd.SetApp(alice, c.app())
		slowly := func(host string, d time.Duration) {
			t.Helper()
			w.store.slow(d)
			if _, _, err := w.manager.AddDomain(t.Context(), host, alice, false); err != nil {
				t.Fatal(err)
			}
		}
		w.spawn(alice)
		asked := c.asked.Load()
		slowly("a.example", 12*time.Second) // a check is due meanwhile
		time.Sleep(12 * time.Second)
		if got := c.asked.Load() - asked; got < 1 {
			t.Errorf("got %d checks after it, want one", got)
		}
		time.Sleep(35 * time.Second)
		slowly("b.example", 2*time.Second) // a doze is due meanwhile
		w.state(alice, tenant.Dozing)
		time.Sleep(28 * time.Second)
		slowly("c.example", 2*time.Second) // a stop
		w.state(alice, tenant.Asleep)
	})
}
