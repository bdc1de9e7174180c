package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"tenement.dev/internal/tenant"
)

// Tokens lists the tokens, the oldest first.
func (r *Registry) Tokens(ctx context.Context) ([]tenant.Token, error) {
	list, err := r.tokens(ctx)
	return list, r.file.explain("list tokens", tenant.ID{}, err)
}

func (r *Registry) tokens(ctx context.Context) ([]tenant.Token, error) {
	rows, err := r.db.QueryContext(ctx, sqlTokens)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []tenant.Token
	for rows.Next() {
		var t tenant.Token
		var hash []byte
		var allow string
		var created, expires, used int64
		if err := rows.Scan(&t.ID, &hash, &t.Tenant, &allow, &t.Description, &created, &expires, &used); err != nil {
			return nil, err
		}
		if len(hash) != len(t.Hash) {
			return nil, r.file.damaged(fmt.Errorf("token %q has a hash of %d bytes", t.ID, len(hash)))
		}
		t.Hash = [32]byte(hash)
		for p := range strings.SplitSeq(allow, ",") {
			if p != "" {
				t.Allow = append(t.Allow, tenant.Permission(p))
			}
		}
		t.Created, t.Expires, t.Used = fromMicros(created), fromMicros(expires), fromMicros(used)
		list = append(list, t)
	}
	return list, rows.Err()
}

// AddToken keeps a token.
func (r *Registry) AddToken(ctx context.Context, t tenant.Token) error {
	allow := make([]string, len(t.Allow))
	for i, p := range t.Allow {
		allow[i] = string(p)
	}
	_, err := r.db.ExecContext(ctx, sqlAddToken, t.ID, t.Hash[:], t.Tenant, strings.Join(allow, ","), t.Description,
		micros(t.Created), micros(t.Expires), micros(t.Used))
	return r.file.explain("add token", tenant.ID{}, err)
}

// RemoveToken forgets a token; an unknown one is no error.
func (r *Registry) RemoveToken(ctx context.Context, id string) error {
	_, err := r.db.ExecContext(ctx, sqlRemoveToken, id)
	return r.file.explain("remove token", tenant.ID{}, err)
}

// SaveTokenUse writes when tokens were last used, by their IDs; one that is not kept is
// passed over.
func (r *Registry) SaveTokenUse(ctx context.Context, used map[string]time.Time) error {
	if len(used) == 0 {
		return nil
	}
	rows := make([][2]any, 0, len(used))
	for id, at := range used {
		rows = append(rows, [2]any{id, micros(at)})
	}
	text, err := json.Marshal(rows)
	if err == nil {
		_, err = r.db.ExecContext(ctx, sqlSaveTokenUse, string(text))
	}
	return r.file.explain("save use of tokens", tenant.ID{}, err)
}
