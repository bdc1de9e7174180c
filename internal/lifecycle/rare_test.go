package lifecycle

import (
	"testing"
	"unsafe"
)

// An instance that only sleeps takes what its struct does and little more: of these there are
// very many. Go's allocator has a size of 416 bytes; the next one is 448.
func TestSleeperIsSmall(t *testing.T) {
	if got, want := unsafe.Sizeof(instance{}), uintptr(416); got > want {
		t.Errorf("an instance takes %d bytes, want %d at most: is it needed by one that sleeps, or rare?", got, want)
	}
}
