package registry

import (
	"context"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"tenement.dev/internal/tenant"
)

// Domains lists the host names that instances were given, sorted.
func (r *Registry) Domains(ctx context.Context) ([]tenant.Domain, error) {
	list, err := r.domains(ctx)
	return list, r.file.explain("list domains", tenant.ID{}, err)
}

func (r *Registry) domains(ctx context.Context) ([]tenant.Domain, error) {
	rows, err := r.db.QueryContext(ctx, sqlDomains)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []tenant.Domain
	for rows.Next() {
		var d tenant.Domain
		var created int64
		if err := rows.Scan(&d.Host, &d.ID.Service, &d.ID.Name, &created); err != nil {
			return nil, err
		}
		d.Created = fromMicros(created)
		list = append(list, d)
	}
	return list, rows.Err()
}

// AddDomain gives an instance a host name. One that is given already is a *tenant.Error
// with CodeConflict.
func (r *Registry) AddDomain(ctx context.Context, d tenant.Domain) error {
	_, err := r.db.ExecContext(ctx, sqlAddDomain, d.Host, d.ID.Service, d.ID.Name, micros(d.Created))
	if resultCode(err) == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY {
		return &tenant.Error{
			Code: tenant.CodeConflict, Op: "add domain to", ID: d.ID, Err: err,
			Msg:  fmt.Sprintf("%s belongs to an instance already", d.Host),
			Hint: fmt.Sprintf("`ten domain ls` shows whose it is; `ten domain rm %s` frees it", d.Host),
		}
	}
	return r.file.explain("add domain to", d.ID, err)
}

// RemoveDomain takes a host name away; an unknown one is no error.
func (r *Registry) RemoveDomain(ctx context.Context, host string) error {
	_, err := r.db.ExecContext(ctx, sqlRemoveDomain, host)
	return r.file.explain("remove domain", tenant.ID{}, err)
}
