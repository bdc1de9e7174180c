package keeper_test

import (
	"testing"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// The keeper of one data directory neither sees nor touches what runs for another.
func TestInstanceOfAnotherDataDirectory(t *testing.T) {
	all := func(h *units.Host) { h.Controllers = []string{"cpu", "memory", "pids"} }
	theirs := newRig(t, all)
	spec := theirs.spec(alice, tenant.IsolationNamespace, tenant.NetworkPrivate)
	theirs.wake(t, spec)
	pid := theirs.appPID(t, alice)

	data := t.TempDir()
	ours := newRig(t, func(h *units.Host) {
		all(h)
		h.DataRoot = data
	})
	if list, err := ours.local.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("list: got %+v, %v, want nothing", list, err)
	}
	limits := tenant.Limits{tenant.LimitTasks: 77}
	if err := ours.local.SetLimits(t.Context(), alice, limits); err != nil || theirs.limits(t, alice)[tenant.LimitTasks] == 77 {
		t.Errorf("limit: %v, want theirs as it was", err)
	}
	if got, err := ours.local.Usage(t.Context(), alice); err != nil || got != tenant.UnknownUsage {
		t.Errorf("usage: got %+v, %v, want nothing known", got, err)
	}
	for name, do := range map[string]func() error{
		"stop":   func() error { return ours.local.Stop(t.Context(), alice) },
		"unload": func() error { return ours.local.Unload(t.Context(), alice) },
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	own := ours.spec(alice, tenant.IsolationNamespace, tenant.NetworkPrivate)
	if got := tenant.CodeOf(ours.local.Load(t.Context(), own)); got != tenant.CodeConflict {
		t.Errorf("load: got code %q, want %q", got, tenant.CodeConflict)
	}
	if got := theirs.appPID(t, alice); got != pid {
		t.Errorf("theirs: got process %d, want still %d", got, pid)
	}
	if err := theirs.local.Stop(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	ours.wake(t, own)
	if a, err := ours.doorbell(alice).Do(t.Context(), ingress.Status); err != nil || a.ReadyAt == 0 {
		t.Errorf("loaded after theirs has stopped: got %+v, %v, want it ready", a, err)
	}
}
