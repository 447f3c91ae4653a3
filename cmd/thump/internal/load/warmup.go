package load

import (
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// warm is how far a run was when its warm-up was over. What came before is accounted for, and is
// left out of rates and latencies: these are of messages that were sent, or due, after it.
type warm struct {
	at                        time.Time
	sent, confirmed, received uint64
}

// warmedUp notes that the warm-up is over.
func (p *Progress) warmedUp() {
	p.warm.Store(&warm{at: time.Now(), sent: p.published.Load(), confirmed: p.confirmed.Load(), received: p.received.Load()})
}

// rateAfter is the rate of what came between first and last and, where there is a warm-up, after it;
// before is how much of it came by then. It is nil where nothing is known.
func (cfg *SendConfig) rateAfter(count *uint64, first, last time.Time, before func(*warm) uint64) *float64 {
	if cfg.WarmUp == 0 {
		return result.Rate(count, seconds(last.Sub(first)))
	}
	w := cfg.Progress.warm.Load()
	if w == nil || !last.After(w.at) {
		return nil
	}
	if first.Before(w.at) {
		first = w.at
	}
	return result.Rate(new(*count-min(*count, before(w))), seconds(last.Sub(first)))
}
