// Package accesslog writes what requests were answered, as structured entries of the
// journal or as lines of JSON.
//
// Invariants:
//
//   - A request never waits for it: entries that find the queue full are dropped, and how
//     many were is said.
//   - Whether a service has one is looked at with each request, so that a reload counts at
//     once; where it has none that look is all that it costs.
//   - Fields are bounded: a client cannot make an entry long.
package accesslog
