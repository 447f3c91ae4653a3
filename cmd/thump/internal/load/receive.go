package load

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/ledger"
)

// ReceiveConfig says what to receive and when to end.
type ReceiveConfig struct {
	From      Place
	Consumers int

	// Count ends the receiving after this many messages, and takes no more than
	// these off a queue. Every consumer of a stream takes as many. 0 is for no limit.
	// It does not work with AutoAck, which lets the broker send any number.
	Count uint64
	// Idle ends the receiving when nothing has come for this long, and nothing is on its way
	// from a queue; 0 for never.
	Idle time.Duration

	// Latency tells how long messages took that say when they were sent: see
	// SendConfig.Latency.
	Latency bool

	// Output, if set, has what is received before it is acked.
	Output Output
	// MaxBatch is how many deliveries the output has at most at a time, which are acked after
	// that; 0 for what suits the place, with a queue a quarter of the prefetch.
	MaxBatch int
	// Patient lets the end wait until the output has taken what it is given, whatever that
	// takes: a message that is worked on when the connection is dropped comes again.
	Patient bool

	// Selection, if set, says which messages are wanted: Count is of those. It does not work
	// with AutoAck, and one that holds the others not with Work.Requeue.
	Selection *Selection

	// Work is what the consumers do with a message where there is no Output. What they give back does
	// not count, and while one is at its work it is not idle.
	Work Work

	// Progress is updated with every batch. It must not be nil.
	Progress *Progress
}

// Output is where received messages go. It is used by several consumers at a time.
type Output interface {
	// Write takes deliveries of a batch. It must not keep them. It may settle some; the
	// others are acked.
	Write(batch *thump.Batch, deliveries []thump.Delivery) error
	// Sync returns once what was written is safe: deliveries are acked after that. An
	// error of either ends the receiving, and what is not acked stays in the queue.
	Sync() error
}

// Describe notes the settings of the receiving side.
func (cfg *ReceiveConfig) Describe(s *result.Settings) {
	s.Count, s.Consumers = cfg.Count, cfg.Consumers
	cfg.From.receiving(s)
	cfg.Work.describe(s)
}

// Total is the number of deliveries at which the receiving ends, over all
// consumers; 0 for no limit.
func (cfg *ReceiveConfig) Total() uint64 {
	return cfg.Count * uint64(cfg.From.Readers(cfg.Consumers))
}

// Tally is what the numbers in the tutorial's bodies tell about what came.
type Tally = ledger.TallyCounts

// Receive receives and acks, with buffers that are used again
// (thump.ConsumerConfig.ReuseBuffers), until the count is reached, nothing has come
// for the idle time, everything has come that a stream stored before its Until, stop is
// closed, or a consumer fails. It writes what came to r, together with the verdict,
// and returns the tallies: one for a queue, one for each consumer of a stream.
//
// The error is why a consumer failed. It is in the verdict too.
func Receive(ctx context.Context, client *thump.Client, cfg ReceiveConfig, r *result.Run, stop <-chan struct{}) ([]Tally, error) {
	rec := &receiver{cfg: cfg, client: client}
	rec.clocks.client, rec.clocks.waited = client, rec.waited
	err := rec.receive(ctx, stop)
	rec.record(r)
	total := cfg.Total()
	judge(r, err, stopped(stop) && (total == 0 || *r.Received < total))
	return rec.counts, err
}

// receiver is a Receive. Its results are there once receive has returned.
type receiver struct {
	cfg    ReceiveConfig
	client *thump.Client

	counts      []Tally
	redelivered atomic.Uint64
	first, last time.Time // when the first and the last delivery came, or zero
	clocks      clocks
	stamped     stamped
}

func (rec *receiver) receive(ctx context.Context, stop <-chan struct{}) error {
	cfg := &rec.cfg
	tallies := make([]*ledger.Tally, cfg.From.Readers(cfg.Consumers))
	for i := range tallies {
		tallies[i] = ledger.NewTally()
	}
	seen, expected := make(chan struct{}, 1), new(atomic.Uint64)
	expected.Store(math.MaxUint64)
	if cfg.Count > 0 {
		expected.Store(cfg.Total())
	}
	in, err := openIntake(ctx, rec.client, intakeConfig{
		consumers: cfg.Consumers, consumer: cfg.consumer,
		sink: func(i int, _ string) sink {
			counted := &tallySink{tallies[cfg.From.reader(i)].Consumer(), &rec.redelivered}
			if !cfg.Latency {
				return counted
			}
			return &stampSink{tallySink: counted, ctx: ctx, receiver: rec}
		},
		count: cfg.Count, each: len(tallies) > 1, output: cfg.Output, patient: cfg.Patient, selection: cfg.Selection, work: cfg.Work,
		pollInterval: cfg.From.pollInterval(),
		progress:     cfg.Progress, expectedSeen: seen, expected: expected,
	})
	if err != nil {
		return err
	}
	rec.wait(ctx, in, seen, stop)
	timeout := closeTimeout
	if stopped(stop) {
		timeout = stoppedTimeout
	}
	err = in.close(ctx, timeout)
	rec.first, rec.last = in.times()
	for _, t := range tallies {
		rec.counts = append(rec.counts, t.Counts())
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

// consumer is how consumer i of several consumes: from a queue it prefetches no
// more than it may take.
func (cfg *ReceiveConfig) consumer(i, of int) thump.ConsumerConfig {
	how := cfg.From.consumer(i, of)
	if how.Poll { // one message at a time, and none ahead
		return how
	}
	if cfg.Count > 0 && cfg.Selection == nil {
		how.Prefetch = int(min(uint64(how.Prefetch), cfg.Count))
	}
	if cfg.Output != nil && how.MaxBatch == 0 {
		how.MaxBatch = max(1, how.Prefetch/4) // each batch is made safe by itself
	}
	if cfg.Output != nil && cfg.MaxBatch > 0 {
		how.MaxBatch = min(how.MaxBatch, cfg.MaxBatch)
	}
	return how
}

// wait returns when there is a reason to end.
func (rec *receiver) wait(ctx context.Context, in *intake, seen, stop <-chan struct{}) {
	var idle <-chan time.Time
	if rec.cfg.Idle > 0 {
		// A few looks within the time are enough to see when the last message came.
		tick := time.NewTicker(max(time.Millisecond, rec.cfg.Idle/20))
		defer tick.Stop()
		idle = tick.C
	}
	began := time.Now()
	silent := func() bool {
		if rec.cfg.Progress.away() || rec.cfg.Progress.working.Load() > 0 {
			began = time.Now() // nothing can come, or what has come takes its time
		}
		latest := began
		if seen := in.lastSeen(); seen.After(began) {
			latest = seen
		}
		return time.Since(latest) >= rec.cfg.Idle
	}
	var flushing <-chan struct{}
	var flushed time.Time // zero: not since something came
	for {
		select {
		case <-idle:
			switch {
			case !silent():
				flushed = time.Time{}
			case flushing != nil:
			case flushed.IsZero():
				flushing = in.flush(ctx) // what is on its way comes before the answer
			case time.Since(flushed) >= rec.cfg.Idle/4: // so long for the consumers to take it
				return
			}
		case <-flushing:
			flushing, flushed = nil, time.Now()
		case <-seen:
			return
		case <-in.ended:
			return
		case <-in.failed:
			return
		case <-stop:
			return
		case <-ctx.Done():
			return
		}
	}
}

// record writes what came to r.
func (rec *receiver) record(r *result.Run) {
	var received uint64
	for _, c := range rec.counts {
		received += c.Received
	}
	r.Received = &received
	rec.cfg.Progress.recordOutages(r)
	rec.cfg.Progress.recordGets(r, rec.cfg.From)
	rec.cfg.Progress.recordWork(r, &rec.cfg.Work)
	r.Redelivered = new(rec.redelivered.Load())
	if rec.cfg.Latency {
		rec.recordLatency(r)
	}
	recordTimes(r, rec.first, rec.last)
	r.TotalSeconds = r.ReceiveSeconds
}

// recordTimes writes how long the deliveries took that r counts. first and last are
// zero if there was none.
func recordTimes(r *result.Run, first, last time.Time) {
	if first.IsZero() {
		return
	}
	r.ReceiveSeconds = seconds(last.Sub(first))
	r.ReceiveRatePerSecond = result.Rate(r.Received, r.ReceiveSeconds)
}

// tallySink records deliveries in a tally, and counts those that were redelivered.
type tallySink struct {
	consumer    *ledger.TallyConsumer
	redelivered *atomic.Uint64
}

func (s *tallySink) record(deliveries []thump.Delivery, _ time.Time) (foreign bool) {
	var redelivered uint64
	for i := range deliveries {
		s.consumer.Add(deliveries[i].Body)
		if deliveries[i].Redelivered {
			redelivered++
		}
	}
	s.consumer.Commit()
	if redelivered > 0 {
		s.redelivered.Add(redelivered)
	}
	return false
}
