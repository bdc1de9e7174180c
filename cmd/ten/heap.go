package main

import (
	"runtime"
	"runtime/debug"
)

const (
	// manyInstances is from how many on most of the heap is what is known of sleepers.
	manyInstances = 10_000
	// leastGCPercent is for a heap of which most stays as it is: half as much again would
	// only be garbage (runtime/debug, SetGCPercent).
	leastGCPercent = 25
	// leastGarbage is what there may be of it in any case, in bytes: less would have the
	// collector run more often than it is worth.
	leastGarbage = 16 << 20
)

// saveMemory keeps the memory of a daemon with many instances near what it needs, and gives
// back what reading the registry has taken.
func saveMemory(instances int) {
	if instances < manyInstances {
		return
	}
	debug.FreeOSMemory() // it also collects what is garbage by now
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	debug.SetGCPercent(gcPercent(m.HeapAlloc))
}

// gcPercent is how much garbage there may be, in percent of a heap of so many bytes.
func gcPercent(heap uint64) int {
	return int(min(max(leastGarbage*100/max(heap, 1), leastGCPercent), 100))
}
