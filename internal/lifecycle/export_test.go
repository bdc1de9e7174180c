package lifecycle

import (
	"context"
	"net"
	"time"

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

// TickSchedules has the schedules looked at as if it was that late, while nobody else does.
func (m *Manager) TickSchedules(now time.Time) { m.scheduler.tick(m.ctx, now) }

// NextSchedule gives when an instance of a service is woken next, and the entry.
func (m *Manager) NextSchedule(service string) (time.Time, string) { return m.scheduler.next(service) }

// RequestScheduled makes the request of a run on conn, for a lease that nothing is asked of.
func RequestScheduled(ctx context.Context, conn net.Conn, path, entry string) error {
	return requestScheduled(ctx, nil, conn, path, entry, func() {})
}
