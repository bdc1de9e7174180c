package lifecycletest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// bench has the steps that the tries are made of.
type bench struct {
	Bench
	t  *testing.T
	id tenant.ID
}

func (b *bench) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), b.Quick)
	b.t.Cleanup(cancel)
	return ctx
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) load() {
	b.t.Helper()
	b.must(b.Controller.Load(b.ctx(), b.Spec(b.id)))
}

func (b *bench) do(verb ingress.Verb) ingress.Answer {
	b.t.Helper()
	answer, err := b.Doorbell(b.id).Do(b.ctx(), verb)
	b.must(err)
	return answer
}

// status gives what List says of the instance, in both ways to ask.
func (b *bench) status() (units.Status, bool) {
	b.t.Helper()
	one, err := b.Controller.List(b.ctx(), b.id)
	b.must(err)
	all, err := b.Controller.List(b.ctx())
	b.must(err)
	known := false
	for _, s := range all {
		known = known || s.ID == b.id
	}
	if len(one) > 1 || (len(one) == 1) != known {
		b.t.Fatalf("listed alone: %+v, among all: %+v", one, all)
	}
	if known {
		return one[0], true
	}
	return units.Status{}, false
}

// becomes waits until the unit is in one of the given states.
func (b *bench) becomes(want ...string) units.Status {
	b.t.Helper()
	deadline := time.Now().Add(b.Quick)
	for {
		s, _ := b.status()
		for _, w := range want {
			if s.Active == w {
				return s
			}
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("got ActiveState %q after %v, want one of %q", s.Active, b.Quick, want)
		}
		time.Sleep(time.Millisecond)
	}
}

// hinted waits for a hint that tells of the instance.
func (b *bench) hinted() {
	b.t.Helper()
	timeout := time.After(b.Quick)
	for {
		select {
		case s := <-b.Controller.Events():
			if s.ID == b.id || s.ID.IsZero() {
				return
			}
		case <-timeout:
			b.t.Fatal("there was no hint")
		}
	}
}

// quiet throws away the hints of what was done up to now.
func (b *bench) quiet() {
	for {
		select {
		case <-b.Controller.Events():
		case <-time.After(100 * time.Millisecond):
			return
		}
	}
}

func (b *bench) get() error {
	conn, _, err := b.Doorbell(b.id).Connect(b.ctx())
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(b.Quick))
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

func (b *bench) noDoorbell() {
	b.t.Helper()
	if _, err := b.Doorbell(b.id).Do(b.ctx(), ingress.Ready); !errors.Is(err, ingress.ErrNoDoorbell) {
		b.t.Fatalf("ring: got %v, want %v", err, ingress.ErrNoDoorbell)
	}
}
