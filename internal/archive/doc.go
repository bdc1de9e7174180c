// Package archive turns the data of an instance into a tar archive and back.
//
// An archive is a tar file compressed with zstd. It begins with tenement.json, a
// tenant.Backup; then come data/, the directory, and what is in it; SHA256SUMS is last,
// with a line for each file as sha256sum(1) writes it, in the archive's order. So tar(1)
// and sha256sum read it without us.
//
// Invariants:
//
//   - Data is hostile, and its owner may change it while it is copied: nothing in it is
//     reached by a path, no link is followed, and what is opened is looked at again.
//   - An archive is hostile, too. Unpack makes nothing outside of its directory, nothing
//     but files, directories and links, nothing that another archive's entry is reached
//     through but directories of its own making, and no more than it was told to expect.
//     Owners, setuid bits and times of the future are not taken from it.
//   - What does not match the checksums is an error, and so is an archive without them.
package archive
