// Package hostile lets a tenant try everything on its neighbour, on the daemon and on the
// machine, under the default isolation level: what is refused must be refused with the
// error that says so, and what cannot be refused must do no harm.
package hostile
