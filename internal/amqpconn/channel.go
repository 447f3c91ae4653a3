package amqpconn

import (
	"context"
	"fmt"
	"hash/maphash"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// Channel is one channel of a connection. Like the connection it lives once:
// after an exception of the broker it stays ended. It is safe for concurrent
// use, and calls on it go one after another, as the protocol wants.
type Channel struct {
	conn *Conn
	id   uint16
	turn chan struct{} // holds a token while no call is under way

	// The reader's own: the content that is coming in, and the consumer that
	// deliveries were last for.
	content incoming
	hot     *Inbox
	lastTag uint64 // of the deliveries; they are numbered from 1

	// Guarded by conn.mu.
	reply     chan reply // of the call under way
	givenUp   bool       // the caller did not wait for the reply; turn is held until it comes
	opening   bool       // the broker was asked to open it
	closing   bool       // the broker was asked to close it
	consumers map[string]*Inbox
	prefetch  int     // of the consumers to come; 0: unlimited
	window    *window // nil without confirms
	limit     int     // of the window
	flushAt   uint64  // WaitConfirms waits for oldest to get here; 0: nobody does
	published uint64  // without confirms
	returned  uint64  // without confirms
	seed      maphash.Seed
	err       error // why the channel ended
	done      chan struct{}
}

// reply is the broker's answer to a call; content is set for basic.get-ok.
type reply struct {
	method  amqpproto.Method
	content *Delivery
	err     error
}

func newChannel(c *Conn, id uint16) *Channel {
	ch := &Channel{
		conn: c, id: id, turn: make(chan struct{}, 1), done: make(chan struct{}),
		consumers: make(map[string]*Inbox), seed: maphash.MakeSeed(),
	}
	ch.turn <- struct{}{}
	return ch
}

// Done is closed when the channel has ended.
func (ch *Channel) Done() <-chan struct{} { return ch.done }

// Err says why the channel ended; nil while it lives.
func (ch *Channel) Err() error {
	ch.conn.mu.Lock()
	defer ch.conn.mu.Unlock()
	return ch.err
}

// Call sends a method and waits for the broker's answer to it. When ctx ends
// first, the next call on this channel waits for the late answer before it
// begins, so that answers never go to the wrong call.
func (ch *Channel) Call(ctx context.Context, m amqpproto.Method) (amqpproto.Method, error) {
	r, err := ch.call(ctx, m)
	return r.method, err
}

func (ch *Channel) call(ctx context.Context, m amqpproto.Method) (reply, error) {
	r, err := ch.exchange(ctx, m)
	if err != nil {
		return reply{}, fmt.Errorf("%s: %w", m.ID(), err)
	}
	if !answers(r.method.ID(), m.ID()) {
		err := violation("%s answered by %s", m.ID(), r.method.ID())
		ch.conn.fail(err)
		return reply{}, err
	}
	return r, nil
}

// exchange sends m when it is its turn, and returns what came back.
func (ch *Channel) exchange(ctx context.Context, m amqpproto.Method) (reply, error) {
	select {
	case <-ch.turn:
	case <-ch.done:
		return reply{}, ch.Err()
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
	answer := make(chan reply, 1)
	if err := ch.ask(m, answer); err != nil {
		ch.turn <- struct{}{}
		return reply{}, err
	}
	select {
	case r := <-answer:
		ch.turn <- struct{}{}
		return r, r.err
	case <-ctx.Done():
		return reply{}, ch.giveUp(ctx)
	}
}

// giveUp leaves the turn to the reader, which passes it on when the answer
// comes; or takes it back if that has happened just now.
func (ch *Channel) giveUp(ctx context.Context) error {
	ch.conn.mu.Lock()
	defer ch.conn.mu.Unlock()
	if ch.reply == nil {
		ch.turn <- struct{}{}
	} else {
		ch.reply, ch.givenUp = nil, true
	}
	return fmt.Errorf("no answer: %w", ctx.Err())
}

// ask queues the frame of m and registers who gets the answer, in one step.
func (ch *Channel) ask(m amqpproto.Method, answer chan reply) error {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.err != nil {
		return ch.err
	}
	if err := ch.queue(m); err != nil {
		return err
	}
	ch.reply = answer
	switch m.ID() {
	case amqpproto.MethodChannelOpen:
		ch.opening = true
	case amqpproto.MethodChannelClose, amqpproto.MethodConnectionClose:
		ch.closing = true
	}
	return nil
}

// queue appends a method frame for the writer. conn.mu is held.
func (ch *Channel) queue(m amqpproto.Method) error {
	c := ch.conn
	frames, err := amqpproto.AppendMethodFrame(c.out, ch.id, m)
	if err != nil {
		return err
	}
	// Arguments come from the user, and a method cannot be split over frames.
	if size := len(frames) - len(c.out); size > int(c.server.FrameMax) {
		return fmt.Errorf("a frame of %d bytes is over the limit of %d that was agreed with the broker", size, c.server.FrameMax)
	}
	c.out = frames
	c.wakeWriter()
	return nil
}

// answers reports whether a reply is one to a request.
func answers(reply, request amqpproto.MethodID) bool {
	switch request {
	case amqpproto.MethodBasicGet:
		return reply == amqpproto.MethodBasicGetOk || reply == amqpproto.MethodBasicGetEmpty
	case amqpproto.MethodExchangeUnbind:
		return reply == amqpproto.MethodExchangeUnbindOk // 40 and 51: the one odd pair
	default:
		return reply == request+1
	}
}

// Close closes the channel in order: once it returns nil the broker has read
// everything that was sent on it, acks included. It ends the channel even where
// ctx ends first, or an earlier call still waits for its answer.
func (ch *Channel) Close(ctx context.Context) error {
	_, err := ch.Call(ctx, goodbyeChannel())
	ch.abandon()
	return err
}

func goodbyeChannel() *amqpproto.ChannelClose {
	return &amqpproto.ChannelClose{ReplyCode: amqpproto.ReplySuccess, ReplyText: "goodbye"}
}

// abandon ends the channel without waiting for the broker. The broker is told,
// once, if it knows of the channel: otherwise the id would be lost for good.
func (ch *Channel) abandon() {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ch.err != nil || ch.closing:
	case !ch.opening:
		delete(c.channels, ch.id)
	default:
		ch.closing = true
		_ = ch.queue(goodbyeChannel()) // it always fits a frame
	}
	ch.end(ErrClosed)
}

// end marks the channel as ended and tells everyone who waits on it. The id is
// not free again until the broker agrees: see reader.forget. conn.mu is held.
func (ch *Channel) end(why error) {
	if ch.err != nil {
		return
	}
	ch.err = why
	close(ch.done)
	if ch.reply != nil {
		ch.reply <- reply{err: why}
		ch.reply = nil
	}
	if ch.window != nil {
		ch.window.abandon()
	}
	for _, in := range ch.consumers {
		in.end(why)
	}
	ch.conn.room.Broadcast()
	ch.conn.settled.Broadcast()
}

// Qos limits the unsettled deliveries of the consumers that start after it.
func (ch *Channel) Qos(ctx context.Context, prefetch uint16) error {
	if _, err := ch.Call(ctx, &amqpproto.BasicQos{PrefetchCount: prefetch}); err != nil {
		return err
	}
	ch.conn.mu.Lock()
	defer ch.conn.mu.Unlock()
	ch.prefetch = int(prefetch)
	return nil
}

// Consume starts a consumer; its ConsumerTag must be set and new. The inbox is
// registered before the request leaves, since deliveries may come right behind
// the answer.
func (ch *Channel) Consume(ctx context.Context, m *amqpproto.BasicConsume) (*Inbox, error) {
	in := newInbox(m.ConsumerTag)
	ch.conn.mu.Lock()
	if ch.consumers[in.tag] != nil {
		ch.conn.mu.Unlock()
		return nil, fmt.Errorf("consumer tag %q is in use on this channel", in.tag)
	}
	if !m.NoAck {
		in.prefetch = ch.prefetch
	}
	ch.consumers[in.tag] = in
	ch.conn.mu.Unlock()
	if _, err := ch.Call(ctx, m); err != nil {
		return nil, err
	}
	return in, nil
}

// Cancel stops a consumer. What was on its way until the broker answered is in
// its inbox, which then ends with ErrCancelled.
func (ch *Channel) Cancel(ctx context.Context, in *Inbox) error {
	in.drain()
	_, err := ch.Call(ctx, &amqpproto.BasicCancel{ConsumerTag: in.tag})
	if err != nil {
		return err
	}
	in.end(ErrCancelled)
	return nil
}

// Ack settles deliveries as handled: the one with this tag, or with multiple
// all unsettled ones up to it. It queues the frame and does not wait.
func (ch *Channel) Ack(tag uint64, multiple bool) error {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.err != nil {
		return ch.err
	}
	c.out = amqpproto.AppendAck(c.out, ch.id, tag, multiple)
	c.wakeWriter()
	return nil
}

// Nack refuses deliveries, as Ack settles them; with requeue they go back to
// the queue.
func (ch *Channel) Nack(tag uint64, multiple, requeue bool) error {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.err != nil {
		return ch.err
	}
	c.out = amqpproto.AppendNack(c.out, ch.id, tag, multiple, requeue)
	c.wakeWriter()
	return nil
}

// Get takes one message off a queue (basic.get); ok is false when it is empty.
// The delivery owns its memory.
func (ch *Channel) Get(ctx context.Context, queue string, noAck bool) (d Delivery, ok bool, err error) {
	r, err := ch.call(ctx, &amqpproto.BasicGet{Queue: queue, NoAck: noAck})
	if err != nil || r.content == nil {
		return Delivery{}, false, err
	}
	return *r.content, true, nil
}
