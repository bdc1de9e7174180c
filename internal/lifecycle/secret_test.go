package lifecycle_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"tenement.dev/internal/tenant"
)

// given checks which secrets the instance's unit is loaded with.
func (w *world) given(id tenant.ID, want ...string) {
	w.t.Helper()
	if got := w.systemd.Given(id); !slices.Equal(got, want) {
		w.t.Errorf("%s: got secrets %v, want %v", id, got, want)
	}
}

func TestSecrets(t *testing.T) {
	text := notes("idle_timeout = 60\nkeep_awake_max = 0\nbusy_max = 0\n")
	service := tenant.ID{Service: "notes"}
	bubble(t, text, func(t *testing.T, w *world) {
		set := func(id tenant.ID, name, value string, running int) {
			t.Helper()
			s, n, err := w.manager.SetSecret(t.Context(), id, name, []byte(value), nil)
			if err != nil || s.Name != name || s.Service != (id.Name == "") || n != running {
				t.Fatalf("set %s of %v: got %+v, %d running, %v, want %d", name, id, s, n, err, running)
			}
		}
		w.register(alice, bob)
		set(alice, "KEY", "one", 0)
		set(service, "SHARED", "all", 0)
		w.spawn(alice)
		w.given(alice, "KEY", "SHARED")
		w.spawn(bob)
		w.given(bob, "SHARED")
		if got := w.systemd.Secrets(alice); len(got) != 1 || got["KEY"] != "one" {
			t.Errorf("got %v with the keeper", got)
		}

		// What changes while it runs comes with the next start, by whichever way that is.
		starts := w.systemd.Starts(alice)
		set(alice, "SHARED", "alice's", 1)
		set(service, "MORE", "x", 2)
		w.starts(alice, starts)
		time.Sleep(2 * time.Minute)
		w.state(alice, tenant.Asleep)
		w.request(alice)
		w.given(alice, "KEY", "MORE", "SHARED")
		if list, err := w.manager.Secrets(t.Context(), alice); err != nil || len(list) != 3 || list[2].Service || !list[1].Service {
			t.Errorf("got %+v, %v, want its own SHARED and the service's MORE", list, err)
		}
		// Another value alone is one that the unit is loaded anew for.
		time.Sleep(2 * time.Minute)
		before := w.systemd.Starts(alice)
		set(alice, "KEY", "two", 0)
		w.request(alice)
		w.starts(alice, before+1)

		// A new daemon knows them.
		w.restart(parse(t, text))
		if list, err := w.manager.Secrets(t.Context(), service); err != nil || len(list) != 2 {
			t.Errorf("after a restart: got %+v, %v, want 2", list, err)
		}
		if was, n, err := w.manager.RemoveSecret(t.Context(), alice, "KEY"); !was || n != 1 || err != nil {
			t.Errorf("remove: got %t, %d, %v", was, n, err)
		}
		if was, _, err := w.manager.RemoveSecret(t.Context(), alice, "KEY"); was || err != nil {
			t.Errorf("remove again: got %t, %v", was, err)
		}

		// One that takes the name later has none of them.
		if err := w.manager.Destroy(t.Context(), alice); err != nil {
			t.Fatal(err)
		}
		w.spawn(alice)
		w.given(alice, "MORE", "SHARED")
		if got := w.systemd.Secrets(alice); len(got) != 0 {
			t.Errorf("after its end: got %v, want none", got)
		}
	})
}

// Another value alone leaves a secret in the app's environment, or out of it.
func TestSecretStaysInTheEnvironment(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		yes, no := true, false
		for i, test := range []struct {
			env  *bool
			want bool
		}{{nil, false}, {&yes, true}, {nil, true}, {&no, false}, {nil, false}, {&yes, true}} {
			s, _, err := w.manager.SetSecret(t.Context(), alice, "KEY", []byte("v"), test.env)
			list, listErr := w.manager.Secrets(t.Context(), alice)
			if err != nil || listErr != nil || s.Env != test.want || len(list) != 1 || list[0].Env != test.want {
				t.Errorf("set %d: got %+v, listed %+v, %v, %v, want env %t", i, s, list, err, listErr, test.want)
			}
		}
		if _, _, err := w.manager.SetSecret(t.Context(), alice, "KEY", []byte("a\x00b"), nil); tenant.CodeOf(err) != tenant.CodeInvalid {
			t.Errorf("NUL for what is in the environment: got %v", err)
		}
	})
}

func TestSecretsRefused(t *testing.T) {
	bubble(t, notes(""), func(t *testing.T, w *world) {
		w.register(alice)
		for what, test := range map[string]struct {
			id    tenant.ID
			name  string
			value []byte
			env   bool
			want  tenant.Code
		}{
			"unknown instance": {bob, "KEY", []byte("v"), false, tenant.CodeNotFound},
			"unknown service":  {tenant.ID{Service: "none"}, "KEY", []byte("v"), false, tenant.CodeNotFound},
			"way out":          {alice, "../KEY", []byte("v"), false, tenant.CodeInvalid},
			"no name":          {alice, "", []byte("v"), false, tenant.CodeInvalid},
			"no value":         {alice, "KEY", nil, false, tenant.CodeInvalid},
			"too large":        {alice, "KEY", bytes.Repeat([]byte("v"), tenant.MaxSecretSize+1), false, tenant.CodeInvalid},
			"variable of ours": {alice, "PORT", []byte("v"), true, tenant.CodeInvalid},
			"NUL":              {alice, "KEY", []byte("hush\x00hush"), true, tenant.CodeInvalid},
		} {
			_, _, err := w.manager.SetSecret(t.Context(), test.id, test.name, test.value, &test.env)
			if tenant.CodeOf(err) != test.want || strings.Contains(err.Error(), "hush") {
				t.Errorf("%s: got %v, want %s", what, err, test.want)
			}
		}
		// What could not be kept is not there.
		w.systemd.Fail("setsecret", errors.New("the disk is full"))
		if _, _, err := w.manager.SetSecret(t.Context(), alice, "KEY", []byte("v"), nil); err == nil {
			t.Error("got no error from a full disk")
		}
		if list, err := w.manager.Secrets(t.Context(), alice); err != nil || len(list) != 0 {
			t.Errorf("got %v, %v, want none", list, err)
		}
		for i := range tenant.MaxSecrets + 1 {
			_, _, err := w.manager.SetSecret(t.Context(), alice, "K"+strings.Repeat("x", i), []byte("v"), nil)
			if i < tenant.MaxSecrets && err != nil || i == tenant.MaxSecrets && tenant.CodeOf(err) != tenant.CodeLimit {
				t.Errorf("secret %d: got %v", i+1, err)
			}
		}
	})
}
