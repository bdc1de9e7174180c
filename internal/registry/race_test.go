//go:build race

package registry

// manyInstances is smaller here: SQLite in Go is some twenty times slower with the race
// detector.
const manyInstances = 5_000
