// Package api is the daemon's HTTP API. It lives under /api/v1, on a Unix socket, and
// speaks the JSON of internal/wire.
//
// # Invariants
//
//   - Who may not make a request gets 403 and nothing else: every route, the answers to
//     unknown paths included, says in one table what it needs, and a route that says
//     nothing keeps New from returning. A connection whose other end is not known is
//     refused.
//   - An answer that is not 2xx has a wire.Failure as its body. Texts for people come
//     from a tenant.Error; causes go to the log and never to the client.
//   - What a client sends is bounded and read strictly: no unknown JSON fields, no
//     unknown query parameters, at most 64 KiB.
//   - Work that a request begins belongs to the instance. A client that goes away ends
//     its own wait and nothing else; the stream of a log ends with its client.
package api
