package load

import (
	"fmt"
	"testing"
	"time"
)

// TestPhasesBegun asks in pieces, and after the sending has ended.
func TestPhasesBegun(t *testing.T) {
	t.Parallel()
	begin := time.Now().Add(-time.Hour)
	texts := func(p *Progress, known int, after time.Duration) string {
		var said []string
		for _, b := range p.PhasesBegun(known, begin.Add(after)) {
			said = append(said, fmt.Sprintf("%v %s", b.At.Sub(begin), b.Text))
		}
		return fmt.Sprint(said)
	}
	p := new(Progress)
	if got := texts(p, 0, time.Second); got != "[]" {
		t.Errorf("without a schedule: %s", got)
	}
	p.pace.Store(newPace(mustParse(t, "1k:10s,5k:30s,1k..20k:60s"), begin, 1))
	for _, tt := range []struct {
		known int
		after time.Duration
		want  string
	}{
		{0, -time.Second, "[]"},
		{0, 0, "[0s 1 of 3: 1k:10s]"},
		{1, 9 * time.Second, "[]"},
		{1, time.Minute, "[10s 2 of 3: 5k:30s 40s 3 of 3: 1k..20k:1m0s]"},
		{3, time.Hour, "[]"},
	} {
		if got := texts(p, tt.known, tt.after); got != tt.want {
			t.Errorf("after %v, without %d: %s, want %s", tt.after, tt.known, got, tt.want)
		}
	}
	ended := begin.Add(20 * time.Second) // as --count ends it
	p.sendingEnded.Store(&ended)
	if got := texts(p, 1, time.Minute); got != "[10s 2 of 3: 5k:30s]" {
		t.Errorf("after the end: %s", got)
	}
	p = new(Progress)
	p.pace.Store(newPace(mustParse(t, "1k"), begin, 1))
	if got := texts(p, 0, time.Minute); got != "[]" {
		t.Errorf("of one phase: %s", got)
	}
}
