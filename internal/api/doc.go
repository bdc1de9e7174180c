// Package api is the daemon's HTTP API. It lives under /api/v1, on a Unix socket and, where
// that is wanted, on a TCP listener and the base domain, and speaks the JSON of
// internal/wire.
//
// # Invariants
//
//   - Every route, the answers to unknown paths included, says in one table what it needs,
//     and a route that says nothing keeps New from returning. Who is not known gets 401,
//     who may not do what he asks for 403, and neither learns anything else.
//   - On the Unix socket the kernel says who asks, unless a token is sent; elsewhere
//     a token does. A tenant's token is for the instances of that name, under every
//     service: lists and streams have nothing of others, and a path that names another is
//     refused whether it exists or not. What a token has open ends with it.
//   - A request that was to change something is told to the events with who made it.
//   - openapi.json has every route, and each answer is as it says: the tests hold both
//     against it, and fail for what it does not name.
//   - An answer that is not 2xx has a wire.Failure as its body. Texts for people come
//     from a tenant.Error; causes go to the log and never to the client.
//   - What a client sends is bounded and read strictly: no unknown JSON fields, no
//     unknown query parameters, at most 64 KiB.
//   - Work that a request begins belongs to the instance. A client that goes away ends
//     its own wait and nothing else; the stream of a log or of events ends with its client.
package api
