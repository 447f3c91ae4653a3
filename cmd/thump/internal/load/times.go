package load

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump/internal/ledger"
)

// sentTimes is when the messages of a run were sent, or with a schedule, when they were to be
// sent. Messages have no room for it: the tutorial's bodies stay as they are. Of a schedule
// nothing is kept, since it says when a message is due; else there is one time for each batch,
// until nobody asks for it any more. It is safe for concurrent use.
type sentTimes struct {
	plan     ledger.Plan
	schedule *Schedule // nil for as fast as possible
	batch    uint64    // messages of a batch; every publisher's last one may have fewer
	// asked is how often each message is asked for: once for its confirm, and once by each reader.
	asked uint64

	mu         sync.RWMutex
	begin      time.Time
	warmUp     time.Duration // of what was sent, or due, by then nobody wants to know how long it took
	publishers []publisherTimes
}

// publisherTimes is when the batches of a publisher were sent.
type publisherTimes struct {
	chunks  []*timesChunk // nil for one that is dropped
	dropped uint64        // how many chunks there were before these
	batches uint64        // of all chunks
}

// chunkBatches is how many batches a chunk has.
const chunkBatches = 1024

// timesChunk is the times of a number of batches, since the beginning. It is dropped when all of
// its messages were asked for, so that what stays is about the messages that are in the queue.
// One that is lost keeps its chunk.
type timesChunk struct {
	sent [chunkBatches]time.Duration
	left atomic.Int64 // how often messages will be asked for
}

// newSentTimes makes times for batches of so many messages, of which each is asked for that often.
func newSentTimes(plan ledger.Plan, schedule *Schedule, batch, asked int) *sentTimes {
	return &sentTimes{
		plan: plan, schedule: schedule, batch: uint64(batch), asked: uint64(asked),
		publishers: make([]publisherTimes, plan.Publishers),
	}
}

// start says when the first message may be sent, before it is.
func (t *sentTimes) start(begin time.Time, warmUp time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin, t.warmUp = begin, warmUp
}

// sending notes that the publisher is about to send its next batch. With a schedule it does
// nothing, and neither where nobody asks.
func (t *sentTimes) sending(publisher int, now time.Time) {
	if t.schedule != nil || t.asked == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.publishers[publisher]
	if p.batches%chunkBatches == 0 {
		c := new(timesChunk)
		c.left.Store(int64(chunkBatches * t.batch * t.asked))
		p.chunks = append(p.chunks, c)
	}
	if c := p.chunk(p.batches); c != nil { // somebody else's messages may look like these, and have been asked for
		c.sent[p.batches%chunkBatches] = now.Sub(t.begin)
	}
	p.batches++
}

// chunk is the one that has the batch; nil if it is dropped.
func (p *publisherTimes) chunk(batch uint64) *timesChunk {
	n := batch / chunkBatches
	if n < p.dropped {
		return nil
	}
	return p.chunks[n-p.dropped]
}

// drop drops the chunk that has the batch.
func (t *sentTimes) drop(publisher int, batch uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := &t.publishers[publisher]
	if n := batch / chunkBatches; n >= p.dropped {
		p.chunks[n-p.dropped] = nil
	}
	for len(p.chunks) > 0 && p.chunks[0] == nil {
		p.chunks = p.chunks[1:]
		p.dropped++
	}
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
	at, began, warmUp := now.Sub(t.begin), !t.begin.IsZero(), t.warmUp
	t.mu.RUnlock()
	switch {
	case !began:
	case t.schedule != nil:
		for n := first; n <= last; n++ {
			if due := w.arrivals.at(slot(n, publisher, t.plan.Publishers)); due >= warmUp {
				w.took = append(w.took, took{at - due, 1})
			}
		}
	default:
		t.ask(publisher, first, last, 1, func(sent time.Duration, n uint64) {
			if sent >= warmUp {
				w.took = append(w.took, took{at - sent, n})
			}
		})
	}
}

// pass says that messages will be asked for so many times less: they were sent, and neither are
// confirmed nor will come, or have expired.
func (w *stopwatch) pass(publisher int, first, last, times uint64) {
	if w.times.schedule == nil {
		w.times.ask(publisher, first, last, times, func(time.Duration, uint64) {})
	}
}

// ask tells when each of the batches was sent that messages are of, and how many are of it. They
// are asked for so many times at once.
func (t *sentTimes) ask(publisher int, first, last, times uint64, tell func(sent time.Duration, n uint64)) {
	var over []uint64 // batches of chunks that nobody will ask for again
	t.mu.RLock()
	p := &t.publishers[publisher]
	for first <= last && first/t.batch < p.batches {
		batch := first / t.batch
		end := min(last, (batch+1)*t.batch-1)
		if c := p.chunk(batch); c != nil {
			n := end - first + 1
			tell(c.sent[batch%chunkBatches], n)
			if c.left.Add(-int64(n*times)) <= 0 {
				over = append(over, batch)
			}
		}
		first = end + 1
	}
	t.mu.RUnlock()
	for _, batch := range over {
		t.drop(publisher, batch)
	}
}

// record hands over what was stopped since it was called last.
func (w *stopwatch) record(l *latencies) {
	l.record(w.took)
	w.took = w.took[:0]
}
