// Package packaging has the files that an installation of Tenement consists of beside its
// programs: units, users, directories, the default tenement.toml, the scripts that packages
// run. `make package` puts them into .deb and .rpm, `ten install` onto the machine: there is
// one list, so both are the same installation.
//
// Paths and contents are fixed: the same source gives the same bytes.
package packaging
