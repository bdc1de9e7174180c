package apitest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"tenement.dev/internal/tenant"
)

// Domains lists host names.
func (m *Instances) Domains() []tenant.Domain {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.domains), func(a, b tenant.Domain) int { return cmp.Compare(a.Host, b.Host) })
}

// AddDomain gives an instance a host name.
func (m *Instances) AddDomain(_ context.Context, host string, id tenant.ID) (tenant.Domain, bool, error) {
	if _, err := m.Get(id); err != nil {
		return tenant.Domain{}, false, err
	}
	host, err := tenant.ParseHost(host)
	if err != nil {
		return tenant.Domain{}, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if d, ok := m.domains[host]; ok && d.ID == id {
		return d, false, nil
	} else if ok {
		return tenant.Domain{}, false, &tenant.Error{
			Code: tenant.CodeConflict, Op: "add domain to", ID: id,
			Msg: fmt.Sprintf("%s belongs to an instance already", host), Hint: "`ten domain ls` shows whose it is",
		}
	}
	m.domains[host] = tenant.Domain{Host: host, ID: id, Created: time.Now()}
	return m.domains[host], true, nil
}

// RemoveDomain takes a host name away.
func (m *Instances) RemoveDomain(_ context.Context, host string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.domains[host]; !ok {
		return &tenant.Error{
			Code: tenant.CodeNotFound, Op: "remove domain",
			Msg: fmt.Sprintf("no instance has the host name %s", host), Hint: "`ten domain ls` lists them",
		}
	}
	delete(m.domains, host)
	return nil
}
