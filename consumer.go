package thump

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"
)

// prefetchDefault is the least that small messages on a fast machine are received as
// quickly with as with thousands: some milliseconds of them. What is prefetched waits
// for its consumer, and the broker counts that time against it.
const prefetchDefault = 500

// batchDefault is enough that what a batch costs is nothing beside its messages. A
// slice of so many deliveries is also small enough for the allocator's fast path; of
// thousand, a new one each, it would cost three times as much per message.
const batchDefault = 128

// ConsumerConfig says what to consume and how.
type ConsumerConfig struct {
	From Target // not set with Declare

	// Declare is a queue that the consumer declares for itself and consumes from, and
	// declares again each time it comes back, with Bind, its bindings: their Queue is left
	// empty. So a queue that goes with its connection (Exclusive), or to which the broker
	// gives a name (an empty Name, which must be Exclusive), lives through that; its messages
	// do not. Consumer.Queue is its name.
	Declare *QueueSpec
	Bind    []Binding

	// WaitForQueue waits, where the consumer comes back and the queue is not there, until
	// somebody has declared it. By default it ends then, and IsNotFound is true of the error.
	WaitForQueue bool

	// Poll asks the broker for each message (basic.get), instead of having it send them. A batch
	// is one message then, and one without any says that the queue was empty when it was
	// asked: neither Receive nor a loop over Batches waits for a message. A program that
	// asks for ever should wait a little after those. Polling costs a round trip for each
	// message, and some work of the broker for each empty answer; it is for programs that take a
	// message now and then, or what is there and no more. MaxBatch, Prefetch, Exclusive, Tag
	// and Arguments do not go with it.
	//
	// Where the ctx of a Receive ends before the broker has answered, the next one gets the message
	// that the answer brings; Stop gives it back. It is for queues: RabbitMQ takes no
	// basic.get from a stream, nor from a quorum queue with a single active consumer.
	Poll bool

	// Prefetch is how many deliveries may be unsettled at a time (basic.qos).
	// Default 500, which is enough for full speed; at most 65535. With AutoAck it does
	// not apply. It is for queues: a stream has Credit.
	//
	// RabbitMQ ends a consumer that has a delivery unsettled for 30 minutes (its
	// consumer_timeout), counted from when it was sent and not from when a handler began
	// with it. So Prefetch deliveries must take far less than that to handle, one after
	// another: with 500, less than 3 s each. What one consumer has prefetched no other
	// gets, either. For a slow handler choose few, such as twice as many as are handled
	// at a time, and MaxBatch 1.
	Prefetch int

	// AutoAck, for a queue: the broker forgets a message as soon as it is sent, so one that
	// is lost on the way, or not handled, is gone. For a stream: a batch counts as handled
	// when the next one is asked for, and not if the loop breaks before; the stream keeps
	// its messages.
	AutoAck bool

	// MaxBatch is the most deliveries in a Batch. Default: 128, and no more than a quarter
	// of Prefetch, so that the broker sends more after one batch is settled and while the
	// next is handled. For a slow handler it is 1. A batch of a stream comes from one
	// chunk (what the broker stored together).
	MaxBatch int

	// ReuseBuffers lends what is handed out instead of giving it away: a batch, its
	// Deliveries and their bodies are valid until the next batch is asked for, and then
	// their memory is used again. It is for programs that are done with a batch by then,
	// and saves them the garbage: about twice the bytes that come.
	//
	// Default: whatever is handed out is the caller's, and stays as it is.
	ReuseBuffers bool

	// Exclusive asks to be the queue's only consumer. Quorum queues ignore it. It is
	// for queues.
	Exclusive bool

	// Tag is the consumer tag, for queues; default "thump".
	Tag string

	// Arguments go with basic.consume, for instance x-priority; for queues.
	Arguments Table

	// Stream is for a stream or super stream, and has to be zero for others.
	Stream StreamConsuming
}

// Consumer receives from one queue, stream or super stream: a queue's on a channel of its own,
// whose connection it may share with other consumers (Config.MaxConnections), a stream's on a
// connection of its own, and a super stream's on one for each partition. One goroutine at a time
// receives: others wait until its loop over Batches, or its Receive, is over. A Receive
// inside of such a loop waits until its ctx or the consumer has ended. Settling, Stop and
// Close are safe for concurrent use.
//
// What has come and was not handed out waits in memory: a queue's consumer stops reading
// from the network at about 8 MiB, or at 256 MiB where it shares its connection, or earlier at
// its Prefetch; that of a stream or super stream at about 64 MiB, or earlier at its Credit.
//
// What ends a loop over Batches, and what it, and Receive, then say:
//
//	ctx has ended            its error, before anything more is handed out; the consumer lives on
//	Stop or Close            Batches: no error; Receive: ErrClosed
//	a stream's Until         Batches: no error; Receive: ErrEnd
//	it can't come back       an error that says why
//
// Otherwise a lost connection or channel ends no loop and no Receive, and neither does a
// broker that cancels the consumer, because its queue moved or its deliveries were not
// settled in time, nor a stream that loses its node: the consumer comes back by itself, a
// super stream's partition by partition, and the loop waits. Where ctx ends the wait, the
// error says since when there has been no connection, and why. See Config.Recovery.
//
// A stream's consumer goes on after what it was told is handled: after the last delivery
// with no unacked one before it, or, with AutoAck, the last batch after which another was
// asked for. Without a Name nothing is acked, and it goes on after what it handed out.
//
// It can't come back where the broker refuses for good (a *BrokerError; IsNotFound for a
// queue or stream that was deleted), where a stream was declared again (ErrDeclaredAgain),
// where the time that Config.Recovery sets is over, or with Recovery.Off. Then it has ended,
// and says the same to everybody who asks.
//
// Either way what it held is no longer its own: it can't be settled (ErrStale), and the
// broker delivers it again, to whoever consumes next, which may be this consumer. What has
// come and was not handed out is dropped. A queue's consumer with AutoAck that ends hands it
// out first.
type Consumer struct {
	client *Client
	cfg    ConsumerConfig
	engine consumeEngine // nil in a zero Consumer

	turn chan struct{} // holds a token while nobody receives

	// For the holder of the turn: the last batch that was handed out, and with
	// ReuseBuffers its deliveries.
	last  *hold
	lent  []Delivery
	holds []hold // of the next batches

	tally tally

	end consumerEnd
}

// Consumer opens a connection and starts consuming on it; for a super stream,
// one for each partition. Its first connection it does not try again.
func (c *Client) Consumer(ctx context.Context, cfg ConsumerConfig) (*Consumer, error) {
	if err := cfg.validate(); err != nil {
		return nil, mistake(err)
	}
	generation := c.secrets.now()
	con := &Consumer{client: c, cfg: cfg, turn: make(chan struct{}, 1)}
	con.turn <- struct{}{}
	con.end.open(ctx)
	var err error
	if cfg.From.streams() {
		con.engine, err = c.streamConsumer(ctx, &con.cfg, con.ended)
	} else {
		con.engine, err = c.amqpConsumer(ctx, &con.cfg, con.ended)
	}
	if err != nil {
		return nil, err
	}
	if err := c.join(ctx, con, generation); err != nil {
		con.engine.close(ctx)
		return nil, err
	}
	return con, nil
}

func (cfg *ConsumerConfig) validate() error {
	var faults []error
	if cfg.From.streams() {
		if cfg.Declare != nil || cfg.Bind != nil || cfg.WaitForQueue {
			faults = append(faults, fmt.Errorf("thump: ConsumerConfig.Declare, Bind and WaitForQueue are for queues, and %v is none", cfg.From))
		}
		return errors.Join(append(faults, cfg.validateStream()...)...)
	}
	if q := cfg.Declare; q != nil {
		if cfg.From != (Target{}) {
			faults = append(faults, errors.New("thump: ConsumerConfig.From and Declare are set: it consumes from the queue that it declares"))
		}
		if q.Name == "" && !q.Exclusive {
			faults = append(faults, errors.New("thump: ConsumerConfig.Declare has no Name and is not Exclusive: each time the consumer comes back, a queue of another name would stay"))
		}
		if cfg.WaitForQueue {
			faults = append(faults, errors.New("thump: ConsumerConfig.WaitForQueue and Declare are set: it declares the queue itself"))
		}
		cfg.From = Target{kind: targetQueue, name: q.Name}
	}
	if err := cfg.From.consumable(); err != nil && cfg.Declare == nil {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig.From: %w", err))
	}
	if err := checkText("Tag", cfg.Tag); err != nil {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig.%w", err))
	}
	if cfg.Stream.set() {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig.Stream is set, and %v is no stream", cfg.From))
	}
	if cfg.Poll {
		if cfg.MaxBatch != 0 || cfg.Prefetch != 0 || cfg.Exclusive || cfg.Tag != "" || cfg.Arguments != nil {
			faults = append(faults, errors.New("thump: ConsumerConfig: MaxBatch, Prefetch, Exclusive, Tag and Arguments are for consumers that the broker sends messages to, and Poll is set"))
		}
		cfg.MaxBatch = 1
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
		cfg.MaxBatch = batchDefault
		if !cfg.AutoAck {
			cfg.MaxBatch = min(batchDefault, max(1, cfg.Prefetch/4))
		}
	}
	if cfg.Tag == "" {
		cfg.Tag = "thump"
	}
	return errors.Join(faults...)
}

// Batches yields deliveries as they come, many at a time, until the loop breaks, ctx
// ends, or the consumer does; what it yields then is in the table at Consumer. It
// looks at ctx before each batch: after the end of ctx at most the batch in hand is
// handled.
func (c *Consumer) Batches(ctx context.Context) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		if err := c.takeTurn(ctx); err != nil {
			if !asked(err) {
				yield(nil, err)
			}
			return
		}
		defer func() { c.turn <- struct{}{} }()
		defer c.engine.watch(ctx)()
		for {
			batch, err := c.next(ctx)
			if asked(err) {
				return
			}
			if !yield(batch, err) || err != nil {
				return
			}
		}
	}
}

// Receive waits for the next batch; with Poll for the broker's answer. With ReuseBuffers the
// previous one is no longer valid. While a loop over Batches is at work, and inside that loop, Receive waits until
// the loop or ctx ends. When nothing is handed out any more, the error says why: see the
// table at Consumer.
func (c *Consumer) Receive(ctx context.Context) (*Batch, error) {
	if err := c.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer func() { c.turn <- struct{}{} }()
	defer c.engine.watch(ctx)()
	return c.next(ctx)
}

func (c *Consumer) takeTurn(ctx context.Context) error {
	if c.engine == nil {
		return errNoConsumer
	}
	select {
	case <-c.turn: // also where the consumer has ended: what it says then is up to next
		return nil
	default:
	}
	select {
	case <-c.turn:
		return nil
	case <-c.end.done:
		err := c.engine.err()
		c.noteSaid(err) //nolint:contextcheck // the connection goes, whatever the caller's context
		return c.explain(err)
	case <-ctx.Done():
		return c.explain(ctx.Err())
	}
}

// next takes what has come, at most MaxBatch, as a batch. The engine watches ctx.
func (c *Consumer) next(ctx context.Context) (*Batch, error) {
	batch := &Batch{hold: c.newHold()}
	if last := c.last; last != nil {
		last.from.passed(last)
		if last.from.settled(last) {
			batch.Deliveries = c.lent[:0]
		}
	}
	if err := c.take(ctx, batch); err != nil {
		return nil, c.explain(err)
	}
	c.tally.handedOut(batch)
	c.last = batch.hold
	if c.cfg.ReuseBuffers {
		c.lent = batch.Deliveries
	}
	return batch, nil
}

// holdsTogether is how many holds are allocated at a time, which takes little longer than one.
// Whoever keeps one keeps them all; they are small.
const holdsTogether = 16

func (c *Consumer) newHold() *hold {
	if len(c.holds) == 0 {
		c.holds = make([]hold, holdsTogether)
	}
	h := &c.holds[0]
	c.holds = c.holds[1:]
	h.tally = &c.tally
	return h
}

// take lets the engine take a batch, unless a Close gave up waiting for that.
func (c *Consumer) take(ctx context.Context, b *Batch) (err error) {
	c.end.beginTake()
	defer func() {
		if c.end.endTake() && err == nil {
			err = ErrClosed
		}
	}()
	err = c.engine.take(ctx, b, c.cfg.MaxBatch)
	c.noteSaid(err) //nolint:contextcheck // the connection goes, whatever the caller's context
	return err
}

// noteSaid notes that the caller is told why the consumer has failed, if err says so.
func (c *Consumer) noteSaid(err error) {
	if failure(err) && !c.end.said.Swap(true) && c.engine.lost() {
		go c.leave()
	}
}

// asked reports whether err is the end of a consumer that its caller asked for.
func asked(err error) bool { return errors.Is(err, ErrClosed) || errors.Is(err, ErrEnd) }

// failure reports whether err is the end of a consumer that nobody asked for.
func failure(err error) bool {
	return err != nil && !asked(err) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// explain says, where the consumer has failed, what is known of the deliveries that
// were handed out.
func (c *Consumer) explain(err error) error {
	if failure(err) {
		return fmt.Errorf("thump: consuming from %v: %w; %s", c.cfg.From, err, c.engine.unknown())
	}
	return fmt.Errorf("thump: consuming from %v: %w", c.cfg.From, err)
}

// Flush returns once the broker has read every ack, and whatever else has been
// settled, so far; an ack by itself does not wait. After Stop it sends no more, and has taken
// back what was not handed out. For a stream's consumer with a
// Name it is StoreOffset; for one without it, and with AutoAck for a queue, there is
// nothing to wait for. A quorum queue applies an ack shortly after the broker has
// read it.
//
// Where the connection of a queue's consumer is lost meanwhile, or was before, Flush waits for
// the next one. What was settled over the old one may not have reached the broker: those
// messages come again, and Stats().Reconnects says that it happened.
//
// The broker's answer comes after the deliveries that it has sent, up to Prefetch of
// them, and those are held meanwhile: as many as take 256 MiB. Where there are more,
// Flush waits until they are received, or until ctx ends.
func (c *Consumer) Flush(ctx context.Context) error {
	if c.engine == nil {
		return errNoConsumer
	}
	err := ctx.Err()
	if err == nil && !c.cfg.AutoAck && !c.cfg.From.streams() { // which have nothing to take back
		err = c.awaitStop(ctx)
	}
	if err == nil {
		err = c.engine.flush(ctx)
	}
	if err != nil {
		return fmt.Errorf("thump: flushing the acks for %v: %w", c.cfg.From, err)
	}
	return nil
}

// Queue is the name of the queue that the consumer consumes from, which the broker may have
// chosen; empty for a stream. It may be another one each time the consumer comes back.
func (c *Consumer) Queue() string {
	if e, ok := c.engine.(*amqpConsumer); ok {
		return e.current().queue
	}
	return ""
}

func (c *Consumer) updateSecret(ctx context.Context, secret, reason string) error {
	return c.engine.updateSecret(ctx, secret, reason)
}

// Batch is deliveries that came together, in order. It is the caller's, with its
// Deliveries and their bodies, to keep and to hand to other goroutines; with
// ReuseBuffers it is lent until the next batch is asked for. Either way it can be
// settled after that.
//
// Bodies are slices of the memory that the socket was read into, and a part that is
// kept keeps the whole: 256 KiB of a queue's messages, a MiB or a chunk of a stream's.
// Clone copies a delivery out of it.
type Batch struct {
	Deliveries []Delivery

	// Stream is the stream that the batch is from: for a super stream one of its
	// partitions. StoredAt is when the broker stored the chunk that the batch is a
	// part of, by the broker's clock. They are empty and zero for a queue.
	Stream   string
	StoredAt time.Time

	hold *hold // nil in a zero Batch
}

// Ack tells the broker that the deliveries of this batch that were not settled one
// by one were handled and may be forgotten (basic.ack). It does not wait for the
// broker: Flush and Close do. For a stream, Ack marks the batch as handled; the
// stored offset is that of the last delivery before the first one that is not acked.
//
// A batch and a delivery can be settled once; after that the error is ErrSettled. It is
// ErrStale once the consumer no longer holds them, and ErrAutoAck with AutoAck. Without a
// Name nothing follows from acking a stream's delivery, and it is never ErrStale.
func (b *Batch) Ack() error { return b.settle(settleAck) }

// Reject refuses the deliveries of the batch that were not settled one by one: the
// broker dead-letters them if the queue has a dead-letter exchange, and drops them
// otherwise (basic.nack without requeue). It is an error for a stream, which keeps
// its messages; the other errors are those of Ack.
func (b *Batch) Reject() error { return b.settle(settleReject) }

// Requeue gives the deliveries of the batch that were not settled one by one back to
// the queue, because handling them failed (basic.reject with requeue, one for each).
// A quorum queue counts that in the message's x-delivery-count, and drops or
// dead-letters the message once that is over the queue's delivery limit: 20 by
// default since RabbitMQ 4.0, and none before. A classic queue does not count: there
// a message that always fails comes for ever. It is an error for a stream; the other
// errors are those of Ack.
func (b *Batch) Requeue() error { return b.settle(settleRequeue) }

// Release gives the deliveries of the batch that were not settled one by one back to
// the queue, because they are not to be handled here (basic.nack with requeue). From
// RabbitMQ 4.3 on a quorum queue does not count that as a failed delivery; before,
// it counts it as Requeue does. A stream's delivery is as if it had not been handed
// out: the stored offset does not go over it, and the next consumer of that Name
// begins there. The errors are those of Ack.
func (b *Batch) Release() error { return b.settle(settleRelease) }

func (b *Batch) settle(how settlement) error {
	if b.hold == nil {
		return withPrefix(ErrSettled) // there is nothing in a zero Batch
	}
	return b.hold.from.batch(b.hold, how)
}

// Ack settles this one delivery; see Batch.Ack, which is much cheaper for many, and has
// the same errors.
func (d *Delivery) Ack() error { return d.settle(settleAck) }

// Reject refuses this one delivery; see Batch.Reject, which has the same errors.
func (d *Delivery) Reject() error { return d.settle(settleReject) }

// Requeue gives this one delivery back to the queue as failed; see Batch.Requeue, which
// has the same errors.
func (d *Delivery) Requeue() error { return d.settle(settleRequeue) }

// Release gives this one delivery back to the queue; see Batch.Release, which has the
// same errors.
func (d *Delivery) Release() error { return d.settle(settleRelease) }

func (d *Delivery) settle(how settlement) error {
	if d.hold == nil || d.hold.from == nil {
		return withPrefix(ErrSettled) // from Get, which acks, or a zero Delivery
	}
	return d.hold.from.delivery(d.hold, d.tag, how)
}
