// Package units knows how an instance looks to systemd: what its units are called
// and which properties they get. It is pure: it renders, and does nothing.
//
// An instance is a pair of transient units: a socket, its doorbell, and a service of
// the same name that the socket starts. Which properties a service gets follows from
// its tenant.Spec and from what the machine can do (Host). Render never leaves out a
// property that the isolation level promises because the machine lacks it: it says
// so in an error.
package units
