package load

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
)

// sink records deliveries: a ledger's consumer, or a tally's.
type sink interface {
	// Add reads one delivery; the body is not kept.
	Add(body []byte, redelivered bool)
	// Commit records what was added. It comes before the ack.
	Commit()
}

// intakeConfig says how to consume.
type intakeConfig struct {
	queue     string
	consumers int
	prefetch  int
	autoAck   bool
	progress  *Progress
	sink      func() sink // called once for each consumer
	// tickets, where set, are how many more deliveries may be taken.
	tickets *atomic.Int64
	// reached gets a value, where it has room, after each batch from which on
	// progress has counted goal deliveries or more: whoever waits for the end
	// is not woken for every batch before.
	reached chan<- struct{}
	goal    *atomic.Uint64
}

// intake is a number of consumers of one queue that run until close.
type intake struct {
	cfg       intakeConfig
	cancel    context.CancelFunc
	consumers []*thump.Consumer
	wg        sync.WaitGroup
	failed    chan struct{} // closed at the first error

	mu          sync.Mutex
	err         error
	first, last time.Time
}

// openIntake connects the consumers and starts them. They run until close.
func openIntake(ctx context.Context, client *thump.Client, cfg intakeConfig) (*intake, error) {
	ctx, cancel := context.WithCancel(ctx)
	in := &intake{cfg: cfg, cancel: cancel, failed: make(chan struct{})}
	for range cfg.consumers {
		con, err := client.Consumer(ctx, thump.ConsumerConfig{
			From:     thump.Queue(cfg.queue),
			Prefetch: cfg.prefetch,
			AutoAck:  cfg.autoAck,
		})
		if err != nil {
			in.end(err)
			return nil, in.close(ctx)
		}
		in.consumers = append(in.consumers, con)
		s := cfg.sink()
		in.wg.Go(func() { in.end(in.consume(ctx, con, s)) })
	}
	return in, nil
}

// end notes why a consumer ended.
func (in *intake) end(err error) {
	if err == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
		close(in.failed)
	}
}

// close ends the consumers in order: no more is delivered, everything that has
// come is recorded and acked, and the broker has read every ack. Afterwards
// nothing is on its way to this process. When ctx ends first the connections
// are dropped. The error is why a consumer failed, now or before.
func (in *intake) close(ctx context.Context) error {
	defer in.cancel()
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, con := range in.consumers {
		wg.Go(func() {
			if err := con.Close(ctx); err != nil && !errors.Is(err, thump.ErrClosed) {
				in.end(err)
			}
		})
	}
	wg.Wait()
	in.cancel()
	in.wg.Wait()
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}

// times returns when the first and the last delivery so far came.
func (in *intake) times() (first, last time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.first, in.last
}

func (in *intake) consume(ctx context.Context, con *thump.Consumer, s sink) error {
	// Not Receive: Close lets a loop over Batches take what has already come.
	for batch, err := range con.Batches(ctx) {
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		now := time.Now()
		n := in.take(len(batch.Deliveries))
		for i := range batch.Deliveries[:n] {
			d := &batch.Deliveries[i]
			s.Add(d.Body, d.Redelivered)
		}
		s.Commit()
		in.note(now, n)
		if err := in.settle(batch, n); err != nil {
			return err
		}
	}
	return nil
}

// take returns how many of n deliveries this process is to have.
func (in *intake) take(n int) int {
	if in.cfg.tickets == nil {
		return n
	}
	left := in.cfg.tickets.Add(-int64(n))
	if left >= 0 {
		return n
	}
	return max(0, n+int(left))
}

func (in *intake) note(now time.Time, n int) {
	if n > 0 {
		in.mu.Lock()
		if in.first.IsZero() {
			in.first = now
		}
		in.last = now
		in.mu.Unlock()
	}
	if in.cfg.progress.received.Add(uint64(n)) < in.cfg.goal.Load() {
		return
	}
	select {
	case in.cfg.reached <- struct{}{}:
	default:
	}
}

// settle acks the first n deliveries of the batch. The others stay unsettled,
// which makes the broker keep to the prefetch, and go back to the queue when
// the consumer closes; given back now they would come again at once.
func (in *intake) settle(batch *thump.Batch, n int) error {
	if in.cfg.autoAck {
		return nil
	}
	if n == len(batch.Deliveries) {
		return batch.Ack()
	}
	for i := range batch.Deliveries[:n] {
		if err := batch.Deliveries[i].Ack(); err != nil {
			return err
		}
	}
	return nil
}
