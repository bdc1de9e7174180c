package keeper

import (
	"context"
	"fmt"
	"slices"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
)

// Instances outlive their daemon, and the next one may be another's: it has a data
// directory of its own, and its instances the same names. Units of another data directory
// are not known here, and left alone. One that runs keeps its name; one that does not
// loses it when an instance of ours is loaded, which costs nobody anything.

// elsewhere gives the data directory that a unit belongs to, empty where that is ours or
// not told.
func (v *view) elsewhere(s units.UnitState) string {
	if data := units.DataOf(s.Description); s.Load != "not-found" && data != v.host.RealDataRoot {
		return data
	}
	return ""
}

// others is elsewhere for who leaves such a unit alone.
func (v *view) others(s units.UnitState) bool {
	data := v.elsewhere(s)
	if data == "" {
		return false
	}
	if id, ok := units.ParseName(s.Name); ok {
		if _, told := v.strangers.LoadOrStore(id, true); !told {
			v.log.Warn("unit of another data directory, left alone", "unit", s.Name, "data_dir", data)
		}
	}
	return true
}

// isStranger is belongsElsewhere for what must cost nothing: it asks only where a listing
// has found that before, or could not have.
func (v *view) isStranger(ctx context.Context, id tenant.ID) (bool, error) {
	if _, told := v.strangers.Load(id); !told && !v.forgetful {
		return false, nil
	}
	return v.belongsElsewhere(ctx, id)
}

// states lists the units of the named instances, or of all.
func (v *view) states(ctx context.Context, ids ...tenant.ID) ([]units.UnitState, error) {
	patterns := []string{units.Pattern}
	if len(ids) > 0 {
		// The names have no characters that a pattern would take for its own.
		patterns = patterns[:0]
		for _, id := range ids {
			patterns = append(patterns, units.SocketName(id), units.ServiceName(id))
		}
	}
	return v.systemd.List(ctx, patterns...)
}

// belongsElsewhere reports whether the units of an instance are another data directory's.
func (v *view) belongsElsewhere(ctx context.Context, id tenant.ID) (bool, error) {
	states, err := v.states(ctx, id)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(states, v.others), nil
}

// notElsewhere is an error for people where an instance of the same name runs that belongs
// to another data directory.
func (v *view) notElsewhere(ctx context.Context, id tenant.ID) error {
	states, err := v.states(ctx, id)
	if err != nil {
		return err
	}
	for _, s := range states {
		data := v.elsewhere(s)
		if data == "" || s.Name != units.ServiceName(id) || s.Active == "inactive" || s.Active == "failed" {
			continue
		}
		systemctl := "systemctl"
		if v.host.User {
			systemctl += " --user"
		}
		return &tenant.Error{
			Code: tenant.CodeConflict, Op: "load", ID: id,
			Msg: fmt.Sprintf("an instance %s of another data directory runs: its data is in %s, ours in %s", id, data, v.host.RealDataRoot),
			Hint: fmt.Sprintf("destroy it with the daemon of that directory, stop it with `%s stop %s`, or choose another name",
				systemctl, units.ServicePrefix(id.Service)+id.Name+".\\*"),
		}
	}
	return nil
}
