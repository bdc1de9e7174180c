package apitest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
)

// Proven is how the host names begin whose DNS record VerifyDomain finds.
const Proven = "proven."

// Domains lists host names.
func (m *Instances) Domains() []tenant.Domain {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.domains), func(a, b tenant.Domain) int { return cmp.Compare(a.Host, b.Host) })
}

// AddDomain gives an instance a host name. Here only one can wait for it.
func (m *Instances) AddDomain(_ context.Context, host string, id tenant.ID, verify bool) (tenant.Domain, bool, error) {
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
	d := tenant.Domain{Host: host, ID: id, Created: time.Now()}
	if verify {
		d.Token = "TOKEN"
	}
	m.domains[host] = d
	return d, true, nil
}

// VerifyDomain gives a host name that is pending to its instance if it begins with Proven.
func (m *Instances) VerifyDomain(_ context.Context, host string) ([]tenant.Domain, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.domains[host]
	switch {
	case !ok:
		return nil, noDomain("verify domain", host)
	case d.Pending() && strings.HasPrefix(host, Proven):
		d = tenant.Domain{Host: host, ID: d.ID, Created: d.Created, Verified: time.Now()}
	case d.Pending():
		d.Checked, d.Problem = time.Now(), "there is no TXT record "+d.Record()
	}
	m.domains[host] = d
	return []tenant.Domain{d}, nil
}

func noDomain(op, host string) error {
	return &tenant.Error{
		Code: tenant.CodeNotFound, Op: op,
		Msg: fmt.Sprintf("no instance has the host name %s", host), Hint: "`ten domain ls` lists them",
	}
}

// RemoveDomain takes a host name away.
func (m *Instances) RemoveDomain(_ context.Context, host string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.domains[host]; !ok {
		return noDomain("remove domain", host)
	}
	delete(m.domains, host)
	return nil
}
