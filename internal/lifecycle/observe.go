package lifecycle

import (
	"tenement.dev/internal/admission"
	"tenement.dev/internal/tenant"
)

// Observer counts what happens. It is called with locks held and must not wait.
type Observer interface {
	Woke(id tenant.ID, w *tenant.Wake)
	// WakeFailed is told of a wake that failed or did not begin.
	WakeFailed(id tenant.ID, code tenant.Code)
	// Unwoken is told of a request that was answered without its instance.
	Unwoken(id tenant.ID, kind tenant.Kinds)
	Happened(id tenant.ID, what tenant.Happening)
}

// nobody is the Observer where there is none.
type nobody struct{}

func (nobody) Woke(tenant.ID, *tenant.Wake)         {}
func (nobody) WakeFailed(tenant.ID, tenant.Code)    {}
func (nobody) Unwoken(tenant.ID, tenant.Kinds)      {}
func (nobody) Happened(tenant.ID, tenant.Happening) {}

// Crowd is how many wait at this moment.
type Crowd struct {
	admission.Counts
	// Waiting is how many requests wait for instances to wake.
	Waiting int
}

// Crowd counts who waits.
func (m *Manager) Crowd() Crowd { return Crowd{m.gate.Counts(), m.hall.Len()} }

// Meter counts the instance's requests; see tenant.Endpoint.
func (l *lease) Meter() *tenant.Meter { return &l.inst.meter }
