// Package wire has the JSON that the daemon's API speaks, as Go types: what
// internal/api writes and internal/client reads. It has no logic, so that neither side
// imports the other.
//
// Within /api/v1 fields are added, never renamed, removed or given another meaning.
// Moments are RFC 3339 with their fraction; durations are milliseconds, in fields that
// end in _ms.
package wire
