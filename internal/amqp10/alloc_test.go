package amqp10

import (
	"testing"

	"github.com/thumpmq/thump/internal/mutate"
)

// checkAllocation runs f and fails if it allocated more than a small multiple of
// size, the number of bytes that it was given to read.
func checkAllocation(t testing.TB, size int, f func()) {
	t.Helper()
	before := mutate.Allocated()
	f()
	// The worst is a list of nulls: a byte each, for 16 of memory, and the smaller
	// slices that it outgrew make that 90. The MiB is for errors, for other
	// goroutines, and for memory that is counted late: it is, a span at a time.
	if got, limit := mutate.Allocated()-before, uint64(128*size+1<<20); got > limit {
		t.Errorf("%d bytes of input made it allocate %d, limit %d", size, got, limit)
	}
}
