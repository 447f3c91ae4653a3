package streamproto

import (
	"flag"
	"os"
	"runtime/metrics"
	"testing"
)

// TestMain adds -update, which rewrites the golden files in testdata.
func TestMain(m *testing.M) {
	flag.Bool("update", false, "rewrite the golden files in testdata")
	os.Exit(m.Run())
}

// frameOf reads the one frame that b is.
func frameOf(t testing.TB, b []byte) Frame {
	t.Helper()
	f, n, err := ParseFrame(b, Limits{})
	if err != nil || n != len(b) {
		t.Fatalf("% x reads as a frame of %d bytes, %v", b, n, err)
	}
	return f
}

// checkAllocation runs f and fails if it allocated more than a small multiple of
// size, the number of bytes that it was given to read.
func checkAllocation(t testing.TB, size int, f func()) {
	t.Helper()
	before := allocated()
	f()
	// The worst is an array of empty strings or properties: 2 bytes of input for
	// each 16 of memory. The MiB is for errors, for other goroutines, and for memory
	// that is counted late: it is, a span at a time.
	if got, limit := allocated()-before, uint64(32*size+1<<20); got > limit {
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
