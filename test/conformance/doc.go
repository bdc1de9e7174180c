// Package conformance has what is true of every way in for HTTP, whatever code serves it:
// tables of messages as attackers and broken programs send them, from the client's side and
// from the app's, and what must become of each. A Front says how to get at one.
//
// The rule of the tables: a message that two programs could understand differently is refused
// with a closed connection, or it is passed on in a form that nobody can misunderstand, which
// is compared with what the app has received, byte by byte.
package conformance
