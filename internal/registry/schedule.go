package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"tenement.dev/internal/tenant"
)

// Schedule is one schedule entry of a service.
type Schedule struct {
	Service, Entry string
	// Seen is the moment up to which the entry has been seen to: what was due by then
	// has been done, or is among the runs.
	Seen time.Time
}

// Run is work of an instance for a schedule entry that is due and not done.
type Run struct {
	ID    tenant.ID
	Entry string
}

// SetSchedules makes list the schedules. Those that are known already keep their Seen;
// the others are forgotten with their runs. It returns what is remembered then, sorted.
func (r *Registry) SetSchedules(ctx context.Context, list []Schedule) ([]Schedule, error) {
	list, err := r.setSchedules(ctx, list)
	return list, r.file.explain("set schedules", tenant.ID{}, err)
}

func (r *Registry) setSchedules(ctx context.Context, list []Schedule) ([]Schedule, error) {
	rows := make([][3]any, len(list))
	for i, s := range list {
		rows[i] = [3]any{s.Service, s.Entry, micros(s.Seen)}
	}
	text, err := json.Marshal(rows)
	if err != nil {
		return nil, err
	}
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // of no effect after Commit
	for _, statement := range []string{sqlAddSchedules, sqlDropSchedules} {
		if _, err := tx.ExecContext(ctx, statement, string(text)); err != nil {
			return nil, err
		}
	}
	if _, err := tx.ExecContext(ctx, sqlDropRuns); err != nil {
		return nil, err
	}
	known, err := tx.QueryContext(ctx, sqlSchedules)
	if err != nil {
		return nil, err
	}
	defer known.Close()
	list = nil
	for known.Next() {
		var s Schedule
		var seen int64
		if err := known.Scan(&s.Service, &s.Entry, &seen); err != nil {
			return nil, err
		}
		s.Seen = fromMicros(seen)
		list = append(list, s)
	}
	if err := known.Err(); err != nil {
		return nil, err
	}
	return list, tx.Commit()
}

// Due notes that an entry has been seen to up to s.Seen, and that all instances of its
// service have a run of it to come.
func (r *Registry) Due(ctx context.Context, s Schedule) error {
	return r.file.explain("note what is due in", tenant.ID{}, r.due(ctx, s))
}

func (r *Registry) due(ctx context.Context, s Schedule) error {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // of no effect after Commit
	if _, err := tx.ExecContext(ctx, sqlSeen, s.Service, s.Entry, micros(s.Seen)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, sqlDue, s.Service, s.Entry); err != nil {
		return err
	}
	return tx.Commit()
}

// Runs lists the runs that are due and not done, sorted.
func (r *Registry) Runs(ctx context.Context) ([]Run, error) {
	list, err := r.runs(ctx)
	return list, r.file.explain("list runs", tenant.ID{}, err)
}

func (r *Registry) runs(ctx context.Context) ([]Run, error) {
	rows, err := r.db.QueryContext(ctx, sqlRuns)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Run
	for rows.Next() {
		var run Run
		if err := rows.Scan(&run.ID.Service, &run.ID.Name, &run.Entry); err != nil {
			return nil, err
		}
		if !tenant.IsLabel(run.ID.Service) || !tenant.IsLabel(run.ID.Name) {
			return nil, r.file.damaged(fmt.Errorf("instance %q is no valid name", run.ID))
		}
		list = append(list, run)
	}
	return list, rows.Err()
}

// Ran notes that a run is done; one that is not due is no error.
func (r *Registry) Ran(ctx context.Context, run Run) error {
	_, err := r.db.ExecContext(ctx, sqlRan, run.ID.Service, run.ID.Name, run.Entry)
	return r.file.explain("note a run of", run.ID, err)
}
