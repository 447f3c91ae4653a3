package load

import (
	"testing"

	"github.com/thumpmq/thump/internal/ledger"
)

func TestBodyBytes(t *testing.T) {
	for _, count := range []uint64{1, 9, 10, 11, 99, 100, 1000, 12345} {
		var want uint64
		format := ledger.Tutorial(ledger.Plan{Count: count, Publishers: 1})
		for n := uint64(1); n <= count; n++ {
			body, _ := format.AppendRun(nil, n, 1, nil)
			want += uint64(len(body))
		}
		cfg := SendConfig{Count: count}
		if got := cfg.bodyBytes(); got != want {
			t.Errorf("%d messages: got %d, want %d", count, got, want)
		}
	}
	cfg := SendConfig{Count: MaxCount, BodyBytes: 100}
	if got := cfg.bodyBytes(); got != MaxCount*100 {
		t.Errorf("got %d", got)
	}
}

// TestStreamBytes holds the estimate to what RabbitMQ was seen to store.
func TestStreamBytes(t *testing.T) {
	tests := []struct {
		name     string
		cfg      SendConfig
		subEntry int
		min, max uint64
	}{
		// "Message 1" to "Message 1000000" are 13.9 MB.
		{"batches", SendConfig{Count: 1_000_000}, 500, 22_800_000, 23_500_000},
		{"entries", SendConfig{Count: 1_000_000}, 1, 22_800_000, 36_000_000},
		{"large bodies", SendConfig{Count: 1000, BodyBytes: 10_000}, 500, 10_000_000, 10_100_000},
		{"several sizes", SendConfig{Count: 1000, Sizes: Sizes{Shares: []Share{{Bytes: 100, Weight: 1}, {Bytes: 10_000, Weight: 3}}}}, 500, 7_525_000, 7_700_000},
		{"one", SendConfig{Count: 1}, 500, 18, 300},
	}
	for _, tt := range tests {
		if got := tt.cfg.StreamBytes(tt.subEntry); got < tt.min || got > tt.max {
			t.Errorf("%s: got %d, want %d to %d", tt.name, got, tt.min, tt.max)
		}
	}
}
