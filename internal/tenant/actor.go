package tenant

import "context"

// Actor is who asked for a change, as audit events have it: "root", "user alice",
// "uid 1000" or "token ab12cd34". The empty Actor is Tenement itself.
type Actor string

type actorKey struct{}

// WithActor notes who asks for whatever is done with ctx.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorOf gives what WithActor has noted, or the empty Actor.
func ActorOf(ctx context.Context) Actor {
	a, _ := ctx.Value(actorKey{}).(Actor)
	return a
}
