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

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
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
	// Default 2000; at most 65535. With AutoAck it does not apply.
	Prefetch int

	// AutoAck lets the broker forget a message as soon as it is sent: one that
	// is lost on the way, or not handled, is gone.
	AutoAck bool

	// MaxBatch is the most deliveries in a Batch; default a quarter of
	// Prefetch, so that settling one batch lets the broker send more while the
	// next is handled.
	MaxBatch int

	// Exclusive asks to be the queue's only consumer. Quorum queues pay no
	// attention to it.
	Exclusive bool

	// Tag is the consumer tag; default "thump".
	Tag string

	// Arguments go with basic.consume, for instance x-priority.
	Arguments Table
}

// Consumer receives from one queue on a connection of its own. One goroutine at
// a time may receive; settling is safe for concurrent use.
//
// It ends with its connection, or when the broker cancels it. What was not
// settled by then is delivered again, to whoever consumes next.
type Consumer struct {
	client *Client
	cfg    ConsumerConfig
	conn   *amqpconn.Conn
	ch     *amqpconn.Channel
	inbox  *amqpconn.Inbox

	closing atomic.Bool
	turn    chan struct{} // holds a token while nobody receives

	// Whoever has the turn.
	taken amqpconn.Deliveries
	last  *Batch

	mu         sync.Mutex
	unfinished []*Batch // handed out, not fully settled, oldest first
}

// Consumer opens a connection and starts consuming on it.
func (c *Client) Consumer(ctx context.Context, cfg ConsumerConfig) (*Consumer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	conn, err := c.dialFor(ctx)
	if err != nil {
		return nil, err
	}
	con := &Consumer{client: c, cfg: cfg, conn: conn, turn: make(chan struct{}, 1)}
	con.turn <- struct{}{}
	if err := con.open(ctx); err != nil {
		goodbye(ctx, conn)
		return nil, fmt.Errorf("thump: consumer of %v: %w", cfg.From, public(err))
	}
	if err := c.join(con); err != nil {
		goodbye(ctx, conn)
		return nil, err
	}
	return con, nil
}

func (cfg *ConsumerConfig) validate() error {
	var faults []error
	if cfg.From.queue == "" {
		faults = append(faults, errors.New("thump: ConsumerConfig.From is not a queue"))
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

func (c *Consumer) open(ctx context.Context) error {
	ch, err := c.conn.Channel(ctx)
	if err != nil {
		return err
	}
	c.ch = ch
	if !c.cfg.AutoAck {
		if err := ch.Qos(ctx, uint16(c.cfg.Prefetch)); err != nil {
			return err
		}
	}
	c.inbox, err = ch.Consume(ctx, &amqpproto.BasicConsume{
		Queue: c.cfg.From.queue, ConsumerTag: c.cfg.Tag, NoAck: c.cfg.AutoAck,
		Exclusive: c.cfg.Exclusive, Arguments: c.cfg.Arguments,
	})
	return err
}

// Batches yields deliveries as they come, many at a time, until the loop
// breaks, ctx ends (yielding its error), Close has drained (no error), or the
// consumer fails (yielding why).
func (c *Consumer) Batches(ctx context.Context) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		if err := c.takeTurn(ctx); err != nil {
			yield(nil, err)
			return
		}
		defer func() { c.turn <- struct{}{} }()
		defer c.inbox.Watch(ctx)()
		for {
			batch, err := c.next(ctx)
			if errors.Is(err, ErrClosed) {
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
// (with AutoAck it is gone): a loop over Batches is what Close drains.
func (c *Consumer) Receive(ctx context.Context) (*Batch, error) {
	if err := c.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer func() { c.turn <- struct{}{} }()
	defer c.inbox.Watch(ctx)()
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

// next takes what has come, at most MaxBatch, as a batch. The inbox watches ctx.
func (c *Consumer) next(ctx context.Context) (*Batch, error) {
	var deliveries []Delivery
	if c.last != nil && c.last.finished() {
		deliveries = c.last.Deliveries[:0] // nothing of it is needed any more
	}
	if err := c.inbox.Take(ctx, &c.taken, c.cfg.MaxBatch); err != nil {
		return nil, c.explain(err)
	}
	batch := &Batch{consumer: c}
	for i := range c.taken.List {
		d := &c.taken.List[i]
		deliveries = append(deliveries, Delivery{
			Body: d.Body, Exchange: d.Exchange, RoutingKey: d.RoutingKey, Redelivered: d.Redelivered,
			tag: d.Tag, properties: d.Properties, batch: batch,
		})
	}
	batch.Deliveries = deliveries
	if !c.cfg.AutoAck {
		batch.first, batch.open = deliveries[0].tag, len(deliveries)
		batch.size = batch.open
		c.mu.Lock()
		c.unfinished = append(c.unfinished, batch)
		c.mu.Unlock()
	}
	c.last = batch
	return batch, nil
}

// explain says what is known of the deliveries that were handed out when the
// consumer has ended.
func (c *Consumer) explain(err error) error {
	err = public(err)
	if errors.Is(err, ErrClosed) {
		return ErrClosed
	}
	c.mu.Lock()
	unsettled := 0
	for _, b := range c.unfinished {
		unsettled += b.open
	}
	c.mu.Unlock()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("thump: consuming from %v: %w", c.cfg.From, err)
	}
	known := fmt.Sprintf("%d deliveries were not settled: they, and perhaps the last that were, are delivered again if the queue is still there", unsettled)
	if c.cfg.AutoAck {
		known = "deliveries that were on their way are lost (AutoAck)"
	}
	return fmt.Errorf("thump: consuming from %v: %w; %s", c.cfg.From, err, known)
}

// Close stops the deliveries (basic.cancel), lets a loop over Batches that is
// running in another goroutine finish what has already come, makes sure that
// the broker has read every ack, and closes the connection. What was not
// settled goes back to the queue. Call it after the loop or from another
// goroutine, not inside the loop. When ctx ends first the connection is
// dropped.
func (c *Consumer) Close(ctx context.Context) error {
	if !c.closing.CompareAndSwap(false, true) {
		<-c.conn.Done()
		return nil
	}
	defer c.client.leave(c)
	defer goodbye(ctx, c.conn)
	if c.ch.Err() != nil { // it ended before, and said so to whoever received
		return nil
	}
	if err := c.ch.Cancel(ctx, c.inbox); err != nil {
		return c.explain(err)
	}
	if err := c.takeTurn(ctx); err != nil {
		return fmt.Errorf("thump: closing the consumer of %v: waiting for the loop over its batches: %w", c.cfg.From, err)
	}
	c.turn <- struct{}{}
	if err := c.ch.Close(ctx); err != nil {
		return c.explain(err)
	}
	return nil
}

// Done is closed when the broker sends no more: after Close, a failure, or when
// the broker cancelled the consumer. What has come by then can be received.
func (c *Consumer) Done() <-chan struct{} { return c.inbox.Done() }

// Err is nil until Done is closed, then why: ErrClosed after Close.
func (c *Consumer) Err() error { return public(c.inbox.Err()) }

func (c *Consumer) updateSecret(ctx context.Context, secret, reason string) error {
	return c.conn.UpdateSecret(ctx, secret, reason)
}

// Batch is deliveries that came together, in order. Its Deliveries, their
// bodies above all, are valid until the next batch is asked for: keep a Clone,
// never a pointer. A batch that is not fully settled can still be settled after
// that.
type Batch struct {
	Deliveries []Delivery

	consumer *Consumer

	// Guarded by consumer.mu.
	first   uint64 // delivery tag; the tags of a batch are consecutive
	size    int
	open    int    // not settled
	settled []bool // by tag - first; nil while all or none are
}

// Ack tells the broker that the deliveries of this batch that were not settled
// one by one were handled and may be forgotten (basic.ack, with multiple where
// nothing before them is unsettled). It queues the ack and does not wait.
func (b *Batch) Ack() error { return b.settle(settleAck) }

// Nack refuses the deliveries of the batch that were not settled one by one:
// the broker dead-letters or drops them (basic.nack without requeue).
func (b *Batch) Nack() error { return b.settle(settleNack) }

// Requeue gives the deliveries of the batch that were not settled one by one
// back to the queue (basic.nack with requeue).
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

// send queues the frame. Consumer.mu is held, so frames leave in the order in
// which the books say.
func (c *Consumer) send(how settlement, tag uint64, multiple bool) error {
	var err error
	if how == settleAck {
		err = c.ch.Ack(tag, multiple)
	} else {
		err = c.ch.Nack(tag, multiple, how == settleRequeue)
	}
	if err != nil {
		return fmt.Errorf("thump: settling deliveries of %v: too late, they are delivered again if the queue is still there: %w", c.cfg.From, public(err))
	}
	return nil
}

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
	if b.open == 0 {
		return nil
	}
	if c.unfinished[0] == b {
		// The tag must itself be unsettled: RabbitMQ looks for exactly it.
		if err := c.send(how, b.first+uint64(b.lastOpen()), true); err != nil {
			return err
		}
	} else {
		for i := range b.size {
			if b.settled != nil && b.settled[i] {
				continue
			}
			if err := c.send(how, b.first+uint64(i), false); err != nil {
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
	i := d.tag - b.first
	if b.open == 0 || (b.settled != nil && b.settled[i]) {
		return ErrSettled
	}
	if err := c.send(how, d.tag, false); err != nil {
		return err
	}
	if b.settled == nil {
		b.settled = make([]bool, b.size)
	}
	b.settled[i] = true
	b.open--
	if b.open == 0 {
		c.finish(b)
	}
	return nil
}
