package auth

import (
	"net/netip"
	"sync"
	"time"
)

// Limits of failures: an address may fail burst times at once, and then once per refill.
const (
	burst  = 20
	refill = 3 * time.Second
	// maxAddresses bounds how many addresses are remembered.
	maxAddresses = 4096
)

// Limiter counts bad tokens by the address that they come from. Its zero value is ready.
type Limiter struct {
	mu   sync.Mutex
	from map[netip.Addr]*failures
}

// failures are those of one address.
type failures struct {
	// until is when all of them are forgotten: each adds a refill to it.
	until time.Time
	told  bool
}

// Fail counts a bad token. wait is how long that address is to hold back, 0 where it
// has not failed too often; first is true once for each time that it has begun to.
func (l *Limiter) Fail(addr netip.Addr, now time.Time) (wait time.Duration, first bool) {
	addr = bucket(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from == nil {
		l.from = map[netip.Addr]*failures{}
	}
	f, ok := l.from[addr]
	if !ok {
		l.makeRoom(now)
		f = &failures{}
		l.from[addr] = f
	}
	if f.until.Before(now) {
		*f = failures{until: now}
	}
	const most = burst * refill
	f.until = f.until.Add(refill)
	if over := f.until.Sub(now) - most; over > 0 {
		f.until = now.Add(most) // who hammers is not locked out for longer
		first, f.told = !f.told, true
		return refill, first
	}
	return 0, false
}

// makeRoom forgets, of a full table, addresses that have not failed lately, and then any
// until a quarter is free.
func (l *Limiter) makeRoom(now time.Time) {
	if len(l.from) < maxAddresses {
		return
	}
	for addr, f := range l.from {
		if f.until.Before(now) {
			delete(l.from, addr)
		}
	}
	for addr := range l.from {
		if len(l.from) <= maxAddresses*3/4 {
			return
		}
		delete(l.from, addr)
	}
}

// bucket is what counts as one address: of IPv6 the network that one household has.
func bucket(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return addr
}
