// Command build makes the packages of Tenement, a .deb and an .rpm for each architecture:
// `make package` runs it. The same commit gives the same bytes: files have the time of the
// commit, programs no paths of this machine, and nothing is taken from the environment but
// the Go that compiles.
package main
