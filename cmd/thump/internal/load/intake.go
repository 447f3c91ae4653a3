package load

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
)

// sink records deliveries: a ledger's consumer, or a tally's.
type sink interface {
	// record is called before the deliveries are acked, which came at that time. It must not
	// keep the bodies. It says whether some of them are foreign.
	record(deliveries []thump.Delivery, now time.Time) (foreign bool)
}

// intakeConfig says how to consume.
type intakeConfig struct {
	consumers int
	// aside is how many there are besides, of what was not received: consumer and sink number them
	// after the others.
	aside int
	// consumer is how consumer i of several consumes.
	consumer func(i, of int) thump.ConsumerConfig
	// sink makes a sink for consumer i. Another is made for each further stream that
	// the consumer gets deliveries from: order is within a stream.
	sink func(i int, stream string) sink
	// recovers says that it does not matter where a connection is lost while its consumer
	// closes: what is left comes to others.
	recovers bool
	// hold, if set, keeps the consumers from taking anything until it is closed.
	hold     <-chan struct{}
	progress *Progress
	output   Output // nil to throw away what comes
	patient  bool   // close waits for the output for as long as that takes
	// selection says which messages are wanted; nil for all.
	selection *Selection
	// foreign says which deliveries of a queue are not acked, of those whose sink says that there
	// are some. They go back when the consumers close.
	foreign func(thump.Delivery) bool
	work    Work
	// pollInterval is Place's.
	pollInterval time.Duration

	// count, if not 0, is how many deliveries to take: all consumers together, or, if
	// each is set, every consumer.
	count uint64
	each  bool

	// expectedSeen gets a value, if it has room, after each batch with which the
	// deliveries that progress counts are expected or more. So whoever waits for the
	// end is not woken for every batch before.
	expectedSeen chan<- struct{}
	expected     *atomic.Uint64
}

// written is some deliveries of a batch, or the whole batch, which an output has, or nobody
// wants. It can be acked when its deliveries are no longer valid.
type written struct {
	batch      *thump.Batch
	count      int // of its deliveries
	whole      bool
	deliveries []thump.Delivery // of a part
}

// intake is a number of consumers. They run until close is called, or until each
// has come to its end.
type intake struct {
	cfg    intakeConfig
	cancel context.CancelFunc
	takers []*taker
	wg     sync.WaitGroup
	failed chan struct{} // closed at the first error
	cut    atomic.Bool   // a connection was lost while its consumer closed
	ended  chan struct{} // closed when every consumer has come to its end
	limit  *limit        // of all consumers together; nil for none

	mu          sync.Mutex
	err         error
	first, last time.Time // when the first and the last delivery came, or zero
	seen        time.Time // when the last one came, wanted or not
}

// taker is one consumer of an intake.
type taker struct {
	how     thump.ConsumerConfig
	con     *thump.Consumer
	autoAck bool // deliveries need no ack
	newSink func(stream string) sink
	sinks   map[string]sink // by stream; "" for a queue
	tickets *atomic.Int64   // how many more deliveries may be taken; nil for any number

	// read is, by stream, the offset after the latest delivery. intake.mu guards it.
	read map[string]uint64

	aside  bool    // what it takes was not received
	acker  *acker  // where there is an output
	worker *worker // where there is work
	poller *poller // where it polls

	stop chan struct{}  // closed when it is to take no more
	over chan struct{}  // closed when it takes no more; nil before it has begun
	rest []*thump.Batch // what was not to be taken is unsettled; without their deliveries

	selection *Selection
	prefetch  int    // how many deliveries may be unsettled
	held      int    // deliveries of rest that are
	lost      uint64 // connections, until rest began
}

// await waits until a taker takes no more, and says whether it does before ctx ends.
func (t *taker) await(ctx context.Context) bool {
	if t.over == nil {
		return false
	}
	select {
	case <-t.over:
		return true
	case <-ctx.Done():
		return false
	}
}

// giveRest gives back what was not to be taken, once the taker takes no more.
func (t *taker) giveRest(ctx context.Context) {
	if !t.await(ctx) || t.con.ReleaseAll(ctx) == nil {
		return
	}
	for _, batch := range t.rest { // of a stream
		_ = batch.Release() // it goes back in any case
	}
}

// openIntake connects the consumers and starts them.
func openIntake(ctx context.Context, client *thump.Client, cfg intakeConfig) (*intake, error) {
	ctx, cancel := context.WithCancel(ctx)
	in := &intake{cfg: cfg, cancel: cancel, failed: make(chan struct{}), ended: make(chan struct{}), limit: newLimit(cfg.work.Rate, cfg.progress)}
	in.connect(ctx, client)
	if stopped(in.failed) {
		return nil, in.close(ctx, closeTimeout)
	}
	cfg.progress.consumersOpened()
	for _, t := range in.takers {
		t.over = make(chan struct{})
		in.wg.Go(func() {
			defer close(t.over)
			in.fail(in.consume(ctx, t))
		})
	}
	go func() {
		in.wg.Wait()
		close(in.ended)
	}()
	return in, nil
}

// connect connects the consumers, some at a time, until one fails.
func (in *intake) connect(ctx context.Context, client *thump.Client) {
	takers := make([]*taker, in.cfg.consumers+in.cfg.aside)
	tickets := in.newTickets()
	for i := range takers {
		if i > 0 && in.cfg.each {
			tickets = in.newTickets()
		}
		takers[i] = in.newTaker(i, tickets)
	}
	_ = Together(len(takers), func(i int) (err error) {
		if !stopped(in.failed) {
			takers[i].con, err = client.Consumer(ctx, takers[i].how)
			in.fail(err)
		}
		return err
	})
	in.takers = slices.DeleteFunc(takers, func(t *taker) bool { return t.con == nil })
}

// newTaker makes the taker of consumer i, which is not connected yet.
func (in *intake) newTaker(i int, tickets *atomic.Int64) *taker {
	cfg := &in.cfg
	how := cfg.consumer(i, cfg.consumers)
	how.ReuseBuffers = true // a sink keeps no body
	switch {
	case how.Poll: // one message at a time, anyway
	case cfg.work.Most > 0:
		how.MaxBatch = 1 // each is acked when its work is done
	case in.limit != nil:
		how.MaxBatch = in.limit.together()
	}
	t := &taker{
		how: how, autoAck: how.AutoAck, newSink: func(stream string) sink { return cfg.sink(i, stream) }, sinks: make(map[string]sink),
		tickets: tickets, read: make(map[string]uint64), stop: make(chan struct{}),
		selection: cfg.selection, prefetch: how.Prefetch, aside: i >= cfg.consumers,
	}
	if cfg.work.any() && !t.aside {
		t.worker = &worker{Work: &cfg.work, progress: cfg.progress, stop: t.stop, tickets: tickets}
	}
	if how.Poll {
		t.poller, t.prefetch = &poller{cfg.pollInterval, cfg.progress}, math.MaxInt // what it holds limits nothing
	}
	return t
}

func (in *intake) newTickets() *atomic.Int64 {
	if in.cfg.count == 0 {
		return nil
	}
	tickets := new(atomic.Int64)
	tickets.Store(int64(in.cfg.count))
	return tickets
}

// fail notes why a consumer ended, unless err is nil.
func (in *intake) fail(err error) {
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

// close ends the consumers in order: nothing more is delivered, everything that has
// come is recorded and acked, and the broker has read every ack. After that nothing
// is on its way to this process. If ctx ends first, or the time is over, it drops the
// connections. The error is why a consumer failed, now or before.
func (in *intake) close(ctx context.Context, timeout time.Duration) error {
	defer in.cancel()
	var wg sync.WaitGroup
	for _, t := range in.takers {
		wg.Go(func() {
			t.con.Stop()
			close(t.stop)
			if in.cfg.patient {
				t.await(ctx) // the output, and nothing else, has all the time that it wants
			}
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			t.giveRest(ctx)
			err := t.con.Close(ctx)
			switch {
			case err == nil || errors.Is(err, thump.ErrClosed):
			case in.cfg.recovers && thump.Temporary(err) && ctx.Err() == nil:
				in.cut.Store(true)
			default:
				in.fail(err)
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

// times returns when the first and the last delivery so far came, or zero.
func (in *intake) times() (first, last time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.first, in.last
}

// held is how many deliveries the consumers have not settled, which go back.
func (in *intake) held() (n uint64) {
	for _, t := range in.takers {
		n += uint64(t.held)
	}
	return n
}

// flush flushes the consumers, for as long as it may take to close them, and closes what it
// returns after that.
func (in *intake) flush(ctx context.Context) <-chan struct{} {
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		ctx, cancel := context.WithTimeout(ctx, closeTimeout)
		defer cancel()
		var all sync.WaitGroup
		for _, t := range in.takers {
			all.Go(func() { _ = t.con.Flush(ctx) }) // a consumer that has failed says so itself
		}
		all.Wait()
	}()
	return flushed
}

// lastSeen returns when the last delivery came, wanted or not, or zero.
func (in *intake) lastSeen() time.Time {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.seen
}

// leastRead is the offset of a stream below which every consumer has read
// everything; 0 if one of them has read nothing yet.
func (in *intake) leastRead(stream string) uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	least := in.takers[0].read[stream]
	for _, t := range in.takers {
		least = min(least, t.read[stream])
	}
	return least
}

func (in *intake) consume(ctx context.Context, t *taker) error {
	if in.cfg.hold != nil {
		select {
		case <-in.cfg.hold:
		case <-t.stop:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
	if in.cfg.output != nil {
		t.acker = newAcker(in, t)
		defer func() { in.fail(t.acker.close()) }()
	}
	// Stop ends the loop; with AutoAck once it has taken what has already come.
	for batch, err := range t.con.Batches(ctx) {
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if t.poller != nil && !t.poller.answered(ctx, len(batch.Deliveries), t.stop) {
			continue
		}
		if in.limit != nil && !t.aside {
			in.limit.await(ctx, len(batch.Deliveries), t.stop)
		}
		now := time.Now()
		taken, acked, err := in.choose(t, batch)
		if err != nil {
			return err
		}
		if in.cfg.output != nil && len(taken) > 0 {
			if err := in.cfg.output.Write(batch, taken); err != nil {
				t.giveBack(batch) // what of it is not settled: closing would wait for that
				return err
			}
		}
		kept := taken
		if t.worker != nil {
			if kept, err = t.worker.handle(ctx, kept); err != nil {
				return err
			}
		}
		foreign := t.sink(batch.Stream).record(kept, now)
		in.count(t, batch.Stream, taken, len(kept), now)
		if foreign && batch.Stream == "" && !t.autoAck {
			acked = slices.DeleteFunc(slices.Clone(acked), in.cfg.foreign)
			if t.worker != nil {
				t.worker.spare(in.cfg.foreign)
			}
		}
		if t.worker != nil {
			if err := t.worker.reject(); err != nil {
				return err
			}
		}
		if err := in.settle(t, handled(batch, acked)); err != nil {
			return err
		}
		if len(acked) < len(batch.Deliveries) && !t.autoAck {
			if err := t.keep(batch, len(acked)); err != nil {
				return err
			}
		}
		if t.poller != nil {
			t.awaitEnd(ctx)
		}
	}
	return nil
}

// settle acks what was recorded and, where there is an output, is safe there.
func (in *intake) settle(t *taker, w written) error {
	if t.acker == nil {
		return in.ack(t, w)
	}
	return t.acker.add(w)
}

// ack acks what was written of a batch.
func (in *intake) ack(t *taker, w written) error {
	err := t.ack(w)
	switch {
	case errors.Is(err, thump.ErrStale): // it comes again; if nothing does, the loop says why
		in.cfg.progress.stale()
		return nil
	case errors.Is(err, thump.ErrSettled): // by the output
		return nil
	}
	return err
}

// sink returns the sink for what comes from a stream; "" for a queue.
func (t *taker) sink(stream string) sink {
	s, there := t.sinks[stream]
	if !there {
		s = t.newSink(stream)
		t.sinks[stream] = s
	}
	return s
}

// take returns how many of n deliveries this process may take. It takes no more tickets than there are:
// one that comes back is for another delivery.
func (t *taker) take(n int) int {
	if t.tickets == nil {
		return n
	}
	for {
		left := t.tickets.Load()
		taken := min(left, int64(n))
		if t.tickets.CompareAndSwap(left, left-taken) {
			return int(taken)
		}
	}
}

// count counts what was taken of a stream, "" for a queue, and came at the given time. Of these
// so many were kept; what goes back is not received.
func (in *intake) count(t *taker, stream string, taken []thump.Delivery, kept int, now time.Time) {
	n := len(taken)
	in.mu.Lock()
	in.seen = now
	if n > 0 && !t.aside {
		if in.first.IsZero() || now.Before(in.first) { // another taker may have been quicker
			in.first = now
		}
		if now.After(in.last) {
			in.last = now
		}
		if stream != "" {
			t.read[stream] = max(t.read[stream], taken[n-1].Offset+1)
		}
	}
	in.mu.Unlock()
	if !t.aside {
		in.cfg.progress.received.Add(uint64(kept))
	}
	if in.cfg.progress.over() < in.cfg.expected.Load() {
		return
	}
	select {
	case in.cfg.expectedSeen <- struct{}{}:
	default:
	}
}

// ack acks what was written of a batch. The others stay unsettled, so that
// the prefetch keeps the broker from sending more. They go back to the queue when
// the consumer closes: given back now, they would come again at once.
func (t *taker) ack(w written) error {
	if t.autoAck {
		return nil
	}
	if w.whole {
		return w.batch.Ack()
	}
	for i := range w.deliveries {
		if err := w.deliveries[i].Ack(); err != nil && !errors.Is(err, thump.ErrSettled) {
			return err
		}
	}
	return nil
}
