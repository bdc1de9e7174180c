package registry

import (
	"context"
	"encoding/json"
	"fmt"

	"tenement.dev/internal/tenant"
)

// Limited is what is remembered of an instance's limits.
type Limited struct {
	ID tenant.ID
	// Limits are its own; those of its service hold for the rest.
	Limits tenant.Limits
	// Storage is how many bytes its data had when it was last looked at.
	Storage int64
}

// Limits lists the instances that have limits of their own or were looked at, in no
// particular order.
func (r *Registry) Limits(ctx context.Context) ([]Limited, error) {
	list, err := r.limits(ctx)
	return list, r.file.explain("list limits", tenant.ID{}, err)
}

func (r *Registry) limits(ctx context.Context) ([]Limited, error) {
	rows, err := r.db.QueryContext(ctx, sqlLimits)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Limited
	for rows.Next() {
		var l Limited
		var text string
		if err := rows.Scan(&l.ID.Service, &l.ID.Name, &text, &l.Storage); err != nil {
			return nil, err
		}
		err := json.Unmarshal([]byte(text), &l.Limits)
		if err == nil {
			err = l.Limits.Check()
		}
		if err != nil {
			return nil, r.file.damaged(fmt.Errorf("limits of %s: %w", l.ID, err))
		}
		list = append(list, l)
	}
	return list, rows.Err()
}

// SetLimits remembers an instance's own limits. An unknown instance is a *tenant.Error
// with CodeNotFound, a value that cannot be one with CodeInvalid.
func (r *Registry) SetLimits(ctx context.Context, id tenant.ID, limits tenant.Limits) error {
	if err := limits.Check(); err != nil {
		return err
	}
	if limits == nil {
		limits = tenant.Limits{}
	}
	text, err := json.Marshal(limits)
	if err == nil {
		err = r.update(ctx, sqlSetLimits, id, string(text))
	}
	return r.explainUpdate("set limits of", id, err)
}

// SetStorage remembers how many bytes an instance's data has. An unknown instance is a
// *tenant.Error with CodeNotFound.
func (r *Registry) SetStorage(ctx context.Context, id tenant.ID, bytes int64) error {
	return r.explainUpdate("set storage of", id, r.update(ctx, sqlSetStorage, id, max(bytes, 0)))
}
