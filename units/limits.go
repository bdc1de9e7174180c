package units

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"tenement.dev/internal/tenant"
)

// Nothing that one instance prints or breaks may cost its neighbours their journal or
// their disk. journald multiplies the burst by up to six where its disk has room
// (journald.conf(5), RateLimitBurst=), so an app may print some hundred lines a second
// all day.
const (
	logInterval = 10 * time.Second
	logBurst    = 1000
)

// controllers are the cgroup controllers that limits need.
var controllers = map[tenant.Limit]string{
	tenant.LimitMemory:    "memory",
	tenant.LimitCPUQuota:  "cpu",
	tenant.LimitCPUShares: "cpu",
	tenant.LimitTasks:     "pids",
}

// can reports whether the machine has what the limit needs.
func (h Host) can(limit tenant.Limit) bool {
	if limit == tenant.LimitIOWeight {
		return h.IOWeight
	}
	need := controllers[limit]
	return need == "" || slices.Contains(h.Controllers, need)
}

// Boosts lists the weights that units are rendered with tenant.Boosted, since the
// machine has their controllers.
func (h Host) Boosts() []tenant.Limit {
	var list []tenant.Limit
	for _, limit := range []tenant.Limit{tenant.LimitCPUShares, tenant.LimitIOWeight} {
		if h.can(limit) {
			list = append(list, limit)
		}
	}
	return list
}

// CheckLimits compares limits with what the machine can do. The error is a
// *tenant.Error with CodeUnsupported.
func (h Host) CheckLimits(id tenant.ID, limits tenant.Limits) error {
	for _, limit := range tenant.AllLimits() {
		if limits[limit] == 0 || h.can(limit) {
			continue
		}
		e := &tenant.Error{Code: tenant.CodeUnsupported, Op: "load", ID: id, Hint: doctor}
		if need := controllers[limit]; need != "" {
			e.Msg = fmt.Sprintf("%s needs the cgroup controller %q, which services do not have on this machine", limit.Key(), need)
		} else {
			e.Msg = fmt.Sprintf("%s does not take effect on this machine", limit.Key())
		}
		return e
	}
	return nil
}

// LimitProperties are the properties that set the given limits, also while the unit
// runs; limits that are no property of a control group are left out.
func LimitProperties(limits tenant.Limits) []Property {
	var props []Property
	set := func(name string, v uint64) { props = append(props, Property{name, v}) }
	for _, limit := range slices.Sorted(maps.Keys(limits)) {
		v := uint64(limits.Get(limit))
		if v == 0 {
			v = math.MaxUint64 // "infinity"
		}
		switch limit {
		case tenant.LimitMemory:
			// Without a bound on swap an instance would only move there what it has too much.
			set("MemoryMax", v)
			set("MemorySwapMax", v)
		case tenant.LimitCPUQuota:
			if v != math.MaxUint64 {
				v *= uint64(time.Second/time.Microsecond) / 100
			}
			set("CPUQuotaPerSecUSec", v)
		case tenant.LimitCPUShares:
			set("CPUWeight", v)
		case tenant.LimitIOWeight:
			set("IOWeight", v)
		case tenant.LimitTasks:
			set("TasksMax", v)
		}
	}
	return props
}

// limits are the properties of a service that bound it.
func (h Host) limits(spec tenant.Spec) []Property {
	limits := spec.Limits.Or(tenant.Limits{tenant.LimitTasks: tenant.LimitTasks.Standard()})
	for _, weight := range h.Boosts() {
		limits[weight] = tenant.Boosted(limits.Get(weight))
	}
	props := LimitProperties(limits)
	if files := spec.Limits.Get(tenant.LimitNoFile); files > 0 {
		props = append(props, Property{"LimitNOFILE", uint64(files)})
	}
	return append(props,
		Property{"LimitCORE", uint64(0)},
		Property{"LogRateLimitIntervalUSec", usec(logInterval)},
		Property{"LogRateLimitBurst", uint32(logBurst)},
	)
}
