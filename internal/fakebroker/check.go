package fakebroker

import (
	"runtime"
	"testing"
	"time"
)

// CheckMemory runs f and makes sure that the whole program, the scripts included,
// allocates at most limit bytes meanwhile. No other test runs beside it, unless it
// is parallel.
func CheckMemory(t testing.TB, limit uint64, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > limit {
		t.Errorf("%d bytes were allocated, more than %d", got, limit)
	}
}

// CheckGoroutines runs f, which uses real sockets, and makes sure that no
// goroutine of it is left afterwards.
func CheckGoroutines(t testing.TB, f func()) {
	t.Helper()
	before := runtime.NumGoroutine()
	f()
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
}
