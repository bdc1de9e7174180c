// Package dashboard is the part of the daemon that people see in a browser: what runs, why,
// what it prints, and the switches for it.
//
// Invariants:
//
//   - It knows and changes nothing by itself. Every page and every action is a request to
//     the management API, made within the process with the token of whoever is signed in:
//     who may do what is said there, once, and a token that is revoked or expires is out
//     with the next request, and its streams end.
//   - A browser never gets a token back. It has the random name of a session, in a cookie
//     that no script can read and no other site can have sent; sessions are in memory, are
//     bounded in number, and end after sessionLife or with the daemon.
//   - What changes something is a POST from a page of this origin with the session's own
//     word in it.
//   - No page asks for anything elsewhere, or has a script or a style in its text: the
//     Content-Security-Policy says so. All that comes from apps, visitors and tenants is
//     text: html/template writes it.
//   - A page has one stream, which sends what has changed and nothing else. Looking at an
//     instance never wakes it, and does not keep it awake.
//   - Charts are drawn from samples in memory: maxSeries instances, keptSamples each.
package dashboard
