// Package keeper is the privileged half of Tenement: it makes instances' accounts,
// directories and units, and takes them away again. Local does it within the calling
// process.
//
// What it owns: the units called tenement-SERVICE@NAME and their slices, the uid
// range from FirstUID on with its records in /run/userdb, the instances' directories
// below the data directory, the doorbells and socket directories below the runtime
// directory, the secrets in .secrets below the data directory, and the nftables table "inet tenement". It touches nothing else.
//
// The ports of instances with an account of their own are in that table for as long as
// their units are loaded, whether or not a keeper runs, and so are the daemon's that are
// closed to them: see fence.
package keeper
