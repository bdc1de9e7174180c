package apitest

import (
	"context"
	"time"

	"tenement.dev/internal/tenant"
)

// Pause pauses an instance, or all of a service.
func (m *Instances) Pause(_ context.Context, id tenant.ID, message string, d time.Duration) (tenant.Pause, error) {
	p := tenant.Pause{Message: message, Since: time.Now(), Service: id.Name == ""}
	if d > 0 {
		p.Until = p.Since.Add(d)
	}
	_, err := m.setPause(id, &p)
	return p, err
}

// Unpause ends a pause.
func (m *Instances) Unpause(_ context.Context, id tenant.ID) (bool, error) {
	return m.setPause(id, nil)
}

func (m *Instances) setPause(id tenant.ID, p *tenant.Pause) (was bool, err error) {
	if err := m.knows(id); err != nil {
		return false, err
	}
	for _, s := range m.List() {
		if s.ID == id || id.Name == "" && s.ID.Service == id.Service {
			was = was || s.Paused != nil
			s.Paused = p
			m.Put(s)
		}
	}
	return was, nil
}
