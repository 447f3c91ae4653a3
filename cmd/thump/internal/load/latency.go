package load

import (
	"sync"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/latency"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// latencies gathers how long messages took. It is safe for concurrent use. The zero value is
// ready for use, and takes its memory with the first message.
type latencies struct {
	mu       sync.Mutex
	whole    *latency.Histogram // of all but those of interval
	interval *latency.Histogram // since take was called last
}

// took is n messages that took d each.
type took struct {
	d time.Duration
	n uint64
}

// record adds messages: a batch of them at a time, because it takes a lock.
func (l *latencies) record(messages []took) {
	if len(messages) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.interval == nil {
		l.whole, l.interval = latency.New(), latency.New()
	}
	for _, m := range messages {
		l.interval.Record(m.d, m.n)
	}
}

// take returns the percentiles of what was recorded since it was called last; nil if nothing
// was.
func (l *latencies) take() *result.Percentiles {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken()
}

// taken is take, for who has the lock.
func (l *latencies) taken() *result.Percentiles {
	if l.interval == nil {
		return nil
	}
	p := l.interval.Percentiles()
	l.whole.Add(l.interval)
	l.interval.Reset()
	return p
}

// latency is that of all messages; nil if there was none. fromIntended says what it counts
// from.
func (l *latencies) latency(fromIntended bool) *result.Latency {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken()
	if l.whole == nil {
		return nil
	}
	latency := l.whole.Latency()
	if latency != nil {
		latency.FromIntended = fromIntended
	}
	return latency
}

// each calls f with each latency that was recorded, in seconds, and with the number of messages.
func (l *latencies) each(f func(seconds float64, n uint64)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range []*latency.Histogram{l.whole, l.interval} {
		if h != nil {
			h.Each(f)
		}
	}
}
