package thump

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// prefetchDefault keeps a consumer busy across a round trip at full speed, and
// is what RabbitMQ 4 caps a quorum queue's consumer at.
const prefetchDefault = 2000

// batchAutoAck is MaxBatch's default where there is no prefetch.
const batchAutoAck = 2000

// ConsumerConfig says what to consume and how.
type ConsumerConfig struct {
	From Target

	// Prefetch is how many deliveries may be unsettled at a time (basic.qos).
	// Default 2000; at most 65535. With AutoAck it does not apply. It is for
	// queues: a stream has Credit.
	Prefetch int

	// AutoAck lets the broker forget a message as soon as it is sent: one that
	// is lost on the way, or not handled, is gone. A stream keeps its messages:
	// there, a batch counts as handled when the next is asked for.
	AutoAck bool

	// MaxBatch is the most deliveries in a Batch; default a quarter of
	// Prefetch, so that settling one batch lets the broker send more while the
	// next is handled; for a stream 1000. A batch of a stream comes from one
	// chunk.
	MaxBatch int

	// Exclusive asks to be the queue's only consumer. Quorum queues pay no
	// attention to it. It is for queues.
	Exclusive bool

	// Tag is the consumer tag, for queues; default "thump".
	Tag string

	// Arguments go with basic.consume, for instance x-priority; for queues.
	Arguments Table

	// Stream is for a stream or super stream, and has to be zero for others.
	Stream StreamConsuming
}

// Consumer receives from one queue, stream or super stream on connections of its
// own. One goroutine at a time may receive; settling is safe for concurrent use.
//
// It ends with its connection, or when the broker cancels it. What was not
// settled by then is delivered again, to whoever consumes next; a stream
// delivers to each consumer from where it asks to begin.
type Consumer struct {
	client *Client
	cfg    ConsumerConfig
	engine consumeEngine

	closing atomic.Bool
	closed  chan struct{} // Close has returned
	turn    chan struct{} // holds a token while nobody receives

	// untracked says that nothing is asked of the settling: a stream keeps its
	// messages, and without a Name there is no offset to store.
	untracked bool

	last *Batch // of whoever has the turn

	mu         sync.Mutex
	unfinished []*Batch // handed out, not fully settled, oldest first
}

// Consumer opens a connection and starts consuming on it; for a super stream,
// one for each partition.
func (c *Client) Consumer(ctx context.Context, cfg ConsumerConfig) (*Consumer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	con := &Consumer{client: c, cfg: cfg, turn: make(chan struct{}, 1), closed: make(chan struct{})}
	con.turn <- struct{}{}
	con.untracked = cfg.From.streams() && cfg.Stream.Name == ""
	var err error
	if cfg.From.streams() {
		con.engine, err = c.streamConsumer(ctx, con)
	} else {
		con.engine, err = c.amqpConsumer(ctx, &con.cfg)
	}
	if err != nil {
		return nil, err
	}
	if err := c.join(con); err != nil {
		con.engine.close(ctx)
		return nil, err
	}
	return con, nil
}

func (cfg *ConsumerConfig) validate() error {
	var faults []error
	if cfg.From.streams() {
		return errors.Join(cfg.validateStream()...)
	}
	if cfg.From.kind != targetQueue || cfg.From.name == "" {
		faults = append(faults, errors.New("thump: ConsumerConfig.From is neither a queue nor a stream"))
	}
	if cfg.Stream.set() {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig.Stream is set, and %v is no stream", cfg.From))
	}
	if cfg.Prefetch == 0 {
		cfg.Prefetch = prefetchDefault
	}
	if cfg.Prefetch < 0 || cfg.Prefetch > math.MaxUint16 {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig.Prefetch is %d, not between 1 and %d", cfg.Prefetch, math.MaxUint16))
	}
	if cfg.MaxBatch < 0 {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig.MaxBatch is %d", cfg.MaxBatch))
	}
	if cfg.MaxBatch == 0 {
		cfg.MaxBatch = max(1, cfg.Prefetch/4)
		if cfg.AutoAck {
			cfg.MaxBatch = batchAutoAck
		}
	}
	if cfg.Tag == "" {
		cfg.Tag = "thump"
	}
	return errors.Join(faults...)
}

// Batches yields deliveries as they come, many at a time, until the loop
// breaks, ctx ends (yielding its error), Close has drained or a stream's Until is
// reached (no error), or the consumer fails (yielding why).
func (c *Consumer) Batches(ctx context.Context) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		if err := c.takeTurn(ctx); err != nil {
			yield(nil, err)
			return
		}
		defer func() { c.turn <- struct{}{} }()
		defer c.engine.watch(ctx)()
		for {
			batch, err := c.next(ctx)
			if errors.Is(err, ErrClosed) || errors.Is(err, ErrEnd) {
				return
			}
			if !yield(batch, err) || err != nil {
				return
			}
		}
	}
}

// Receive waits for the next batch. The previous batch's bodies are no longer
// valid. After Close the error is ErrClosed; a Close in another goroutine may
// come between two calls, and what had arrived by then goes back to the queue
// (with AutoAck it is gone): a loop over Batches is what Close drains. Where a
// stream's Until is reached, the error is ErrEnd.
func (c *Consumer) Receive(ctx context.Context) (*Batch, error) {
	if err := c.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer func() { c.turn <- struct{}{} }()
	defer c.engine.watch(ctx)()
	return c.next(ctx)
}

func (c *Consumer) takeTurn(ctx context.Context) error {
	select {
	case <-c.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next takes what has come, at most MaxBatch, as a batch. The engine watches ctx.
func (c *Consumer) next(ctx context.Context) (*Batch, error) {
	batch := &Batch{consumer: c}
	if c.last != nil {
		if c.cfg.AutoAck || c.untracked {
			c.settleSilently(c.last)
		}
		if c.last.finished() {
			batch.Deliveries = c.last.Deliveries[:0] // nothing of it is needed any more
		} else {
			batch.Deliveries = make([]Delivery, 0, c.last.size)
		}
	}
	if err := c.engine.take(ctx, batch, c.cfg.MaxBatch); err != nil {
		return nil, c.explain(err)
	}
	c.last = batch
	batch.size = len(batch.Deliveries)
	if c.cfg.AutoAck || c.untracked {
		return batch, nil
	}
	batch.first, batch.open = batch.Deliveries[0].tag, batch.size
	c.mu.Lock()
	c.unfinished = append(c.unfinished, batch)
	c.mu.Unlock()
	return batch, nil
}

// settleSilently tells the engine that a batch was handled which nobody acks.
func (c *Consumer) settleSilently(b *Batch) {
	c.mu.Lock()
	c.engine.finished(b)
	c.mu.Unlock()
}

// explain says what is known of the deliveries that were handed out when the
// consumer has ended.
func (c *Consumer) explain(err error) error {
	switch {
	case errors.Is(err, ErrClosed):
		return ErrClosed
	case errors.Is(err, ErrEnd):
		return ErrEnd
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("thump: consuming from %v: %w", c.cfg.From, err)
	}
	c.mu.Lock()
	unsettled := 0
	for _, b := range c.unfinished {
		unsettled += b.open
	}
	c.mu.Unlock()
	return fmt.Errorf("thump: consuming from %v: %w; %s", c.cfg.From, err, c.engine.unknown(unsettled))
}

// Close stops the deliveries (basic.cancel), lets a loop over Batches that is
// running in another goroutine finish what has already come, makes sure that
// the broker has read every ack, and closes the connection. What was not
// settled goes back to the queue. Call it after the loop or from another
// goroutine, not inside the loop. When ctx ends first the connection is
// dropped.
func (c *Consumer) Close(ctx context.Context) error {
	if !c.closing.CompareAndSwap(false, true) {
		<-c.closed
		return nil
	}
	defer close(c.closed)
	defer c.client.leave(c)
	defer c.engine.close(ctx)
	if c.engine.lost() { // it ended before, and said so to whoever received
		return nil
	}
	if err := c.engine.stop(ctx); err != nil {
		return c.explain(err)
	}
	if err := c.takeTurn(ctx); err != nil {
		return fmt.Errorf("thump: closing the consumer of %v: waiting for the loop over its batches: %w", c.cfg.From, err)
	}
	defer func() { c.turn <- struct{}{} }()
	if (c.cfg.AutoAck || c.untracked) && c.last != nil {
		c.settleSilently(c.last)
	}
	if err := c.engine.leave(ctx); err != nil {
		return c.explain(err)
	}
	return nil
}

// Done is closed when the broker sends no more: after Close, a failure, or when
// the broker cancelled the consumer. What has come by then can be received.
func (c *Consumer) Done() <-chan struct{} { return c.engine.done() }

// Err is nil until Done is closed, then why: ErrClosed after Close.
func (c *Consumer) Err() error { return c.engine.err() }

func (c *Consumer) updateSecret(ctx context.Context, secret, reason string) error {
	return c.engine.updateSecret(ctx, secret, reason)
}

// Batch is deliveries that came together, in order. Its Deliveries, their
// bodies above all, are valid until the next batch is asked for: keep a Clone,
// never a pointer. A batch that is not fully settled can still be settled after
// that.
type Batch struct {
	Deliveries []Delivery

	// Stream is the stream that the batch is from, for a super stream's consumer
	// one of its partitions, and StoredAt when the broker stored the chunk that
	// the batch is a part of, by its own clock. Empty and zero for a queue.
	Stream   string
	StoredAt time.Time

	consumer *Consumer
	position *position // in the stream
	last     uint64    // offset: with this batch, everything up to it was handed out
	handled  bool      // settled, as far as a stream is concerned

	// Guarded by consumer.mu.
	first   uint64 // delivery tag; the tags of a batch are consecutive
	size    int
	open    int    // not settled
	settled []bool // by tag - first; nil while all or none are
	counted int    // of a stream's: so many from the first on count as handled
}

// Ack tells the broker that the deliveries of this batch that were not settled
// one by one were handled and may be forgotten (basic.ack, with multiple where
// nothing before them is unsettled). It queues the ack and does not wait. Of a
// stream, it says that this much was handled: the offset that is stored under
// the consumer's Name goes up to the first delivery that is not acked.
func (b *Batch) Ack() error { return b.settle(settleAck) }

// Nack refuses the deliveries of the batch that were not settled one by one:
// the broker dead-letters or drops them (basic.nack without requeue). A stream
// keeps its messages: that is an error there.
func (b *Batch) Nack() error { return b.settle(settleNack) }

// Requeue gives the deliveries of the batch that were not settled one by one
// back to the queue (basic.nack with requeue). That is an error for a stream.
func (b *Batch) Requeue() error { return b.settle(settleRequeue) }

// Ack settles this one delivery; see Batch.Ack. To settle a batch as a whole is
// much cheaper.
func (d *Delivery) Ack() error { return d.settle(settleAck) }

// Nack refuses this one delivery; see Batch.Nack.
func (d *Delivery) Nack() error { return d.settle(settleNack) }

// Requeue gives this one delivery back to the queue; see Batch.Requeue.
func (d *Delivery) Requeue() error { return d.settle(settleRequeue) }

type settlement uint8

const (
	settleAck settlement = iota
	settleNack
	settleRequeue
)

// finished reports whether nothing of the batch is left to settle.
func (b *Batch) finished() bool {
	b.consumer.mu.Lock()
	defer b.consumer.mu.Unlock()
	return b.open == 0
}

// settle settles the rest of the batch. One frame does it when no earlier batch
// is open; otherwise multiple would settle that one too.
func (b *Batch) settle(how settlement) error {
	c := b.consumer
	if c.cfg.AutoAck {
		return ErrAutoAck
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.untracked {
		return c.engine.settle(how, 0, true)
	}
	if b.open == 0 {
		return nil
	}
	if c.unfinished[0] == b {
		// The tag must itself be unsettled: RabbitMQ looks for exactly it.
		if err := c.engine.settle(how, b.first+uint64(b.lastOpen()), true); err != nil {
			return err
		}
	} else {
		for i := range b.size {
			if b.settled != nil && b.settled[i] {
				continue
			}
			if err := c.engine.settle(how, b.first+uint64(i), false); err != nil {
				return err
			}
		}
	}
	b.open = 0
	c.finish(b)
	return nil
}

// lastOpen is the index of the last unsettled delivery of a batch that has one.
func (b *Batch) lastOpen() int {
	last := b.size - 1
	for b.settled != nil && b.settled[last] {
		last--
	}
	return last
}

// finish forgets a batch that is settled. Consumer.mu is held.
func (c *Consumer) finish(b *Batch) {
	if i := slices.Index(c.unfinished, b); i >= 0 {
		c.unfinished = slices.Delete(c.unfinished, i, i+1)
	}
	c.engine.finished(b)
}

func (d *Delivery) settle(how settlement) error {
	b := d.batch
	if b == nil {
		return ErrSettled // from Get, which acks
	}
	c := b.consumer
	if c.cfg.AutoAck {
		return ErrAutoAck
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.untracked {
		return c.engine.settle(how, d.tag, false)
	}
	i := d.tag - b.first
	if b.open == 0 || (b.settled != nil && b.settled[i]) {
		return ErrSettled
	}
	if err := c.engine.settle(how, d.tag, false); err != nil {
		return err
	}
	if b.settled == nil {
		b.settled = make([]bool, b.size)
	}
	b.settled[i] = true
	b.open--
	if b.open == 0 {
		c.finish(b)
	} else {
		c.engine.partly(b)
	}
	return nil
}
