// Package takeover tries Tenement as its package installs it, with the privileges in two
// processes: whether it works, and what somebody gets who has taken over the one that the
// internet talks to. docs/security.md has what that comes to.
package takeover
