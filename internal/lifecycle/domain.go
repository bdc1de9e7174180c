package lifecycle

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

// DomainStore remembers host names; *registry.Registry says what each method does.
type DomainStore interface {
	Domains(ctx context.Context) ([]tenant.Domain, error)
	AddDomain(ctx context.Context, d tenant.Domain) error
	RemoveDomain(ctx context.Context, host string) error
	Claims(ctx context.Context) ([]tenant.Domain, error)
	AddClaim(ctx context.Context, d tenant.Domain) error
	VerifyDomain(ctx context.Context, d tenant.Domain) error
}

// Domain gives the instance that was given a host name, and has it: one that is pending is
// nobody's. host is in lower case and has no trailing dot.
func (m *Manager) Domain(host string) (tenant.ID, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	d, ok := m.domains[host]
	return d.ID, ok
}

// Domains lists the host names that instances were given, and those that are pending,
// sorted.
func (m *Manager) Domains() []tenant.Domain {
	m.mu.RLock()
	list := slices.AppendSeq(slices.Collect(maps.Values(m.domains)), maps.Values(m.claims))
	m.mu.RUnlock()
	slices.SortFunc(list, compareDomains)
	return list
}

func compareDomains(a, b tenant.Domain) int {
	return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID.Service, b.ID.Service), cmp.Compare(a.ID.Name, b.ID.Name))
}

// AddDomain gives an instance a host name of its own; added is false where it has it
// already. With verify, or where the configuration wants it of all, the host name is
// pending until its record is found, see VerifyDomain. The base domain's names are taken
// by themselves, see Options.Reserved.
func (m *Manager) AddDomain(ctx context.Context, host string, id tenant.ID, verify bool) (d tenant.Domain, added bool, err error) {
	inst, err := m.find(ctx, "add domain to", id)
	if err != nil {
		return tenant.Domain{}, false, err
	}
	if host, err = tenant.ParseHost(host); err != nil {
		return tenant.Domain{}, false, err
	}
	if m.reserved(host) {
		return tenant.Domain{}, false, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "add domain to", ID: id,
			Msg:  fmt.Sprintf("%s is below the daemon's own domain", host),
			Hint: "names there are given to instances by themselves: INSTANCE.SERVICE.DOMAIN",
		}
	}
	// Who leaves before its end does not look at what it makes.
	var made struct {
		d     tenant.Domain
		added bool
	}
	// An operation's turn, so that the instance is not destroyed meanwhile.
	err = m.exclusive(ctx, inst, func() *operation {
		if inst.removed {
			return nil
		}
		op := inst.beginLocked(false)
		m.tasks.do(func() {
			var oerr error
			made.d, made.added, oerr = m.addDomain(ctx, host, id, verify || m.Config().Settings.VerifyDomains)
			inst.mu.Lock()
			m.endLocked(inst, op, oerr)
			inst.mu.Unlock()
		})
		return op
	})
	if err != nil {
		return tenant.Domain{}, false, err
	}
	if made.d.Host == "" {
		return tenant.Domain{}, false, tenant.NoInstance("add domain to", id)
	}
	return made.d, made.added, nil
}

func (m *Manager) addDomain(asked context.Context, host string, id tenant.ID, verify bool) (tenant.Domain, bool, error) {
	m.naming.Lock()
	defer m.naming.Unlock()
	m.mu.RLock()
	old, ok := m.domains[host]
	m.mu.RUnlock()
	if ok && old.ID == id {
		return old, false, nil
	}
	if verify {
		return m.addClaim(host, id)
	}
	d := tenant.Domain{Host: host, ID: id, Created: time.Now()}
	if err := m.store.AddDomain(m.ctx, d); err != nil {
		return tenant.Domain{}, false, err
	}
	m.mu.Lock()
	m.domains[host] = d
	m.dropClaimsLocked(host)
	m.mu.Unlock()
	m.tellOf(asked, event.DomainAdded, id, slog.String("host", host))
	return d, true, nil
}

// RemoveDomain takes a host name away, also from those who wait for it.
func (m *Manager) RemoveDomain(ctx context.Context, host string) error {
	if err := m.awaitReady(ctx, "remove domain", tenant.ID{}); err != nil {
		return err
	}
	host, err := tenant.ParseHost(host)
	if err != nil {
		return err
	}
	m.naming.Lock()
	defer m.naming.Unlock()
	id, had := m.Domain(host)
	if !had && len(m.claimsOf(host)) == 0 {
		return noDomain("remove domain", host)
	}
	if err := m.store.RemoveDomain(context.WithoutCancel(ctx), host); err != nil {
		return err
	}
	m.mu.Lock()
	delete(m.domains, host)
	m.dropClaimsLocked(host)
	m.mu.Unlock()
	if had {
		m.tellOf(ctx, event.DomainRemoved, id, slog.String("host", host))
	}
	return nil
}

func noDomain(op, host string) error {
	return &tenant.Error{
		Code: tenant.CodeNotFound, Op: op,
		Msg:  fmt.Sprintf("no instance has the host name %s", host),
		Hint: "`ten domain ls` lists them",
	}
}
