package amqpconn

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/transport"
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
	content *incoming // nil: none
	hot     *Inbox
	lastTag uint64 // of the deliveries; they are numbered from 1

	// Guarded by the connection's lock.
	reply     chan reply         // of the call under way
	awaited   int                // answers of that which have not come
	request   amqpproto.MethodID // of the last call
	givenUp   bool               // the caller did not wait for them; turn is held until they have come
	opening   bool               // the broker was asked to open it
	closing   bool               // the broker was asked to close it
	consumers map[string]*Inbox
	polls     *Inbox        // of the consumer that polls; nil for none
	err       error         // why the channel ended
	stale     error         // why its deliveries can't be settled any more
	expired   chan struct{} // closed once stale is set; nil while nobody waits for that
	done      chan struct{} // closed once err is set; nil while nobody waits for that

	publishing atomic.Pointer[publishing] // nil until Carry
}

// reply is the broker's answer to a call; content is set for basic.get-ok.
type reply struct {
	method  amqpproto.Method
	content *Delivery
	err     error
}

func newChannel(c *Conn, id uint16) *Channel {
	ch := &Channel{conn: c, id: id, turn: make(chan struct{}, 1)}
	ch.turn <- struct{}{}
	return ch
}

// Done is closed when the channel has ended.
func (ch *Channel) Done() <-chan struct{} {
	ch.conn.Lock()
	defer ch.conn.Unlock()
	if ch.done == nil {
		ch.done = make(chan struct{})
		if ch.err != nil {
			close(ch.done)
		}
	}
	return ch.done
}

// Err says why the channel ended; nil while it lives.
func (ch *Channel) Err() error {
	ch.conn.Lock()
	defer ch.conn.Unlock()
	return ch.err
}

// Call sends a method and waits for the broker's answer to it. When ctx ends
// first, the next call on this channel waits for the late answer before it
// begins, so that answers never go to the wrong call.
func (ch *Channel) Call(ctx context.Context, m amqpproto.Method) (amqpproto.Method, error) {
	answers, err := ch.Calls(ctx, m)
	if err != nil {
		return nil, err
	}
	return answers[0], nil
}

// Calls is Call for several methods, which leave together: that takes one round trip. The
// broker handles them in order, and none after one that fails. It returns the answers to
// those before that.
func (ch *Channel) Calls(ctx context.Context, ms ...amqpproto.Method) ([]amqpproto.Method, error) {
	replies, err := ch.call(ctx, ms...)
	answers := make([]amqpproto.Method, len(replies))
	for i := range replies {
		answers[i] = replies[i].method
	}
	return answers, err
}

// call sends the methods when it is their turn, opens the channel before where it was only
// reserved, and returns what came back.
func (ch *Channel) call(ctx context.Context, ms ...amqpproto.Method) ([]reply, error) {
	if err := ch.takeTurn(ctx); err != nil {
		return nil, err
	}
	opens, answer, err := ch.ask(ms)
	if err != nil {
		ch.turn <- struct{}{}
		return nil, err
	}
	if opens {
		if _, err := ch.wait(ctx, &amqpproto.ChannelOpen{}, answer); err != nil {
			return nil, fmt.Errorf("opening channel %d: %w", ch.id, err)
		}
	}
	var replies []reply
	for _, m := range ms {
		r, err := ch.wait(ctx, m, answer)
		if err != nil {
			return replies, err
		}
		replies = append(replies, r)
	}
	ch.turn <- struct{}{}
	return replies, nil
}

// takeTurn waits until no call is under way.
func (ch *Channel) takeTurn(ctx context.Context) error {
	select {
	case <-ch.turn:
		return nil
	default:
	}
	select {
	case <-ch.turn:
		return nil
	case <-ch.Done():
		return ch.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait waits for the answer to m. After an error the turn is over.
func (ch *Channel) wait(ctx context.Context, m amqpproto.Method, answer <-chan reply) (reply, error) {
	select {
	case r := <-answer:
		if r.err != nil {
			ch.turn <- struct{}{}
			return reply{}, fmt.Errorf("%s: %w", m.ID(), r.err)
		}
		if !answers(r.method.ID(), m.ID()) {
			err := violation("%s answered by %s", m.ID(), r.method.ID())
			ch.conn.Fail(err)
			ch.turn <- struct{}{}
			return reply{}, err
		}
		return r, nil
	case <-ctx.Done():
		return reply{}, fmt.Errorf("%s: %w", m.ID(), ch.giveUp(ctx))
	}
}

// giveUp leaves the turn to the reader, which passes it on when the answers have
// come; or takes it back if that has happened just now.
func (ch *Channel) giveUp(ctx context.Context) error {
	ch.conn.Lock()
	defer ch.conn.Unlock()
	if ch.reply == nil {
		ch.turn <- struct{}{}
	} else {
		ch.reply, ch.givenUp = nil, true
	}
	return fmt.Errorf("no answer: %w", ctx.Err())
}

// ask queues the frames of the methods, all or none, and registers who gets the answers, in
// one step. opens says that channel.open was put before them.
func (ch *Channel) ask(ms []amqpproto.Method) (opens bool, answer chan reply, err error) {
	c := ch.conn
	c.Lock()
	defer c.Unlock()
	if ch.err != nil {
		return false, nil, ch.err
	}
	before := len(c.Out)
	if opens = !ch.opening && ch.id != 0; opens {
		err = ch.queue(&amqpproto.ChannelOpen{})
	}
	for i := 0; i < len(ms) && err == nil; i++ {
		if err = ch.queue(ms[i]); err != nil {
			err = fmt.Errorf("%s: %w", ms[i].ID(), err)
		}
	}
	if err != nil {
		c.Out = c.Out[:before]
		return false, nil, err
	}
	if opens {
		ch.opening = true
		ch.awaited++
	}
	for _, m := range ms {
		ch.awaited++
		ch.request = m.ID()
		ch.closing = ch.closing || m.ID() == amqpproto.MethodChannelClose || m.ID() == amqpproto.MethodConnectionClose
	}
	if ch.awaited > 0 {
		ch.reply = make(chan reply, ch.awaited)
	}
	return opens, ch.reply, nil
}

// queue appends a method frame for the writer. The lock is held.
func (ch *Channel) queue(m amqpproto.Method) error {
	c := ch.conn
	frames, err := amqpproto.AppendMethodFrame(c.Out, ch.id, m)
	if err != nil {
		return &UnsendableError{err}
	}
	// Arguments come from the user, and a method cannot be split over frames.
	if size := len(frames) - len(c.Out); size > int(c.server.FrameMax) {
		return &UnsendableError{fmt.Errorf("a frame of %d bytes is over the limit of %d that was agreed with the broker", size, c.server.FrameMax)}
	}
	c.Out = frames
	c.WakeWriter()
	return nil
}

// respond queues a frame that the broker made us send. The lock is held.
func (ch *Channel) respond(m amqpproto.Method) error {
	if !ch.conn.CountAnswer() {
		return violation("the broker does not read the answers it asks for")
	}
	return ch.queue(m)
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

// getting reports whether a message was asked for that has not come, whether somebody
// still waits for it or not.
func (ch *Channel) getting() bool {
	ch.conn.Lock()
	defer ch.conn.Unlock()
	return ch.request == amqpproto.MethodBasicGet && (ch.reply != nil || ch.givenUp || ch.err != nil)
}

// answer gives a reply to the call that waits for it. The lock is held.
func (ch *Channel) answer(r reply) error {
	switch {
	case ch.awaited > 0:
	case ch.err == nil:
		return violation("%s, which answers nothing", r.method.ID())
	default:
		return nil
	}
	ch.awaited--
	if ch.reply != nil {
		ch.reply <- r
	}
	if ch.awaited > 0 {
		return nil
	}
	ch.reply = nil
	if ch.givenUp { // whoever asked is gone; the next call may begin
		ch.givenUp = false
		ch.turn <- struct{}{}
	}
	return nil
}

// Close closes the channel in order: once it returns nil the broker has read
// everything that was sent on it, acks included. It ends the channel even where
// ctx ends first, or an earlier call still waits for its answer.
func (ch *Channel) Close(ctx context.Context) (err error) {
	if ch.known() {
		_, err = ch.Call(ctx, goodbyeChannel())
	}
	ch.abandon()
	return err
}

// known reports whether the broker was asked to open the channel.
func (ch *Channel) known() bool {
	ch.conn.Lock()
	defer ch.conn.Unlock()
	return ch.opening
}

// Leave closes the channel in order and does not wait for the broker, which reads
// what was sent on the channel before that.
func (ch *Channel) Leave() { ch.abandon() }

func goodbyeChannel() *amqpproto.ChannelClose {
	return &amqpproto.ChannelClose{ReplyCode: amqpproto.ReplySuccess, ReplyText: "goodbye"}
}

// abandon ends the channel without waiting for the broker. The broker is told,
// once, if it knows of the channel: otherwise the id would be lost for good.
func (ch *Channel) abandon() {
	c := ch.conn
	c.Lock()
	defer c.Unlock()
	switch {
	case ch.err != nil || ch.closing:
	case !ch.opening:
		c.free(ch)
	default:
		ch.closing = true
		_ = ch.queue(goodbyeChannel()) // it always fits a frame
	}
	ch.end(transport.ErrClosed)
}

// end marks the channel as ended and tells everyone who waits on it. The id is
// not free again until the broker agrees: see protocol.forget. The lock is held.
func (ch *Channel) end(why error) {
	if ch.err != nil {
		return
	}
	ch.err = why
	ch.expire(why)
	if p := ch.publishing.Load(); p != nil {
		p.end(why)
	}
	if ch.done != nil {
		close(ch.done)
	}
	if ch.reply != nil {
		ch.reply <- reply{err: why}
		ch.reply, ch.awaited = nil, 0
	}
	for _, in := range ch.consumers {
		in.End(why)
	}
	if ch.polls != nil {
		ch.polls.End(why)
	}
	ch.conn.RoomChanged()
}

// Qos limits the unsettled deliveries of the consumers that start after it.
func (ch *Channel) Qos(ctx context.Context, prefetch uint16) error {
	_, err := ch.Call(ctx, &amqpproto.BasicQos{PrefetchCount: prefetch})
	return err
}

// Consume starts a consumer, after a Qos where prefetch is not 0; its ConsumerTag must be set
// and new. The inbox is registered before the request leaves, since deliveries may come right
// after the answer.
func (ch *Channel) Consume(ctx context.Context, prefetch uint16, m *amqpproto.BasicConsume) (*Inbox, error) {
	in := newInbox(m.ConsumerTag)
	ch.conn.Lock()
	if ch.consumers[in.tag] != nil {
		ch.conn.Unlock()
		return nil, fmt.Errorf("consumer tag %q is in use on this channel", in.tag)
	}
	if !m.NoAck {
		in.prefetch = int(prefetch)
	}
	if ch.conn.shared {
		in.Relax()
	}
	if ch.consumers == nil {
		ch.consumers = make(map[string]*Inbox)
	}
	ch.consumers[in.tag] = in
	ch.conn.Unlock()
	calls := []amqpproto.Method{m}
	if prefetch > 0 {
		calls = []amqpproto.Method{&amqpproto.BasicQos{PrefetchCount: prefetch}, m}
	}
	if _, err := ch.Calls(ctx, calls...); err != nil {
		return nil, err
	}
	return in, nil
}

// settleBytesMost is how many bytes of acks and the like may wait to be written. A prefetch
// of 65535, the most there is, allows a third of that: a broker that lets more gather
// delivers without regard to it and does not read, and must not fill the memory.
const settleBytesMost = 4 << 20

// prefetchMost is the largest prefetch.
const prefetchMost = 65535

// Cancel stops a consumer. What was on its way until the broker answered is in
// its inbox, which then ends with ErrCancelled. The answer comes after all that, so only
// if somebody takes, or the inbox is shut or drains.
func (ch *Channel) Cancel(ctx context.Context, in *Inbox) error {
	var last amqpproto.Method = &amqpproto.BasicCancel{ConsumerTag: in.tag}
	if in.get != nil { // the broker knows of no consumer, and answers whatever comes after the last Ask after that
		in.close()
		last = &amqpproto.BasicQos{}
	}
	if _, err := ch.Call(ctx, last); err != nil {
		return err
	}
	in.End(ErrCancelled)
	return nil
}

// GiveBack nacks, with requeue, what has come for a consumer that was cancelled and
// was not taken. all says that what was taken and not settled goes back too, or that there
// is none: one frame does it then. A classic queue needs that, where it is much: with each
// frame it looks through all that came back before. That frame is for the channel, which
// must have no other consumer.
func (ch *Channel) GiveBack(in *Inbox, all bool) error {
	first, last := in.untaken()
	if last-first+1 > prefetchMost {
		err := violation("%d deliveries were sent and not settled, more than a prefetch allows", last-first+1)
		ch.conn.Fail(err) // which gives them back as well
		return err
	}
	if all {
		const everything = 0 // as a delivery tag
		return ch.Nack(true, true, everything)
	}
	return ch.settle(func(out []byte) []byte {
		for tag := first; tag <= last; tag++ {
			out = amqpproto.AppendNack(out, ch.id, tag, false, true)
		}
		return out
	})
}

// settle queues frames that settle deliveries. The error is that of Stale, or that the
// broker does not read them, which ends the connection.
func (ch *Channel) settle(frames func(out []byte) []byte) error {
	c := ch.conn
	c.Lock()
	stale, full := ch.stale, len(c.Out) > settleBytesMost
	if stale == nil && !full {
		c.Out = frames(c.Out)
		c.WakeWriter()
	}
	c.Unlock()
	if stale == nil && full {
		stale = violation("the broker delivers more than was settled, and does not read what settles it")
		c.Fail(stale)
	}
	return stale
}

// expire notes why the deliveries of the channel can't be settled any more. The
// lock is held.
func (ch *Channel) expire(why error) {
	if ch.stale == nil {
		ch.stale = why
		if ch.expired != nil {
			close(ch.expired)
		}
	}
}

// Stale says why the deliveries of the channel can't be settled any more: it has
// ended, or the broker has cancelled a consumer and taken them back. It is nil
// while they can.
func (ch *Channel) Stale() error {
	ch.conn.Lock()
	defer ch.conn.Unlock()
	return ch.stale
}

// Expired is closed when the deliveries of the channel can't be settled any more; Stale
// says why.
func (ch *Channel) Expired() <-chan struct{} {
	ch.conn.Lock()
	defer ch.conn.Unlock()
	if ch.expired == nil {
		ch.expired = make(chan struct{})
		if ch.stale != nil {
			close(ch.expired)
		}
	}
	return ch.expired
}

// Ack settles deliveries as handled: those with these tags, or with multiple all
// unsettled ones up to the one. It queues the frames, together, and does not wait. The
// error is that of Stale: then nothing was queued.
func (ch *Channel) Ack(multiple bool, tags ...uint64) error {
	return ch.settle(func(out []byte) []byte {
		for _, tag := range tags {
			out = amqpproto.AppendAck(out, ch.id, tag, multiple)
		}
		return out
	})
}

// Nack refuses deliveries, as Ack settles them; with requeue they go back to
// the queue.
func (ch *Channel) Nack(multiple, requeue bool, tags ...uint64) error {
	return ch.settle(func(out []byte) []byte {
		for _, tag := range tags {
			out = amqpproto.AppendNack(out, ch.id, tag, multiple, requeue)
		}
		return out
	})
}

// Reject refuses deliveries one by one (basic.reject), as Nack does. RabbitMQ 4.3 counts
// a requeue by basic.reject as a failed delivery, and one by basic.nack not.
func (ch *Channel) Reject(requeue bool, tags ...uint64) error {
	return ch.settle(func(out []byte) []byte {
		for _, tag := range tags {
			// It has no text that could be too long.
			out, _ = amqpproto.AppendMethodFrame(out, ch.id, &amqpproto.BasicReject{DeliveryTag: tag, Requeue: requeue})
		}
		return out
	})
}

// Get takes one message off a queue (basic.get); ok is false when it is empty.
// The delivery owns its memory.
func (ch *Channel) Get(ctx context.Context, queue string, noAck bool) (d Delivery, ok bool, err error) {
	r, err := ch.call(ctx, &amqpproto.BasicGet{Queue: queue, NoAck: noAck})
	if err != nil || r[0].content == nil {
		return Delivery{}, false, err
	}
	return *r[0].content, true, nil
}

// inbox finds a delivery's consumer; deliveries mostly come for the same one.
func (ch *Channel) inbox(tag []byte) (*Inbox, error) {
	if ch.hot != nil && ch.hot.tag == string(tag) {
		return ch.hot, nil
	}
	ch.conn.Lock()
	in := ch.consumers[string(tag)]
	ch.conn.Unlock()
	if in == nil {
		return nil, violation("delivery for consumer %.40q, which was never started", tag)
	}
	ch.hot = in
	return in, nil
}

// numbered checks that a delivery tag is the next one of its channel: whoever
// settles counts on that (RabbitMQ numbers all it sends, acks wanted or not).
func (ch *Channel) numbered(tag uint64) error {
	if tag != ch.lastTag+1 {
		return violation("delivery tag %d after %d", tag, ch.lastTag)
	}
	ch.lastTag = tag
	return nil
}
