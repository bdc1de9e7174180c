package tenant

import (
	"context"
	"errors"
)

// ErrProcessEnded says that the process which was to serve a request is not there any more.
var ErrProcessEnded = errors.New("the process has ended")

type sameKey struct{}

// WithSameProcess has Endpoint.Dial connect to no other process than the one that the
// request was admitted to, and fail with ErrProcessEnded where that has ended: for a
// request that may be what has ended it.
func WithSameProcess(ctx context.Context) context.Context {
	return context.WithValue(ctx, sameKey{}, true)
}

// SameProcess reports whether ctx is WithSameProcess.
func SameProcess(ctx context.Context) bool { return ctx.Value(sameKey{}) != nil }
