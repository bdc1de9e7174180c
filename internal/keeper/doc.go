// Package keeper is the privileged half of Tenement: it makes instances' accounts,
// directories and units, and takes them away again. Local does it within the calling
// process.
//
// What it owns: the units called tenement-SERVICE@NAME and their slices, the uid
// range from FirstUID on with its records in /run/userdb, the instances' directories
// below the data directory, and the doorbells and socket directories below the
// runtime directory. It touches nothing else.
package keeper
