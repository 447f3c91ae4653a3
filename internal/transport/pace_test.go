package transport

import (
	"testing"
	"time"
)

// TestPace feeds the pace reads of 10 deliveries each and looks at what it says
// after 10 ms.
func TestPace(t *testing.T) {
	const each = 10
	tests := []struct {
		name     string
		every    time.Duration // between two reads
		bytes    int           // of a read
		prefetch int
		want     bool
	}{
		{"fast and small", 100 * time.Microsecond, 1000, 0, true},
		{"slow", time.Millisecond, 1000, 0, false},
		{"fast and large", 100 * time.Microsecond, 10_000, 0, false},
		{"a prefetch with room", 100 * time.Microsecond, 1000, 2000, true},
		{"a prefetch that would run out", 100 * time.Microsecond, 1000, 200, false},
		{"one at a time", 20 * time.Millisecond, 1000, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(0, 0)
			p := pace{since: now}
			got := false
			for end := now.Add(10 * time.Millisecond); now.Before(end); {
				p.count(each, tt.prefetch)
				p.bytes += tt.bytes
				now = now.Add(tt.every)
				got = p.pause(now) || got
			}
			if got != tt.want {
				t.Errorf("paused: %v, want %v", got, tt.want)
			}
		})
	}
}
