// Package apitest runs the real API on a real Unix socket over instances and logs that
// are kept in memory, for the tests of its clients.
package apitest
