package keeper

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// view is what can be seen of instances without privilege.
type view struct {
	systemd Units
	hints   <-chan units.UnitState
	host    units.Host
	log     *slog.Logger
	events  chan units.Status
	// strangers are the IDs that a listing has found to be another data directory's.
	strangers sync.Map
	// forgetful: this process may be too young to have had a listing.
	forgetful bool
}

func (v *view) set(o Options) {
	v.systemd, v.hints, v.host, v.log = persistent{o.Units}, o.Hints, o.Host, o.Log
	v.events, v.forgetful = make(chan units.Status), o.Proxy != nil
}

// Events gives hints that an instance may have changed; a zero ID stands for all.
func (v *view) Events() <-chan units.Status { return v.events }

// forward passes the manager's events on until ctx ends. started hears of each service
// that starts; it must not wait for anything slow.
func (v *view) forward(ctx context.Context, started func(tenant.ID)) {
	for {
		var status units.Status
		select {
		case <-ctx.Done():
			return
		case unit := <-v.hints:
			if unit.Name != "" {
				id, ok := units.ParseName(unit.Name)
				if !ok || filepath.Ext(unit.Name) != ".service" {
					continue
				}
				status = units.Status{ID: id, Active: unit.Active, Exit: unit.Exit}
				if unit.Active == "activating" || unit.Active == "active" {
					started(id)
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case v.events <- status:
		}
	}
}

// List tells of the named instances, or of all that are loaded. Units of another data
// directory are left out.
func (v *view) List(ctx context.Context, ids ...tenant.ID) ([]units.Status, error) {
	states, err := v.states(ctx, ids...)
	if err != nil {
		return nil, err
	}
	list := gather(slices.DeleteFunc(states, v.others))
	if len(ids) == 1 && len(list) == 1 && list[0].Active != "active" && list[0].Active != "activating" {
		list[0].Exit, err = v.systemd.Exit(ctx, units.ServiceName(ids[0]))
		if err != nil && !errors.Is(err, units.ErrNotLoaded) {
			return nil, err
		}
	}
	return list, nil
}

// gather puts the states of sockets and services together.
func gather(states []units.UnitState) []units.Status {
	index := map[tenant.ID]int{}
	var list []units.Status
	for _, s := range states {
		id, ok := units.ParseName(s.Name)
		if !ok || s.Load == "not-found" {
			continue
		}
		i, ok := index[id]
		if !ok {
			i = len(list)
			index[id] = i
			list = append(list, units.Status{ID: id, Active: "inactive"})
		}
		if filepath.Ext(s.Name) == ".service" {
			list[i].Active = s.Active
		} else {
			list[i].Doorbell = s.Active == "active"
		}
	}
	return list
}

// Usage tells what an instance uses now, storage apart.
func (v *view) Usage(ctx context.Context, id tenant.ID) (tenant.Usage, error) {
	if others, err := v.isStranger(ctx, id); err != nil || others {
		return tenant.UnknownUsage, err
	}
	usage, err := v.systemd.Usage(ctx, units.ServiceName(id))
	if errors.Is(err, units.ErrNotLoaded) {
		return tenant.UnknownUsage, nil
	}
	return usage, err
}
