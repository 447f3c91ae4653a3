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

// checkAllocation runs f and fails when it allocated more than a small multiple
// of size, the number of bytes it was given to read.
func checkAllocation(t testing.TB, size int, f func()) {
	t.Helper()
	before := allocated()
	f()
	// The worst is a list of nulls: a byte each, for 16 of memory, and what
	// growing leaves behind makes it 90. The MiB is for errors, for other
	// goroutines, and for what is counted late: memory is, a span at a time.
	if got, limit := allocated()-before, uint64(128*size+1<<20); got > limit {
		t.Errorf("%d bytes of input made it allocate %d, limit %d", size, got, limit)
	}
}

// allocated is how many bytes were allocated so far. Unlike runtime.ReadMemStats
// it does not stop the world, which would be most of what a fuzz target does.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
