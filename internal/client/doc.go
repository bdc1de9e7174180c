// Package client is the Go client of the daemon's API, on its Unix socket.
//
// # Invariants
//
//   - What the daemon refuses comes back as the *tenant.Error that the daemon had, with
//     its code, texts and log lines, and without its cause.
//   - What goes wrong on the way is a *tenant.Error too: that nobody answers is
//     ErrNoDaemon, that the socket may not be used is fs.ErrPermission, by errors.Is.
//   - Questions have a bound of their own. What wakes or stops an instance takes as long
//     as the daemon, which bounds each wait, allows, or as the context.
package client
