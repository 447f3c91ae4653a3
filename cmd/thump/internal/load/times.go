package load

import (
	"sync"
	"time"

	"github.com/thumpmq/thump/internal/ledger"
)

// sentTimes is when the messages of a run were sent, or with a schedule, when they were to be
// sent. Messages have no room for it: the tutorial's bodies stay as they are. Of a schedule
// nothing is kept, since it says when a message is due; else there is one time for each batch,
// eight bytes of memory. It is safe for concurrent use.
type sentTimes struct {
	plan     ledger.Plan
	schedule *Schedule // nil for as fast as possible
	batch    uint64    // messages of a batch; every publisher's last one may have fewer

	mu         sync.RWMutex
	begin      time.Time
	publishers [][]*timesChunk
	batches    []uint64 // of each publisher
}

// timesChunk is the times of a number of batches, since the beginning. A list of chunks grows
// without copying the times.
type timesChunk [1024]time.Duration

func newSentTimes(plan ledger.Plan, schedule *Schedule, batch int) *sentTimes {
	return &sentTimes{
		plan: plan, schedule: schedule, batch: uint64(batch),
		publishers: make([][]*timesChunk, plan.Publishers), batches: make([]uint64, plan.Publishers),
	}
}

// start says when the first message may be sent, before it is.
func (t *sentTimes) start(begin time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin = begin
}

// sending notes that the publisher is about to send its next batch. With a schedule it does
// nothing.
func (t *sentTimes) sending(publisher int, now time.Time) {
	if t.schedule != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	chunks, n := t.publishers[publisher], t.batches[publisher]
	if n%uint64(len(timesChunk{})) == 0 {
		chunks = append(chunks, new(timesChunk))
		t.publishers[publisher] = chunks
	}
	chunks[n/uint64(len(timesChunk{}))][n%uint64(len(timesChunk{}))] = now.Sub(t.begin)
	t.batches[publisher]++
}

// stopwatch says how long messages took. It remembers where it is in a schedule, so whoever
// asks has one of its own.
type stopwatch struct {
	times    *sentTimes
	arrivals arrivals
	took     []took
}

func (t *sentTimes) stopwatch() *stopwatch {
	return &stopwatch{times: t, arrivals: arrivals{schedule: t.schedule}}
}

// stop notes that messages have come, or were confirmed, at that time: first to last of a
// publisher, counted from 0. Messages that were never sent are passed over: somebody else's
// may look like them.
func (w *stopwatch) stop(publisher int, first, last uint64, now time.Time) {
	t := w.times
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.begin.IsZero() {
		return
	}
	at := now.Sub(t.begin)
	if t.schedule != nil {
		for n := first; n <= last; n++ {
			w.took = append(w.took, took{at - w.arrivals.at(slot(n, publisher, t.plan.Publishers)), 1})
		}
		return
	}
	chunks := t.publishers[publisher]
	for first <= last {
		batch := first / t.batch
		if batch >= t.batches[publisher] {
			return
		}
		end := min(last, (batch+1)*t.batch-1)
		sent := chunks[batch/uint64(len(timesChunk{}))][batch%uint64(len(timesChunk{}))]
		w.took = append(w.took, took{at - sent, end - first + 1})
		first = end + 1
	}
}

// record hands over what was stopped since it was called last.
func (w *stopwatch) record(l *latencies) {
	l.record(w.took)
	w.took = w.took[:0]
}
