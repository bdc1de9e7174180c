//go:build !race

package registry

const manyInstances = 100_000
