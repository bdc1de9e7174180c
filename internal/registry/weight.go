package registry

import (
	"context"
	"database/sql"

	"tenement.dev/internal/tenant"
)

// Weights gives the weights of the instances that were given one. An instance need not
// be registered to have a weight.
func (r *Registry) Weights(ctx context.Context) (map[tenant.ID]tenant.Weight, error) {
	weights, err := r.weights(ctx)
	return weights, r.file.explain("list weights", tenant.ID{}, err)
}

func (r *Registry) weights(ctx context.Context) (map[tenant.ID]tenant.Weight, error) {
	rows, err := r.db.QueryContext(ctx, sqlWeights)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	weights := map[tenant.ID]tenant.Weight{}
	for rows.Next() {
		var id tenant.ID
		w := tenant.Weight{Set: true}
		if err := rows.Scan(&id.Service, &id.Name, &w.N); err != nil {
			return nil, err
		}
		weights[id] = w
	}
	return weights, rows.Err()
}

// SetWeights gives instances their weights, all or none of them; the zero Weight takes
// one away.
func (r *Registry) SetWeights(ctx context.Context, weights map[tenant.ID]tenant.Weight) error {
	return r.transact(ctx, "set weights", tenant.ID{}, func(tx *sql.Tx) error {
		for id, w := range weights {
			var err error
			if w.Set {
				_, err = tx.ExecContext(ctx, sqlSetWeight, id.Service, id.Name, w.N)
			} else {
				_, err = tx.ExecContext(ctx, sqlRemoveWeight, id.Service, id.Name)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
