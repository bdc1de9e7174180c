package lifecycle

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tenement.dev/internal/event"
	"tenement.dev/internal/tenant"
)

const (
	// claimFor is for how long the Manager looks by itself for the record of a host name
	// that is pending.
	claimFor = 7 * 24 * time.Hour
	// The time between two looks is a fifth of the claim's age, within these.
	claimSoonest = 5 * time.Second
	claimLatest  = time.Hour
	// claimTimeout bounds one look, maxLooks is how many there are at a time.
	claimTimeout = 10 * time.Second
	maxLooks     = 4
)

// claim names a host name that an instance shall have once it is seen to be its owner's.
// Several instances may claim the same.
type claim struct {
	host string
	id   tenant.ID
}

// addClaim has a host name wait for its record. The caller holds m.naming.
func (m *Manager) addClaim(host string, id tenant.ID) (tenant.Domain, bool, error) {
	m.mu.RLock()
	old, ok := m.claims[claim{host, id}]
	m.mu.RUnlock()
	if ok {
		return old, false, nil
	}
	d := tenant.Domain{Host: host, ID: id, Created: time.Now(), Token: rand.Text()}
	if err := m.store.AddClaim(m.ctx, d); err != nil {
		return tenant.Domain{}, false, err
	}
	m.mu.Lock()
	m.claims[claim{host, id}] = d
	m.mu.Unlock()
	return d, true, nil
}

// dropClaimsLocked forgets who waits for a host name.
func (m *Manager) dropClaimsLocked(host string) {
	maps.DeleteFunc(m.claims, func(c claim, _ tenant.Domain) bool { return c.host == host })
}

// claimsOf are those who wait for a host name, the first one first.
func (m *Manager) claimsOf(host string) []tenant.Domain {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var list []tenant.Domain
	for c, d := range m.claims {
		if c.host == host {
			list = append(list, d)
		}
	}
	slices.SortFunc(list, func(a, b tenant.Domain) int { return cmp.Or(a.Created.Compare(b.Created), compareDomains(a, b)) })
	return list
}

// VerifyDomain looks now for the DNS record of a host name that is pending, and gives it
// to the instance whose token is there. It returns who has the host name, or else all who
// still wait for it.
func (m *Manager) VerifyDomain(ctx context.Context, host string) ([]tenant.Domain, error) {
	if err := m.awaitReady(ctx, "verify domain", tenant.ID{}); err != nil {
		return nil, err
	}
	host, err := tenant.ParseHost(host)
	if err != nil {
		return nil, err
	}
	m.lookForRecord(ctx, host)
	list := slices.DeleteFunc(m.Domains(), func(d tenant.Domain) bool { return d.Host != host })
	if len(list) == 0 {
		return nil, noDomain("verify domain", host)
	}
	return list, nil
}

// watchClaims looks for records until the Manager ends.
func (m *Manager) watchClaims() {
	tick := time.NewTicker(claimSoonest)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-m.ctx.Done():
			return
		}
		var group errgroup.Group
		group.SetLimit(maxLooks)
		for _, host := range m.dueClaims(time.Now()) {
			group.Go(func() error {
				m.lookForRecord(m.ctx, host)
				return nil
			})
		}
		_ = group.Wait() // there is no error
	}
}

// dueClaims are the host names whose record is to be looked for.
func (m *Manager) dueClaims(now time.Time) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	due := map[string]bool{}
	for c, d := range m.claims {
		age := now.Sub(d.Created)
		if age <= claimFor && now.Sub(d.Checked) >= min(max(age/5, claimSoonest), claimLatest) {
			due[c.host] = true
		}
	}
	return slices.Sorted(maps.Keys(due))
}

// lookForRecord looks for the record of a host name, and gives the name to the first one
// whose token is in it.
func (m *Manager) lookForRecord(asked context.Context, host string) {
	waiting := m.claimsOf(host)
	if len(waiting) == 0 {
		return
	}
	record := waiting[0].Record()
	ctx, cancel := context.WithTimeout(asked, claimTimeout)
	texts, err := m.txt(ctx, record)
	cancel()
	if asked.Err() != nil {
		return // it tells nothing
	}
	for _, d := range waiting {
		problem := ""
		switch {
		case err != nil:
			problem = fmt.Sprintf("%s could not be looked up: %v", record, err)
		case len(texts) == 0:
			problem = "there is no TXT record " + record
		case !slices.ContainsFunc(texts, func(s string) bool { return strings.TrimSpace(s) == d.Token }):
			problem = fmt.Sprintf("the TXT record %s has another text", record)
		default:
			if err := m.grant(asked, d); err != nil {
				problem = "its record is there, but that could not be remembered"
				m.log.Error("host name not given", "instance", d.ID, "host", host, "err", err)
			}
		}
		m.noteLook(d, problem)
	}
}

// noteLook remembers what a look for a record has found.
func (m *Manager) noteLook(d tenant.Domain, problem string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now, ok := m.claims[claim{d.Host, d.ID}]; ok && now.Token == d.Token {
		now.Checked, now.Problem = time.Now(), problem
		m.claims[claim{d.Host, d.ID}] = now
	}
}

// grant gives an instance the host name that it has claimed, if it still does.
func (m *Manager) grant(asked context.Context, d tenant.Domain) error {
	m.naming.Lock()
	defer m.naming.Unlock()
	m.mu.RLock()
	now, ok := m.claims[claim{d.Host, d.ID}]
	inst := m.instances[d.ID]
	m.mu.RUnlock()
	if !ok || now.Token != d.Token {
		return nil // another one was first, or it was taken back
	}
	d = tenant.Domain{Host: d.Host, ID: d.ID, Created: d.Created, Verified: time.Now()}
	err := m.store.VerifyDomain(m.ctx, d)
	if code := tenant.CodeOf(err); code == tenant.CodeNotFound {
		return nil // it has just been destroyed
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.dropClaimsLocked(d.Host)
	there := inst != nil && m.instances[d.ID] == inst
	if there {
		m.domains[d.Host] = d
	}
	m.mu.Unlock()
	if there {
		m.tellOf(asked, event.DomainAdded, d.ID, slog.String("host", d.Host))
	}
	return nil
}

// noResolver stands for a resolver where there is none.
func noResolver(context.Context, string) ([]string, error) {
	return nil, errors.New("there is no resolver")
}
