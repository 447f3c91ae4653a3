package load

import "testing"

// TestReceiveMaxBatch: what the output has at a time does not grow with what is held besides.
func TestReceiveMaxBatch(t *testing.T) {
	t.Parallel()
	queue := Queue{Name: "q", Prefetch: 65535}
	for _, test := range []struct {
		from      Place
		max, want int
	}{
		{queue, 0, 16383}, {queue, 1, 1}, {Stream{Name: "s"}, 0, streamBatch}, {Stream{Name: "s"}, 50, 50},
	} {
		cfg := ReceiveConfig{From: test.from, Output: struct{ Output }{}, MaxBatch: test.max}
		if got := cfg.consumer(0, 1).MaxBatch; got != test.want {
			t.Errorf("%v with %d: batches of %d, want %d", test.from, test.max, got, test.want)
		}
	}
}
