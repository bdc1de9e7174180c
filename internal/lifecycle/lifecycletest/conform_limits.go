package lifecycletest

import (
	"testing"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/tenant"
)

// A change of limits reaches a unit in any state and is no end of it.
func limits(t *testing.T, b *bench) {
	memory := func(bytes int64) tenant.Limits { return tenant.Limits{tenant.LimitMemory: bytes} }
	set := func(limits tenant.Limits, want int64) {
		t.Helper()
		b.must(b.Controller.SetLimits(b.ctx(), b.id, limits))
		if got := b.Limits(b.id)[tenant.LimitMemory]; got != want {
			t.Errorf("memory: got %d, want %d", got, want)
		}
	}
	b.must(b.Controller.SetLimits(b.ctx(), b.id, memory(200<<20)))
	if s, ok := b.status(); ok {
		t.Errorf("limiting an unknown one: got %+v, want nothing", s)
	}
	if got, err := b.Controller.Usage(b.ctx(), b.id); err != nil || got != tenant.UnknownUsage {
		t.Errorf("usage of an unknown one: got %+v, %v", got, err)
	}
	b.load()
	set(memory(300<<20), 300<<20)
	first := b.do(ingress.Ready)
	set(memory(400<<20), 400<<20)
	set(tenant.Limits{tenant.LimitTasks: 100, tenant.LimitNoFile: 100, tenant.LimitCPUShares: 50}, 400<<20)
	if got := b.Limits(b.id)[tenant.LimitCPUShares]; got != 50 {
		t.Errorf("cpu shares: got %d, want 50", got)
	}
	if got, err := b.Controller.Usage(b.ctx(), b.id); err != nil || got.Tasks == 0 || got.Memory == 0 || got.CPUTime == 0 {
		t.Errorf("usage of a running one: got %+v, %v", got, err)
	}
	b.do(ingress.Doze)
	set(memory(500<<20), 500<<20)
	if a := b.do(ingress.Status); !a.Dozing || a.InitAt != first.InitAt {
		t.Errorf("got %+v, want the same process dozing", a)
	}
	set(memory(0), 0)
	b.must(b.get())
	if a := b.do(ingress.Status); a.InitAt != first.InitAt {
		t.Errorf("got another process: %+v", a)
	}
	b.must(b.Controller.Stop(b.ctx(), b.id))
	set(memory(300<<20), 300<<20)
	// Loading it anew leaves nothing of that.
	b.load()
	if got := b.Limits(b.id)[tenant.LimitMemory]; got != 0 {
		t.Errorf("after a load: got %d bytes of memory, want no limit", got)
	}
}

// The measure of data is right to within a few blocks.
func data(t *testing.T, b *bench) {
	check := func(want int64) {
		t.Helper()
		got, _, err := b.Controller.Measure(b.ctx(), b.id)
		if err != nil || got < want || got > want+64<<10 {
			t.Errorf("measure: got %d, %v, want %d", got, err, want)
		}
	}
	check(0)
	b.load()
	check(0)
	b.Data(b.id, 3<<20)
	check(3 << 20)
	b.must(b.Controller.Unload(b.ctx(), b.id))
	check(3 << 20)
	b.must(b.Controller.Wipe(b.ctx(), b.id, true))
	check(0)
}
