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
	Queue     string
	Consumers int
	Prefetch  int // unsettled deliveries for each consumer
	AutoAck   bool

	// Count ends the receiving after so many messages, and takes no more than
	// them off the queue; 0 for no limit. It can't go with AutoAck, which
	// leaves the broker free to send any number.
	Count uint64
	// Idle ends the receiving when nothing has come for so long; 0 for never.
	Idle time.Duration

	// Progress is told of every batch; it must not be nil.
	Progress *Progress
}

// Received is what came.
type Received struct {
	Tally ledger.TallyCounts
	// First and Last are when the first and the last delivery came, or zero.
	First, Last time.Time
}

// tallySink makes a sink of a tally's consumer, which does not ask whether a
// message was redelivered.
type tallySink struct{ *ledger.TallyConsumer }

func (s tallySink) Add(body []byte, _ bool) { s.TallyConsumer.Add(body) }

// Receive receives and acks until the count is reached, the queue is idle, stop
// is closed, or a consumer fails. What it has received by then is in Received,
// whatever the error.
func Receive(ctx context.Context, client *thump.Client, cfg ReceiveConfig, stop <-chan struct{}) (Received, error) {
	tally := ledger.NewTally()
	reached := make(chan struct{}, 1)
	in := intakeConfig{
		queue: cfg.Queue, consumers: cfg.Consumers, prefetch: cfg.Prefetch, autoAck: cfg.AutoAck,
		progress: cfg.Progress, reached: reached, goal: new(atomic.Uint64),
		sink: func() sink { return tallySink{tally.Consumer()} },
	}
	in.goal.Store(math.MaxUint64)
	if cfg.Count > 0 {
		in.goal.Store(cfg.Count)
		in.tickets = new(atomic.Int64)
		in.tickets.Store(int64(cfg.Count))
		in.prefetch = int(min(uint64(cfg.Prefetch), cfg.Count))
	}
	intake, err := openIntake(ctx, client, in)
	if err != nil {
		return Received{}, err
	}
	waitReceived(ctx, intake, cfg, reached, stop)
	err = intake.close(ctx)
	first, last := intake.times()
	if err == nil {
		err = ctx.Err()
	}
	return Received{Tally: tally.Counts(), First: first, Last: last}, err
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
		case <-stop:
			return
		case <-in.failed:
			return
		case <-ctx.Done():
			return
		}
	}
}
