// Package registry keeps what must survive everything: which instances exist, their
// ports, when they were last used and how often they woke. It is one SQLite file.
//
// Invariants:
//   - What a method has acknowledged is still there after kill -9 of the daemon, and after a
//     power failure: a token that was revoked stays so. The journal is a write-ahead log with
//     synchronous=FULL (sqlite.org/pragma.html). Only ports and activity do not wait for the
//     disk: of those a power failure may take the last moments, but the file is sound.
//   - Counters and the time of the last activity never go backwards.
//   - Limits that are read back can be set.
//   - What was used on a day only grows, and outlasts its instance.
//   - A port belongs to one instance at most.
//   - A file that is damaged, of another program, or of a newer Tenement is refused and
//     left exactly as it was. Before an older file is migrated a copy is put beside it,
//     named by its schema version: registry.db.v1.bak.
//   - What is read is checked: an ID from here is as good as one from tenant.ParseID.
//
// Nothing here keeps two daemons from one file; who opens it has made sure of that.
package registry
