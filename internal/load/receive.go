package load

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/ledger"
)

// ReceiveConfig says what to receive and until when.
type ReceiveConfig struct {
	From      Place
	Consumers int
	Prefetch  int // unsettled deliveries for each consumer of a queue
	AutoAck   bool

	// Stream says how to consume from a stream or super stream. Of several
	// consumers with a name each gets a number at its end.
	Stream thump.StreamConsuming

	// Count ends the receiving after so many messages, and takes no more than
	// them off the queue; every consumer of a stream takes so many. 0 for no
	// limit. It can't go with AutoAck, which leaves the broker free to send any
	// number.
	Count uint64
	// Idle ends the receiving when nothing has come for so long; 0 for never.
	Idle time.Duration

	// Progress is told of every batch; it must not be nil.
	Progress *Progress
}

// Received is what came.
type Received struct {
	// Tallies are what came from the queue, or to each consumer of the stream.
	Tallies []ledger.TallyCounts
	// First and Last are when the first and the last delivery came, or zero.
	First, Last time.Time
}

// Total is the number of deliveries.
func (r Received) Total() uint64 {
	var n uint64
	for _, t := range r.Tallies {
		n += t.Received
	}
	return n
}

// tallySink records deliveries with a tally's consumer, which does not ask
// whether a message was redelivered.
type tallySink struct{ consumer *ledger.TallyConsumer }

func (s *tallySink) record(deliveries []thump.Delivery) {
	for i := range deliveries {
		s.consumer.Add(deliveries[i].Body)
	}
	s.consumer.Commit()
}

// Receive receives and acks until the count is reached, nothing has come for the
// idle time, everything has come that was stored until Stream.Until, stop is
// closed, or a consumer fails. What it has received by then is in Received,
// whatever the error.
func Receive(ctx context.Context, client *thump.Client, cfg ReceiveConfig, stop <-chan struct{}) (Received, error) {
	tallies := make([]*ledger.Tally, 1)
	if cfg.From.Streams() {
		tallies = make([]*ledger.Tally, cfg.Consumers)
	}
	for i := range tallies {
		tallies[i] = ledger.NewTally()
	}
	reached := make(chan struct{}, 1)
	in := intakeConfig{
		consumers: cfg.Consumers, consumer: cfg.consumer, autoAck: cfg.AutoAck,
		sink:  func(i int) sink { return &tallySink{tallies[min(i, len(tallies)-1)].Consumer()} },
		count: cfg.Count, each: cfg.From.Streams(),
		progress: cfg.Progress, reached: reached, goal: new(atomic.Uint64),
	}
	in.goal.Store(math.MaxUint64)
	if cfg.Count > 0 {
		in.goal.Store(cfg.Count * uint64(len(tallies)))
	}
	intake, err := openIntake(ctx, client, in)
	if err != nil {
		return Received{}, err
	}
	waitReceived(ctx, intake, cfg, reached, stop)
	err = intake.close(ctx)
	got := Received{}
	got.First, got.Last = intake.times()
	for _, t := range tallies {
		got.Tallies = append(got.Tallies, t.Counts())
	}
	if err == nil {
		err = ctx.Err()
	}
	return got, err
}

// consumer says how consumer i consumes.
func (cfg *ReceiveConfig) consumer(i int) thump.ConsumerConfig {
	if cfg.From.Streams() {
		stream := cfg.Stream
		stream.Name = numbered(stream.Name, i, cfg.Consumers > 1)
		return thump.ConsumerConfig{From: cfg.From.target(), MaxBatch: streamBatch, Stream: stream}
	}
	prefetch := cfg.Prefetch
	if cfg.Count > 0 {
		prefetch = int(min(uint64(prefetch), cfg.Count))
	}
	return thump.ConsumerConfig{From: cfg.From.target(), Prefetch: prefetch, AutoAck: cfg.AutoAck}
}

// waitReceived returns when there is a reason to end.
func waitReceived(ctx context.Context, in *intake, cfg ReceiveConfig, reached, stop <-chan struct{}) {
	var idle <-chan time.Time
	if cfg.Idle > 0 {
		// A few looks in the time are enough to see when the last message came.
		tick := time.NewTicker(max(time.Millisecond, cfg.Idle/20))
		defer tick.Stop()
		idle = tick.C
	}
	began := time.Now()
	for {
		select {
		case <-reached:
			return
		case <-idle:
			latest := began
			if _, last := in.times(); !last.IsZero() {
				latest = last
			}
			if time.Since(latest) >= cfg.Idle {
				return
			}
		case <-in.ended:
			return
		case <-stop:
			return
		case <-in.failed:
			return
		case <-ctx.Done():
			return
		}
	}
}
