// Package install puts the files of an installation onto a machine, and takes them away
// again, for people without a package manager.
//
// What it writes it notes, with a checksum, in RecordPath. From that follows all that it
// may do: it replaces and removes files that are as it wrote them, leaves alone those of
// the administrator's that have been changed, and refuses, before it has changed anything,
// where a file is somebody else's. One that another package brings and nobody has changed, as
// Caddy's Caddyfile, is put aside, and comes back when ours goes. To do the same twice changes nothing.
package install
