package streamproto

import (
	"flag"
	"os"
	"testing"

	"github.com/thumpmq/thump/internal/mutate"
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
	before := mutate.Allocated()
	f()
	// The worst is an array of empty strings or properties: 2 bytes of input for
	// each 16 of memory. The MiB is for errors, for other goroutines, and for memory
	// that is counted late: it is, a span at a time.
	if got, limit := mutate.Allocated()-before, uint64(32*size+1<<20); got > limit {
		t.Errorf("%d bytes of input made it allocate %d, limit %d", size, got, limit)
	}
}
