package registry

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"tenement.dev/internal/tenant"
)

// AddUse adds to what instances have used on their days, and notes how far those that
// run are counted: all of it, or nothing on an error. Use outlasts its instance.
func (r *Registry) AddUse(ctx context.Context, list []tenant.DailyUse, metered []tenant.Metered) error {
	uses := make([][11]any, len(list))
	for i, u := range list {
		uses[i] = [11]any{u.Day, u.ID.Service, u.ID.Name, u.Requests, u.Received, u.Sent,
			u.Awake.Microseconds(), u.Dozing.Microseconds(), u.CPU.Microseconds(), u.Memory, u.Storage}
	}
	meters := make([][5]any, len(metered))
	for i, m := range metered {
		meters[i] = [5]any{m.ID.Service, m.ID.Name, m.Started, m.CPU.Microseconds(), micros(m.At)}
	}
	return r.transact(ctx, "add use", tenant.ID{}, func(tx *sql.Tx) error {
		for statement, rows := range map[string]any{sqlAddUse: uses, sqlSetMetered: meters} {
			text, err := json.Marshal(rows)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, statement, string(text)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Use gives what was used, sorted by day, service and name.
func (r *Registry) Use(ctx context.Context, q tenant.UseQuery) ([]tenant.DailyUse, error) {
	list, err := r.use(ctx, q)
	return list, r.file.explain("list use", tenant.ID{}, err)
}

func (r *Registry) use(ctx context.Context, q tenant.UseQuery) ([]tenant.DailyUse, error) {
	rows, err := r.db.QueryContext(ctx, sqlUse, q.From, q.Until, q.Service, q.Name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []tenant.DailyUse
	for rows.Next() {
		var u tenant.DailyUse
		var awake, dozing, cpu int64
		if err := rows.Scan(&u.Day, &u.ID.Service, &u.ID.Name, &u.Requests, &u.Received, &u.Sent,
			&awake, &dozing, &cpu, &u.Memory, &u.Storage); err != nil {
			return nil, err
		}
		u.Awake, u.Dozing, u.CPU = fromMicroseconds(awake), fromMicroseconds(dozing), fromMicroseconds(cpu)
		list = append(list, u)
	}
	return list, rows.Err()
}

func fromMicroseconds(us int64) time.Duration { return time.Duration(us) * time.Microsecond }

// Metered tells how far instances were counted that ran when that was last saved.
func (r *Registry) Metered(ctx context.Context) (map[tenant.ID]tenant.Metered, error) {
	metered, err := r.metered(ctx)
	return metered, r.file.explain("list what is counted", tenant.ID{}, err)
}

func (r *Registry) metered(ctx context.Context) (map[tenant.ID]tenant.Metered, error) {
	rows, err := r.db.QueryContext(ctx, sqlMetered)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	metered := map[tenant.ID]tenant.Metered{}
	for rows.Next() {
		var m tenant.Metered
		var cpu, at int64
		if err := rows.Scan(&m.ID.Service, &m.ID.Name, &m.Started, &cpu, &at); err != nil {
			return nil, err
		}
		m.CPU, m.At = fromMicroseconds(cpu), fromMicros(at)
		metered[m.ID] = m
	}
	return metered, rows.Err()
}

// ForgetUse forgets what was used on days before the given one.
func (r *Registry) ForgetUse(ctx context.Context, before string) error {
	_, err := r.db.ExecContext(ctx, sqlForgetUse, before)
	return r.file.explain("forget use", tenant.ID{}, err)
}
