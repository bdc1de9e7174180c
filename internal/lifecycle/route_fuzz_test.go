package lifecycle

import (
	"fmt"
	"slices"
	"testing"

	"tenement.dev/internal/config"
	"tenement.dev/internal/tenant"
)

// FuzzRoute: whatever the weights and states are, a request goes to an instance that may
// have it, if there is one, and never twice to the same. Each instance is two bytes, its
// weight and its state; the highest bit of the first says that it was given one, that of the second
// that it was tried already.
func FuzzRoute(f *testing.F) {
	f.Add([]byte{0x80 | 80, byte(tenant.Awake), 0x80 | 20, byte(tenant.Awake), 0x80, byte(tenant.Awake)}, byte(0))
	f.Add([]byte{0, byte(tenant.Asleep), 0, byte(tenant.Failed)}, byte(1))
	f.Add([]byte{0x80, byte(tenant.Asleep)}, byte(0))
	f.Add([]byte{0x81, 0x80 | byte(tenant.Awake), 0xff, byte(tenant.Asleep)}, byte(3))
	f.Fuzz(func(t *testing.T, table []byte, prefer byte) {
		m := &Manager{services: map[string][]*instance{}}
		m.pauses.Store(&map[tenant.ID]tenant.Pause{})
		m.config.Store(&config.Config{Services: map[string]*config.Service{"notes": {ServiceHost: true, Sticky: true}}})
		var tried []tenant.ID
		may := map[tenant.ID]bool{}
		for i := 0; i+1 < len(table) && i < 40; i += 2 {
			inst := &instance{id: tenant.ID{Service: "notes", Name: fmt.Sprintf("v%d", i/2)}}
			inst.setWeight(tenant.Weight{N: int(table[i] & 0x7f), Set: table[i]&0x80 != 0})
			state := tenant.State(table[i+1]&0x7f) % (tenant.Failed + 1)
			inst.seen.Store(uint32(state))
			inst.active.Store(int64(i))
			m.services["notes"] = append(m.services["notes"], inst)
			if table[i+1]&0x80 != 0 {
				tried = append(tried, inst.id)
			} else if inst.weight.get().Effective() > 0 && state != tenant.Failed {
				may[inst.id] = true
			}
		}
		// As the proxy does that tries one after the other.
		for range len(m.services["notes"]) + 1 {
			id, sticky, err := m.Route("notes", fmt.Sprintf("v%d", prefer), tried)
			if !sticky {
				t.Fatal("a sticky service is not sticky")
			}
			if err != nil {
				if len(may) > 0 {
					t.Fatalf("%v, though %v may have it", err, may)
				}
				return
			}
			if !may[id] || slices.Contains(tried, id) {
				t.Fatalf("%v has got it, of %v, after %v", id, may, tried)
			}
			delete(may, id)
			tried = append(tried, id)
		}
		t.Fatal("there is no end to it")
	})
}
