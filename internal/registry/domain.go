package registry

import (
	"context"
	"database/sql"
	"fmt"

	sqlite3 "modernc.org/sqlite/lib"

	"tenement.dev/internal/tenant"
)

// Domains lists the host names that instances were given, sorted.
func (r *Registry) Domains(ctx context.Context) ([]tenant.Domain, error) {
	list, err := r.domains(ctx, sqlDomains)
	return list, r.file.explain("list domains", tenant.ID{}, err)
}

// Claims lists the host names that are pending, sorted by host, service and name.
func (r *Registry) Claims(ctx context.Context) ([]tenant.Domain, error) {
	list, err := r.domains(ctx, sqlClaims)
	return list, r.file.explain("list pending domains", tenant.ID{}, err)
}

func (r *Registry) domains(ctx context.Context, query string) ([]tenant.Domain, error) {
	rows, err := r.db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []tenant.Domain
	for rows.Next() {
		var d tenant.Domain
		var created, verified int64
		if err := rows.Scan(&d.Host, &d.ID.Service, &d.ID.Name, &created, &verified, &d.Token); err != nil {
			return nil, err
		}
		d.Created, d.Verified = fromMicros(created), fromMicros(verified)
		list = append(list, d)
	}
	return list, rows.Err()
}

// AddDomain gives an instance a host name, and ends all claims of it. One that is given
// already is a *tenant.Error with CodeConflict.
func (r *Registry) AddDomain(ctx context.Context, d tenant.Domain) error {
	return r.transact(ctx, "add domain to", d.ID, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, sqlAddDomain, d.Host, d.ID.Service, d.ID.Name, micros(d.Created))
		if resultCode(err) == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY {
			return taken(d, err)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, sqlRemoveClaims, d.Host)
		}
		return err
	})
}

// AddClaim has a host name wait, with its Token, to be given to an instance. One that is
// given already is a *tenant.Error with CodeConflict.
func (r *Registry) AddClaim(ctx context.Context, d tenant.Domain) error {
	result, err := r.db.ExecContext(ctx, sqlAddClaim, d.Host, d.ID.Service, d.ID.Name, d.Token, micros(d.Created))
	var added int64
	if err == nil {
		added, err = result.RowsAffected()
	}
	if err == nil && added == 0 {
		return taken(d, nil)
	}
	return r.file.explain("add domain to", d.ID, err)
}

// VerifyDomain gives an instance the host name that it has claimed, and ends all other
// claims of it. Without a claim it is a *tenant.Error with CodeNotFound.
func (r *Registry) VerifyDomain(ctx context.Context, d tenant.Domain) error {
	return r.transact(ctx, "verify domain of", d.ID, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, sqlVerifyDomain, d.Host, d.ID.Service, d.ID.Name, micros(d.Verified))
		if resultCode(err) == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY {
			return taken(d, err)
		}
		var given int64
		if err == nil {
			given, err = result.RowsAffected()
		}
		if err == nil && given == 0 {
			return &tenant.Error{
				Code: tenant.CodeNotFound, Op: "verify domain of", ID: d.ID,
				Msg:  fmt.Sprintf("%s does not wait for %s", d.ID, d.Host),
				Hint: "`ten domain ls` lists what is pending",
			}
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, sqlRemoveClaims, d.Host)
		}
		return err
	})
}

func taken(d tenant.Domain, err error) error {
	return &tenant.Error{
		Code: tenant.CodeConflict, Op: "add domain to", ID: d.ID, Err: err,
		Msg:  fmt.Sprintf("%s belongs to an instance already", d.Host),
		Hint: fmt.Sprintf("`ten domain ls` shows whose it is; `ten domain rm %s` frees it", d.Host),
	}
}

// RemoveDomain takes a host name away, and ends all claims of it; an unknown one is no
// error.
func (r *Registry) RemoveDomain(ctx context.Context, host string) error {
	return r.transact(ctx, "remove domain", tenant.ID{}, func(tx *sql.Tx) error {
		for _, statement := range []string{sqlRemoveDomain, sqlRemoveClaims} {
			if _, err := tx.ExecContext(ctx, statement, host); err != nil {
				return err
			}
		}
		return nil
	})
}
