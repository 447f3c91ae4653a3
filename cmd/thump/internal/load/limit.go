package load

import (
	"context"
	"sync"
	"time"
)

// consumeBurst is how much of what consumers were too slow for they may catch up with. What was not
// there in time is not made up for.
const consumeBurst = 10 * time.Millisecond

// consumeTogether is how long the messages take that a consumer takes as one batch.
const consumeTogether = time.Millisecond

// limit is the rate at which all consumers together take messages. It is safe for concurrent use.
type limit struct {
	rate     float64 // messages a second
	progress *Progress

	mu   sync.Mutex
	next time.Time // when the next message may be taken
}

// newLimit makes a limit; nil for a rate of 0, which is none.
func newLimit(rate float64, progress *Progress) *limit {
	if rate == 0 {
		return nil
	}
	return &limit{rate: rate, progress: progress}
}

// together is the most messages that a consumer may take as one batch.
func (l *limit) together() int { return max(1, int(l.rate*consumeTogether.Seconds())) }

// await waits until n messages more may be taken, or stop is closed, or ctx ends.
func (l *limit) await(ctx context.Context, n int, stop <-chan struct{}) {
	due := l.book(n, time.Now())
	for left := time.Until(due); left > 0 && !stopped(stop) && ctx.Err() == nil; left = time.Until(due) {
		l.progress.working.Add(1)
		if left <= napMost {
			nap(left)
		} else {
			rest(ctx, stop, left-napMost/2)
		}
		l.progress.working.Add(-1)
	}
}

// book says when n messages may be taken that somebody asks for now.
func (l *limit) book(n int, now time.Time) (due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if earliest := now.Add(-consumeBurst); l.next.Before(earliest) {
		l.next = earliest
		if l.rate*consumeBurst.Seconds() < 1 { // not even one message at a time
			l.next = now
		}
	}
	due = l.next
	l.next = due.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	return due
}

// rest returns after that time, or when stop is closed, or ctx ends.
func rest(ctx context.Context, stop <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop:
	case <-ctx.Done():
	}
}
