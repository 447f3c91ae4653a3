package amqpconn

import (
	"context"
	"hash/maphash"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// Publishing is one message to publish. Nothing of it is kept.
type Publishing struct {
	amqpproto.BasicPublish
	Properties amqpproto.Properties
	Body       []byte
	Ref        uint64 // comes back in the Outcome
}

// Confirm turns publisher confirms on for this channel, with a window of limit
// messages. With collect, outcomes are kept for Outcomes, and a message leaves
// the window only when its outcome has been taken.
func (ch *Channel) Confirm(ctx context.Context, limit int, collect bool) error {
	ch.conn.mu.Lock()
	ch.window, ch.limit = newWindow(limit, collect), limit
	ch.conn.mu.Unlock()
	_, err := ch.Call(ctx, &amqpproto.ConfirmSelect{})
	return err
}

// BeginPublish waits until a message can be published, and takes the
// connection's lock: a batch of messages is encoded straight into what the
// writer will send, in the order of their sequence numbers. Unless it returns
// an error, EndPublish must follow, without anything slow between.
func (ch *Channel) BeginPublish(ctx context.Context) error {
	c := ch.conn
	c.mu.Lock()
	if ch.err != nil || !ch.canPublish() {
		if err := ch.waitForRoom(ctx); err != nil {
			c.mu.Unlock()
			return err
		}
	}
	return nil
}

// canPublish reports whether one more message may be encoded. conn.mu is held.
func (ch *Channel) canPublish() bool {
	c := ch.conn
	return len(c.out) < outRoom && c.blocked == "" &&
		(ch.window == nil || ch.window.free(ch.limit) > 0)
}

// enoughRoom reports whether it is worth waking a publisher. conn.mu is held.
func (ch *Channel) enoughRoom() bool {
	return ch.window == nil || ch.window.free(ch.limit) > ch.limit/8
}

// waitForRoom waits until a worthwhile part of the window is free. A publisher
// that woke for every confirm would send its messages one by one, and make the
// broker confirm them one by one: so a full window is left to empty by an
// eighth. conn.mu is held.
func (ch *Channel) waitForRoom(ctx context.Context) error {
	c := ch.conn
	defer c.wakeAt(ctx, &c.room)()
	c.waiting++
	defer func() { c.waiting-- }()
	for {
		if ch.err != nil {
			return ch.err
		}
		if ch.canPublish() && ch.enoughRoom() {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		c.room.Wait()
	}
}

// Publish encodes one message between BeginPublish and EndPublish. It reports
// false when there is no more room: end, and begin again. An error means that
// this message cannot be sent; nothing of it was, and the channel is fine.
func (ch *Channel) Publish(p *Publishing) (bool, error) {
	c := ch.conn
	if !ch.canPublish() {
		return false, nil
	}
	frames, err := amqpproto.AppendPublish(c.out, ch.id, c.server.FrameMax, &p.BasicPublish, &p.Properties, p.Body)
	if err != nil {
		return false, err
	}
	c.out = frames
	if ch.window == nil {
		ch.published++
		return true, nil
	}
	var print uint64
	if p.Mandatory {
		print = ch.print(p.Exchange, p.RoutingKey, p.Body)
	}
	ch.window.add(p.Ref, print, p.Mandatory)
	return true, nil
}

// EndPublish lets the writer have what was encoded.
func (ch *Channel) EndPublish() {
	c := ch.conn
	if len(c.out) > 0 {
		c.wakeWriter()
	}
	c.mu.Unlock()
}

// print is how a message is known again when the broker returns it: by what
// the broker sends back unchanged. Properties are not among that; RabbitMQ may
// encode them anew.
func (ch *Channel) print(exchange, routingKey string, body []byte) uint64 {
	return maphash.Bytes(ch.seed, body) ^
		maphash.String(ch.seed, routingKey)*31 ^ maphash.String(ch.seed, exchange)*961
}

// Outcomes waits for outcomes and returns all that are known, in dst's memory
// or its own; the caller passes them back as dst of the next call. At the end
// of the channel, when none is left, it returns why it ended.
func (ch *Channel) Outcomes(dst []Outcome) ([]Outcome, error) {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(ch.window.outcomes) == 0 {
		if ch.err != nil {
			return dst[:0], ch.err
		}
		c.settled.Wait()
	}
	taken := ch.window.take(dst)
	if c.waiting > 0 && ch.enoughRoom() {
		c.room.Broadcast()
	}
	return taken, nil
}

// WaitConfirms waits until every message published so far has its outcome, or
// the channel has ended and said so.
func (ch *Channel) WaitConfirms(ctx context.Context) error {
	c := ch.conn
	defer c.wakeAt(ctx, &c.settled)()
	c.mu.Lock()
	defer c.mu.Unlock()
	for last := ch.window.next; ch.window.oldest < last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if ch.flushAt == 0 || last < ch.flushAt {
			ch.flushAt = last
		}
		c.settled.Wait()
	}
	return nil
}

// Totals returns the counts so far. Without confirms only Published and
// Returned are counted.
func (ch *Channel) Totals() Totals {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.window == nil {
		return Totals{Published: ch.published, Returned: ch.returned}
	}
	return ch.window.totals
}

// TakeFirstBad returns the first outcome since the last TakeFirstBad that was
// not Confirmed; its Status is 0 where there was none.
func (ch *Channel) TakeFirstBad() Outcome {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.window == nil {
		return Outcome{}
	}
	bad := ch.window.firstBad
	ch.window.firstBad = Outcome{}
	return bad
}
