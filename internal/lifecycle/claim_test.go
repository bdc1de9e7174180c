package lifecycle_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// zone stands for the DNS.
type zone struct {
	mu      sync.Mutex
	records map[string][]string
	fault   error
	looks   []time.Time
	hold    chan struct{} // nil, or closed when looks may end
}

func (z *zone) texts(ctx context.Context, name string) ([]string, error) {
	z.mu.Lock()
	hold := z.hold
	z.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.looks = append(z.looks, time.Now())
	return z.records[name], z.fault
}

func (z *zone) set(name string, texts ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records = map[string][]string{name: texts}
}

func (z *zone) breakWith(err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.fault = err
}

// seen gives how often it was asked, and forgets that.
func (z *zone) seen() []time.Time {
	z.mu.Lock()
	defer z.mu.Unlock()
	looks := z.looks
	z.looks = nil
	return looks
}

const theirs = "notes.alice.example"

// claimed has an instance wait for a host name, and gives the token.
func (w *world) claimed(id tenant.ID) string {
	w.t.Helper()
	d, added, err := w.manager.AddDomain(w.t.Context(), theirs, id, true)
	if err != nil || !added || !d.Pending() || d.Record() != "_tenement."+theirs {
		w.t.Fatalf("got %+v, %t, %v, want it pending", d, added, err)
	}
	return d.Token
}

// owner checks whose the host name is; zero is nobody's.
func (w *world) owner(want tenant.ID) {
	w.t.Helper()
	synctest.Wait()
	if got, ok := w.manager.Domain(theirs); got != want || ok == want.IsZero() {
		w.t.Fatalf("the host name is of %v (%t), want %v", got, ok, want)
	}
}

func TestPendingDomain(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice, bob)
		token := w.claimed(alice)
		other := w.claimed(bob)
		if token == other || len(token) < 26 {
			t.Errorf("the tokens are %q and %q", token, other)
		}
		if d, added, err := w.manager.AddDomain(t.Context(), theirs, alice, true); err != nil || added || d.Token != token {
			t.Errorf("again: got %+v, %t, %v, want the same token", d, added, err)
		}
		w.owner(tenant.ID{})

		problem := func(want string) { // bob's
			t.Helper()
			list, err := w.manager.VerifyDomain(t.Context(), theirs)
			if err != nil || len(list) != 2 || list[1].ID != bob || list[1].Problem != want || !list[1].Pending() {
				t.Errorf("got %+v, %v, want the problem %q", list, err, want)
			}
			w.owner(tenant.ID{})
		}
		problem("there is no TXT record _tenement." + theirs)
		w.zone.set("_tenement."+theirs, "v=spf1", other+"x")
		problem("the TXT record _tenement." + theirs + " has another text")
		w.zone.breakWith(errors.New("timeout"))
		problem("_tenement." + theirs + " could not be looked up: timeout")
		w.zone.breakWith(nil)

		// Bob's token is there: it is his, and alice waits no more, also not after a restart.
		w.restart(parse(t, notes("")))
		w.owner(tenant.ID{})
		w.zone.set("_tenement."+theirs, other)
		w.store.fail("verifydomain", errors.New("disk full"))
		problem("its record is there, but that could not be remembered")
		last := w.events.Last()
		list, err := w.manager.VerifyDomain(t.Context(), theirs)
		if err != nil || len(list) != 1 || list[0].ID != bob || list[0].Pending() || list[0].Verified.IsZero() {
			t.Errorf("got %+v, %v, want it bob's", list, err)
		}
		w.owner(bob)
		if e, _ := w.told(last); len(e) != 1 || e[0].Kind != event.DomainAdded || e[0].Instance != bob {
			t.Errorf("got events %v, want that bob has it", e)
		}
		_, _, err = w.manager.AddDomain(t.Context(), theirs, alice, true)
		code(t, err, tenant.CodeConflict)
		w.zone.set("_tenement."+theirs, token)
		w.restart(parse(t, notes("")))
		time.Sleep(time.Hour)
		w.owner(bob)
		if looks := w.zone.seen(); len(looks) > 6 {
			t.Errorf("it goes on looking: %v", looks)
		}
		if err := w.manager.RemoveDomain(t.Context(), theirs); err != nil {
			t.Fatal(err)
		}
		w.owner(tenant.ID{})
		_, err = w.manager.VerifyDomain(t.Context(), theirs)
		code(t, err, tenant.CodeNotFound)
		w.state(alice, tenant.Asleep) // nothing of it has woken anybody
	})
}

// The daemon looks by itself, ever more seldom, for a week.
func TestPendingDomainIsLookedFor(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		token := w.claimed(alice)
		begun := time.Now()
		time.Sleep(3 * time.Hour)
		looks := w.zone.seen()
		if n := len(looks); n < 30 || n > 50 || looks[0].Sub(begun) > 5*time.Second {
			t.Errorf("got %d looks, the first after %v", n, looks[0].Sub(begun))
		}
		for i := 1; i < len(looks); i++ {
			if gap, age := looks[i].Sub(looks[i-1]), looks[i].Sub(begun); gap > age/5+10*time.Second {
				t.Fatalf("after %v nobody looked for %v", age, gap)
			}
		}
		// Its last two hours.
		w.stop()
		w.store.claims[0].Created = time.Now().Add(-7*24*time.Hour + 2*time.Hour)
		w.restart(parse(t, notes("")))
		time.Sleep(2*time.Hour + time.Minute)
		if n := len(w.zone.seen()); n != 2 {
			t.Errorf("got %d looks within the last two hours, want 2", n)
		}
		w.zone.set("_tenement."+theirs, " "+token)
		time.Sleep(2 * time.Hour)
		w.owner(tenant.ID{}) // by command alone
		if _, err := w.manager.VerifyDomain(t.Context(), theirs); err != nil {
			t.Fatal(err)
		}
		w.owner(alice)
	})
}

// A record that comes is found without a command, also by the next daemon.
func TestPendingDomainOverRestarts(t *testing.T) {
	bubble(t, "[settings]\nverify_domains = true\n"+notes("")[len("[settings]\n"):], func(t *testing.T, w *world) {
		w.register(alice, bob)
		d, _, err := w.manager.AddDomain(t.Context(), theirs, alice, false) // the rule asks for it
		if err != nil || !d.Pending() {
			t.Fatalf("got %+v, %v, want it pending", d, err)
		}
		w.claimed(bob)
		w.restart(parse(t, notes("")))
		if err := w.manager.Destroy(t.Context(), bob); err != nil {
			t.Fatal(err)
		}
		if list := w.manager.Domains(); len(list) != 1 || list[0].ID != alice || list[0].Token != d.Token {
			t.Errorf("got %+v, want that alice waits with her token", list)
		}
		w.zone.set(d.Record(), d.Token)
		time.Sleep(5 * time.Second)
		w.owner(alice)
		w.restart(parse(t, notes("")))
		w.owner(alice)
	})
}

// Who gives a host name without a check settles who has it; who takes it away ends the
// wait.
func TestPendingDomainSettled(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice, bob)
		token := w.claimed(alice)
		if err := w.manager.RemoveDomain(t.Context(), theirs); err != nil {
			t.Fatal(err)
		}
		w.zone.set("_tenement."+theirs, token)
		time.Sleep(time.Hour)
		w.owner(tenant.ID{})
		if again := w.claimed(alice); again == token {
			t.Error("the token is the old one")
		}
		if _, added, err := w.manager.AddDomain(t.Context(), theirs, bob, false); err != nil || !added {
			t.Fatalf("got %t, %v", added, err)
		}
		w.owner(bob)
		if list := w.manager.Domains(); len(list) != 1 {
			t.Errorf("got %+v, want only bob's", list)
		}
	})
}

// What is taken away while its record is looked for is not given.
func TestPendingDomainTakenAwayMeanwhile(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		token := w.claimed(alice)
		w.zone.set("_tenement."+theirs, token)
		for name, end := range map[string]func() error{
			"removed":   func() error { return w.manager.RemoveDomain(t.Context(), theirs) },
			"destroyed": func() error { return w.manager.Destroy(t.Context(), alice) },
		} {
			w.zone.hold = make(chan struct{})
			done := make(chan error, 1)
			go func() {
				_, err := w.manager.VerifyDomain(t.Context(), theirs)
				done <- err
			}()
			synctest.Wait() // it looks now
			if err := end(); err != nil {
				t.Fatal(err)
			}
			close(w.zone.hold)
			if err := <-done; tenant.CodeOf(err) != tenant.CodeNotFound {
				t.Errorf("%s: got %v, want that nobody has it", name, err)
			}
			w.owner(tenant.ID{})
			if name == "destroyed" {
				w.register(alice)
			}
			w.zone.set("_tenement."+theirs, w.claimed(alice))
		}
	})
}
