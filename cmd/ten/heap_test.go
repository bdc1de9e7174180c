package main

import "testing"

func TestGCPercent(t *testing.T) {
	for heap, want := range map[uint64]int{0: 100, 10 << 20: 100, 20 << 20: 80, 32 << 20: 50, 64 << 20: 25, 1 << 30: 25} {
		if got := gcPercent(heap); got != want {
			t.Errorf("%d MiB: got %d, want %d", heap>>20, got, want)
		}
	}
}
