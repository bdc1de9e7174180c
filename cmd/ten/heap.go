package main

import "runtime/debug"

const (
	// manyInstances is from how many on most of the heap is what is known of sleepers.
	manyInstances = 10_000
	// gcPercent is for a heap of which most stays as it is: half as much again would only be
	// garbage (runtime/debug, SetGCPercent).
	gcPercent = 25
)

// saveMemory keeps the memory of a daemon with many instances near what it needs, and gives
// back what reading the registry has taken.
func saveMemory(instances int) {
	if instances < manyInstances {
		return
	}
	debug.SetGCPercent(gcPercent)
	debug.FreeOSMemory()
}
