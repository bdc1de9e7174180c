package lifecycle

import "tenement.dev/internal/admission"

// Queue tells how many cold starts wait and are under way, and how many requests are
// held for wakes.
func (m *Manager) Queue() (starts admission.Counts, held int) {
	return m.gate.Counts(), m.hall.Len()
}
