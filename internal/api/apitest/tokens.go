package apitest

import (
	"context"
	"time"

	"tenement.dev/internal/tenant"
)

// tokenStore keeps nothing: auth.Tokens has it all while a Daemon runs.
type tokenStore struct{}

func (*tokenStore) Tokens(context.Context) ([]tenant.Token, error)           { return nil, nil }
func (*tokenStore) AddToken(context.Context, tenant.Token) error             { return nil }
func (*tokenStore) RemoveToken(context.Context, string) error                { return nil }
func (*tokenStore) SaveTokenUse(context.Context, map[string]time.Time) error { return nil }
