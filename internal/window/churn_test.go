package window

import (
	"runtime"
	"testing"
)

// TestWindowsComeAndGo: what windows that are gone have used does not add up. With a pool in
// each, every garbage collection took those since the one before for used.
func TestWindowsComeAndGo(t *testing.T) {
	message := make([]byte, 30<<10)
	var most uint64
	for range 200 {
		for range 200 {
			w := New(Config{Messages: 100, Bytes: 1 << 20})
			call := w.NewCall(1)
			call.left = 0
			call.Release()
			s := new(Store)
			s.Add(message)
			s.Drop(1)
		}
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapAlloc)
	}
	if most > 32<<20 {
		t.Errorf("the heap was of %d MiB", most>>20)
	}
}
