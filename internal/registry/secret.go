package registry

import (
	"context"

	"tenement.dev/internal/tenant"
)

// Secrets lists the secrets of instances, and those of services with an ID that has no
// name, sorted by name. Their values are not in the registry.
func (r *Registry) Secrets(ctx context.Context) (map[tenant.ID][]tenant.Secret, error) {
	secrets, err := r.secrets(ctx)
	return secrets, r.file.explain("list secrets", tenant.ID{}, err)
}

func (r *Registry) secrets(ctx context.Context) (map[tenant.ID][]tenant.Secret, error) {
	rows, err := r.db.QueryContext(ctx, sqlSecrets)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	secrets := map[tenant.ID][]tenant.Secret{}
	for rows.Next() {
		var id tenant.ID
		var s tenant.Secret
		var changed int64
		if err := rows.Scan(&id.Service, &id.Name, &s.Name, &s.Env, &changed); err != nil {
			return nil, err
		}
		if err := tenant.CheckSecretName(s.Name); err != nil {
			return nil, r.file.damaged(err)
		}
		s.Changed, s.Service = fromMicros(changed), id.Name == ""
		secrets[id] = append(secrets[id], s)
	}
	return secrets, rows.Err()
}

// SetSecret remembers that an instance has a secret, or a service where id has no name. An
// unknown instance is a *tenant.Error with CodeNotFound.
func (r *Registry) SetSecret(ctx context.Context, id tenant.ID, s tenant.Secret) error {
	return r.explainUpdate("set secret of", id, r.update(ctx, sqlSetSecret, id, s.Name, s.Env, micros(s.Changed)))
}

// RemoveSecret forgets it; where there is none that is no error.
func (r *Registry) RemoveSecret(ctx context.Context, id tenant.ID, name string) error {
	_, err := r.db.ExecContext(ctx, sqlRemoveSecret, id.Service, id.Name, name)
	return r.file.explain("remove secret of", id, err)
}
