package streamproto

import (
	"flag"
	"os"
	"runtime"
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
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	// The worst is a list of nulls: a byte each, for 16 of memory, and what
	// growing leaves behind makes it 90. The rest is for errors and for other
	// goroutines.
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(128*size+64<<10); got > limit {
		t.Errorf("%d bytes of input made it allocate %d, limit %d", size, got, limit)
	}
}
