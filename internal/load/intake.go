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
	// record enters deliveries, and comes before their ack. The bodies are not
	// kept.
	record(deliveries []thump.Delivery)
}

// intakeConfig says how to consume.
type intakeConfig struct {
	consumers int
	// consumer says how consumer i consumes.
	consumer func(i int) thump.ConsumerConfig
	// sink makes a sink for consumer i. It is called again for each further
	// stream that the consumer gets deliveries of: order is within a stream.
	sink func(i int) sink
	// hold, where set, lets the consumers take nothing before it is closed.
	hold     <-chan struct{}
	autoAck  bool // deliveries are not to be acked
	progress *Progress

	// count, where set, is how many deliveries are taken: by all consumers
	// together of a queue, by each of a stream's.
	count uint64
	each  bool

	// reached gets a value, where it has room, after each batch from which on
	// progress has counted goal deliveries or more: whoever waits for the end
	// is not woken for every batch before.
	reached chan<- struct{}
	goal    *atomic.Uint64
}

// intake is a number of consumers that run until close, or to their end.
type intake struct {
	cfg       intakeConfig
	cancel    context.CancelFunc
	consumers []*taker
	wg        sync.WaitGroup
	failed    chan struct{} // closed at the first error
	ended     chan struct{} // closed when every consumer has come to its end

	mu          sync.Mutex
	err         error
	first, last time.Time
}

// taker is one consumer of an intake.
type taker struct {
	con     *thump.Consumer
	newSink func() sink
	sinks   map[string]sink // by stream
	tickets *atomic.Int64   // how many more deliveries may be taken; nil for any number

	// read is, for each stream, the offset behind the latest delivery. Guarded by
	// intake.mu.
	read map[string]uint64
}

// openIntake connects the consumers and starts them.
func openIntake(ctx context.Context, client *thump.Client, cfg intakeConfig) (*intake, error) {
	ctx, cancel := context.WithCancel(ctx)
	in := &intake{cfg: cfg, cancel: cancel, failed: make(chan struct{}), ended: make(chan struct{})}
	tickets := in.newTickets()
	for i := range cfg.consumers {
		con, err := client.Consumer(ctx, cfg.consumer(i))
		if err != nil {
			in.end(err)
			return nil, in.close(ctx)
		}
		if i > 0 && cfg.each {
			tickets = in.newTickets()
		}
		in.consumers = append(in.consumers, &taker{
			con: con, newSink: func() sink { return cfg.sink(i) }, sinks: make(map[string]sink),
			tickets: tickets, read: make(map[string]uint64),
		})
	}
	for _, t := range in.consumers {
		in.wg.Go(func() { in.end(in.consume(ctx, t)) })
	}
	go func() {
		in.wg.Wait()
		close(in.ended)
	}()
	return in, nil
}

func (in *intake) newTickets() *atomic.Int64 {
	if in.cfg.count == 0 {
		return nil
	}
	tickets := new(atomic.Int64)
	tickets.Store(int64(in.cfg.count))
	return tickets
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
	for _, t := range in.consumers {
		wg.Go(func() {
			if err := t.con.Close(ctx); err != nil && !errors.Is(err, thump.ErrClosed) {
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

// leastRead is the offset of a stream below which every consumer has read
// everything; 0 where one of them has read nothing yet.
func (in *intake) leastRead(stream string) uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	least := in.consumers[0].read[stream]
	for _, t := range in.consumers {
		least = min(least, t.read[stream])
	}
	return least
}

func (in *intake) consume(ctx context.Context, t *taker) error {
	if in.cfg.hold != nil {
		select {
		case <-in.cfg.hold:
		case <-ctx.Done():
			return nil
		}
	}
	// Not Receive: Close lets a loop over Batches take what has already come.
	for batch, err := range t.con.Batches(ctx) {
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		now := time.Now()
		n := t.take(len(batch.Deliveries))
		t.sink(batch.Stream).record(batch.Deliveries[:n])
		in.note(t, batch, now, n)
		if err := in.settle(batch, n); err != nil {
			return err
		}
	}
	return nil
}

// sink returns the sink for what comes from a stream; "" for a queue.
func (t *taker) sink(stream string) sink {
	s, there := t.sinks[stream]
	if !there {
		s = t.newSink()
		t.sinks[stream] = s
	}
	return s
}

// take returns how many of n deliveries this process is to have.
func (t *taker) take(n int) int {
	if t.tickets == nil {
		return n
	}
	left := t.tickets.Add(-int64(n))
	if left >= 0 {
		return n
	}
	return max(0, n+int(left))
}

// note counts the first n deliveries of a batch that came at the given time.
func (in *intake) note(t *taker, batch *thump.Batch, now time.Time, n int) {
	if n > 0 {
		in.mu.Lock()
		if in.first.IsZero() {
			in.first = now
		}
		in.last = now
		if batch.Stream != "" {
			t.read[batch.Stream] = batch.Deliveries[n-1].Offset + 1
		}
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
