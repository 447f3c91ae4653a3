package amqp10

import (
	"runtime/metrics"
	"testing"
)

// checkAllocation runs f and fails if it allocated more than a small multiple of
// size, the number of bytes that it was given to read.
func checkAllocation(t testing.TB, size int, f func()) {
	t.Helper()
	before := allocated()
	f()
	// The worst is a list of nulls: a byte each, for 16 of memory, and the smaller
	// slices that it outgrew make that 90. The MiB is for errors, for other
	// goroutines, and for memory that is counted late: it is, a span at a time.
	if got, limit := allocated()-before, uint64(128*size+1<<20); got > limit {
		t.Errorf("%d bytes of input made it allocate %d, limit %d", size, got, limit)
	}
}

// allocated is how many bytes were allocated so far. Unlike runtime.ReadMemStats it
// does not stop the world, which would take most of a fuzz target's time.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
