package apitest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"tenement.dev/internal/tenant"
)

// Broken is what the app of the service "broken" prints before it ends.
const Broken = "cannot open database: no such file"

// Instances keeps instances in memory. Their names have a meaning where something is to
// go wrong: "late" never listens, "slow" wakes when Release is called or its request
// ends, "secret" fails with an error that is not for people.
type Instances struct {
	logs *Logs

	mu      sync.Mutex
	all     map[tenant.ID]tenant.Snapshot
	domains map[string]tenant.Domain
	why     map[tenant.ID]tenant.Why
	limits  map[tenant.ID]tenant.Limits
	release chan struct{}
	waiting chan struct{}

	secretsMu sync.Mutex
	secrets   map[tenant.ID][]tenant.Secret
}

func newInstances(logs *Logs) *Instances {
	return &Instances{
		secrets: map[tenant.ID][]tenant.Secret{},
		logs:    logs, all: map[tenant.ID]tenant.Snapshot{}, domains: map[string]tenant.Domain{}, why: map[tenant.ID]tenant.Why{},
		limits:  map[tenant.ID]tenant.Limits{},
		release: make(chan struct{}), waiting: make(chan struct{}, 1),
	}
}

// Put changes an instance, or makes it, as if it had happened.
func (m *Instances) Put(s tenant.Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.Unit == "" {
		s.Unit = unit(s.ID)
	}
	m.all[s.ID] = s
}

// Waiting tells when the request for a "slow" instance has arrived.
func (m *Instances) Waiting() <-chan struct{} { return m.waiting }

// Release wakes the "slow" ones.
func (m *Instances) Release() { close(m.release) }

// List gives all instances, sorted.
func (m *Instances) List() []tenant.Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]tenant.Snapshot, 0, len(m.all))
	for _, s := range m.all {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b tenant.Snapshot) int { return strings.Compare(a.ID.String(), b.ID.String()) })
	return list
}

// Glance tells little of each, sorted.
func (m *Instances) Glance() iter.Seq2[tenant.ID, tenant.Glance] {
	return func(yield func(tenant.ID, tenant.Glance) bool) {
		for _, s := range m.List() {
			if !yield(s.ID, tenant.Glance{State: s.State, InFlight: s.InFlight, LastActive: s.LastActive}) {
				return
			}
		}
	}
}

// Get gives one instance.
func (m *Instances) Get(id tenant.ID) (tenant.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.all[id]
	if !ok {
		return s, tenant.NoInstance("get", id)
	}
	return s, nil
}

// PutWhy says why an instance is in its state; its snapshot is that of the instance.
func (m *Instances) PutWhy(w tenant.Why) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.why[w.ID] = w
}

// Why tells what PutWhy has said.
func (m *Instances) Why(id tenant.ID) (tenant.Why, error) {
	s, err := m.Get(id)
	if err != nil {
		return tenant.Why{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.why[id]
	w.Snapshot = s
	return w, nil
}

// CheckService knows notes, broken and web.
func (m *Instances) CheckService(name string) error {
	if name == "notes" || name == "broken" || name == "web" {
		return nil
	}
	return &tenant.Error{
		Code: tenant.CodeNotFound, Op: "list", ID: tenant.ID{Service: name},
		Msg: fmt.Sprintf("there is no service %q", name), Hint: "tenement.toml has: broken, notes, web",
	}
}

// Spawn makes an instance and wakes it.
func (m *Instances) Spawn(ctx context.Context, id tenant.ID) (tenant.Snapshot, bool, error) {
	if err := m.CheckService(id.Service); err != nil {
		return tenant.Snapshot{}, false, err
	}
	m.mu.Lock()
	_, known := m.all[id]
	if !known {
		m.all[id] = tenant.Snapshot{ID: id, Unit: unit(id), Created: time.Now(), Since: time.Now()}
	}
	m.mu.Unlock()
	s, err := m.Wake(ctx, id)
	return s, !known, err
}

// Wake has an instance awake in 63 ms, or fails as its name says.
func (m *Instances) Wake(ctx context.Context, id tenant.ID) (tenant.Snapshot, error) {
	s, err := m.Get(id)
	if err != nil || s.State == tenant.Awake {
		return s, err
	}
	fail := &tenant.Error{Code: tenant.CodeStartFailed, Op: "start", ID: id,
		Msg: "the app ended with exit status 1", Hint: fmt.Sprintf("`ten logs %s` shows what it said", id),
		Err: errors.New("the cause that only the log has")}
	switch {
	case id.Service == "broken":
		// As on a real machine the last line may come after the failure is known.
		m.logs.Add(s.Unit, "Started notes.", true)
		m.logs.AddLate(s.Unit, Broken)
		s.State, s.Reason = tenant.Failed, fail.Msg
		m.Put(s)
		return tenant.Snapshot{}, fail
	case id.Name == "late":
		fail.Code, fail.Msg = tenant.CodeStartTimeout, "nothing listens on port 30001 after 10s"
		s.Reason, s.Failing = fail.Msg, true
		m.Put(s)
		return tenant.Snapshot{}, fail
	case id.Name == "secret":
		return tenant.Snapshot{}, errors.New("/var/lib/secret: is broken")
	case id.Name == "slow":
		m.waiting <- struct{}{}
		select {
		case <-m.release:
		case <-ctx.Done():
			return tenant.Snapshot{}, &tenant.Error{Code: tenant.CodeUnavailable, Op: "wake", ID: id,
				Msg: "the request ended before the instance was awake", Err: context.Cause(ctx)}
		}
	}
	now := time.Now()
	s.State, s.Since, s.LastActive, s.Port = tenant.Awake, now, now, 30001
	s.LastWake = &tenant.Wake{Kind: tenant.WakeCold, At: now, UnitStart: 20 * time.Millisecond,
		AppReady: 43 * time.Millisecond, Total: 63 * time.Millisecond}
	s.Wakes++
	m.Put(s)
	return s, nil
}

// KeepAwake has an instance awake with an operator's lease of d, or without any.
func (m *Instances) KeepAwake(ctx context.Context, id tenant.ID, d time.Duration) (tenant.Snapshot, error) {
	s, err := m.Get(id)
	if err == nil && d > 0 {
		s, err = m.Wake(ctx, id)
	}
	if err != nil {
		return s, err
	}
	s.Leases = nil
	if d > 0 {
		s.Leases = []tenant.Lease{{Holder: tenant.HolderOperator, Until: time.Now().Add(d)}}
	}
	m.Put(s)
	return s, nil
}

// Doze has an instance doze that is awake.
func (m *Instances) Doze(_ context.Context, id tenant.ID) (tenant.Snapshot, error) {
	s, err := m.Get(id)
	if err == nil && s.State != tenant.Awake && s.State != tenant.Dozing {
		err = &tenant.Error{
			Code: tenant.CodeConflict, Op: "doze", ID: id,
			Msg: fmt.Sprintf("%s is %s: only one that is awake can doze", id, s.State), Hint: fmt.Sprintf("`ten wake %s` wakes it", id),
		}
	}
	if err != nil {
		return s, err
	}
	s.State, s.Since = tenant.Dozing, time.Now()
	m.Put(s)
	return s, nil
}

// Stop has an instance asleep.
func (m *Instances) Stop(_ context.Context, id tenant.ID) (tenant.Snapshot, error) {
	s, err := m.Get(id)
	if err != nil {
		return s, err
	}
	s.State, s.Since, s.Port, s.Leases = tenant.Asleep, time.Now(), 0, nil
	m.Put(s)
	return s, nil
}

// Restart stops and wakes an instance.
func (m *Instances) Restart(ctx context.Context, id tenant.ID) (tenant.Snapshot, error) {
	if _, err := m.Stop(ctx, id); err != nil {
		return tenant.Snapshot{}, err
	}
	return m.Wake(ctx, id)
}

// Destroy forgets an instance.
func (m *Instances) Destroy(_ context.Context, id tenant.ID) error {
	if _, err := m.Get(id); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, id)
	return nil
}

func unit(id tenant.ID) string { return "tenement-" + id.Service + "@" + id.Name + ".service" }
