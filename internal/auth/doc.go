// Package auth knows who may use the management API with a token.
//
// Invariants:
//
//   - A secret is 256 random bits. It is given to the one who makes the token and to
//     nobody else; what is kept is its SHA-256, in which there is nothing to guess. Tokens
//     are looked up by that hash, so that no comparison's time tells anything.
//   - The table of tokens in memory is the truth while the daemon runs: a revoked or
//     expired one is refused with the next request, and what it has open ends.
//   - No request waits for a write: when a token was last used is written now and then.
//   - A bad token has no effect on a good one, wherever it comes from. Who sends many is
//     told to come back later, each address for itself; the number of addresses that are
//     remembered is bounded.
package auth
