package lifecycle

import (
	"tenement.dev/internal/admission"
	"tenement.dev/internal/tenant"
)

// Queue tells how many cold starts wait and are under way, and how many requests are
// held for wakes.
func (m *Manager) Queue() (starts admission.Counts, held int) {
	return m.gate.Counts(), m.hall.Len()
}

// Remembers reports whether the Manager knows what an earlier daemon has left of an instance.
func (m *Manager) Remembers(id tenant.ID) bool {
	inst, ok := m.lookup(id)
	if !ok {
		return false
	}
	inst.mu.Lock()
	defer inst.mu.Unlock()
	return inst.before != nil
}
