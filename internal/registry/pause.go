package registry

import (
	"context"

	"tenement.dev/internal/tenant"
)

// Pauses gives the pauses of instances, and those of services with an ID that has no
// name. Some may have ended.
func (r *Registry) Pauses(ctx context.Context) (map[tenant.ID]tenant.Pause, error) {
	pauses, err := r.pauses(ctx)
	return pauses, r.file.explain("list pauses", tenant.ID{}, err)
}

func (r *Registry) pauses(ctx context.Context) (map[tenant.ID]tenant.Pause, error) {
	rows, err := r.db.QueryContext(ctx, sqlPauses)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	pauses := map[tenant.ID]tenant.Pause{}
	for rows.Next() {
		var id tenant.ID
		var p tenant.Pause
		var since, until int64
		if err := rows.Scan(&id.Service, &id.Name, &p.Message, &since, &until); err != nil {
			return nil, err
		}
		p.Since, p.Until, p.Service = fromMicros(since), fromMicros(until), id.Name == ""
		pauses[id] = p
	}
	return pauses, rows.Err()
}

// SetPause remembers a pause of an instance, or of a service where id has no name. An
// unknown instance is a *tenant.Error with CodeNotFound: its pause would be that of one
// which takes the name later.
func (r *Registry) SetPause(ctx context.Context, id tenant.ID, p tenant.Pause) error {
	return r.explainUpdate("pause", id, r.update(ctx, sqlSetPause, id, p.Message, micros(p.Since), micros(p.Until)))
}

// RemovePause forgets it; where there is none that is no error.
func (r *Registry) RemovePause(ctx context.Context, id tenant.ID) error {
	_, err := r.db.ExecContext(ctx, sqlRemovePause, id.Service, id.Name)
	return r.file.explain("unpause", id, err)
}
