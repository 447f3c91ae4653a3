package amqpconn

import (
	"context"
	"fmt"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/printable"
	"github.com/thumpmq/thump/internal/transport"
	"github.com/thumpmq/thump/internal/window"
)

// Message is one message to publish. Nothing of it is kept.
type Message struct {
	amqpproto.BasicPublish
	Properties amqpproto.Properties
	Body       []byte
	Tag        window.Tag
}

// publishing is what a channel that publishes has of its publisher's window. The
// window's lock guards it, but for what is constant.
//
// RabbitMQ counts the messages of a channel from 1, as delivery tags, once
// confirms are on; the carrier counts them from 0.
type publishing struct {
	window  *window.Window
	carrier *window.Carrier
	free    int // messages that the window takes, between BeginPublish and EndPublish
	ended   func(why error)

	prints     window.Ring[fingerprint] // of messages by number; zero for one that is not mandatory
	printFrom  uint64                   // no print of a lower number is needed, as of the last look
	printer    fingerprinter
	nextReturn uint64 // returns come in the order of publishing: look from this number on
}

// Carry lets the channel publish messages of w, with confirms unless w is
// Unconfirmed. When the channel ends, ended is told why, and then what is in flight
// on it becomes Unknown; or where the window keeps messages, another channel may send them
// again. ended runs with the connection's lock held and must not
// wait. A channel can have one window.
func (ch *Channel) Carry(ctx context.Context, w *window.Window, ended func(why error)) error {
	p := newPublishing(w, ended)
	ch.conn.Lock()
	err := ch.err
	ch.publishing.Store(p)
	ch.conn.Unlock()
	switch {
	case err != nil:
	case w.Unconfirmed():
		_, err = ch.Calls(ctx) // it has to be open
	default:
		_, err = ch.Call(ctx, &amqpproto.ConfirmSelect{})
	}
	return err
}

func newPublishing(w *window.Window, ended func(why error)) *publishing {
	return &publishing{window: w, carrier: w.Carry(), ended: ended, printer: newFingerprinter()}
}

// BeginPublish waits until a message can be published, and takes the locks of
// connection and window: a batch of messages is encoded straight into what the
// writer will send, in the order of their numbers. Unless it returns an error,
// EndPublish must follow, without anything slow between.
func (ch *Channel) BeginPublish(ctx context.Context) error {
	c, p := ch.conn, ch.publishing.Load()
	for {
		c.Lock()
		if err := ch.waitToWrite(ctx); err != nil {
			c.Unlock()
			return err
		}
		p.window.Lock()
		if p.free = p.window.Free(); p.free > 0 {
			return nil
		}
		p.window.Unlock()
		c.Unlock()
		if err := p.window.WaitForRoom(ctx); err != nil {
			if reason := c.Blocked(); reason != "" {
				err = blockedError(reason, err)
			}
			return err
		}
	}
}

// blockedError is what ended a wait, and why there was one.
func blockedError(reason string, err error) error {
	return fmt.Errorf("the broker blocks publishing (%s): %w", reason, err)
}

// EndPublish lets the writer have what was encoded.
func (ch *Channel) EndPublish() {
	c := ch.conn
	ch.publishing.Load().window.Unlock()
	if len(c.Out) > 0 {
		c.WakeWriter()
	}
	c.Unlock()
}

// waitToWrite waits until there is room in what waits for the writer, and the
// broker does not block the connection. The connection's lock is held.
func (ch *Channel) waitToWrite(ctx context.Context) error {
	if ch.err == nil && ch.conn.canWrite() {
		return nil
	}
	err := ch.conn.WaitForRoom(ctx, func() (bool, error) { return ch.conn.canWrite(), ch.err })
	switch {
	case err == nil || ch.err != nil:
		return err
	case ch.conn.blocked != "":
		return blockedError(ch.conn.blocked, err)
	default:
		return fmt.Errorf("the broker does not read what was sent before: %w", err)
	}
}

// canWrite reports whether a message may be encoded. The lock is held.
func (c *Conn) canWrite() bool { return len(c.Out) < transport.OutRoom && c.blocked == "" }

// Publish encodes one message between BeginPublish and EndPublish. It reports
// false when there is no more room: end, and begin again. An error means that
// this message cannot be sent; nothing of it was, and the channel is fine.
func (ch *Channel) Publish(m *Message) (bool, error) {
	c, p := ch.conn, ch.publishing.Load()
	if p.free <= 0 || !c.canWrite() {
		return false, nil
	}
	frames, err := amqpproto.AppendPublish(c.Out, ch.id, c.server.FrameMax, &m.BasicPublish, &m.Properties, m.Body)
	if err != nil {
		return false, err
	}
	encoded := frames[len(c.Out):]
	c.Out = frames
	switch {
	case p.window.Unconfirmed():
		p.carrier.Count()
	case p.window.Keeps():
		p.note(p.carrier.AddEncoded(m.Tag, encoded), m)
		p.free = p.window.Free()
	default:
		p.note(p.carrier.Add(m.Tag), m)
		p.free--
	}
	return true, nil
}

// note remembers how a message is known again when the broker returns it.
func (p *publishing) note(number uint64, m *Message) {
	if !m.Mandatory && p.prints == nil {
		return
	}
	if number-p.printFrom >= uint64(len(p.prints)) {
		p.printFrom = min(p.carrier.Oldest(), number)
		p.prints = p.prints.Grown(p.printFrom, number, 1)
	}
	print := fingerprint{}
	if m.Mandatory {
		print = p.printer.of(m.Exchange, m.RoutingKey, &m.Properties, m.Body)
	}
	*p.prints.At(number) = print
}

// confirm reports what the broker says of published messages to their window.
func (ch *Channel) confirm(tag uint64, multiple bool, status outcome.Status) error {
	p := ch.publishing.Load()
	if p == nil || p.window.Unconfirmed() {
		return violation("confirm on a channel without confirms")
	}
	p.window.Lock()
	defer p.window.Unlock()
	published := p.carrier.Next()
	if tag == 0 && multiple { // AMQP 0-9-1 1.8.3.13: all outstanding
		tag = published
	}
	switch {
	case p.carrier.Ended(): // everything has its outcome already: Unknown
		return nil
	case tag > published || tag == 0 && !multiple:
		return violation("confirm of message %d, and only %d were published", tag, published)
	case multiple:
		p.carrier.Resolve(0, tag, status, 0, "")
	default:
		p.carrier.Resolve(tag-1, 1, status, 0, "")
	}
	p.window.Wake()
	return nil
}

// returned notes that a message came back (basic.return), with these properties as they
// came.
func (ch *Channel) returned(m *amqpproto.BasicReturn, properties, body []byte) error {
	p := ch.publishing.Load()
	if p == nil {
		return violation("a message came back on a channel that publishes nothing")
	}
	p.window.Lock()
	defer p.window.Unlock()
	switch {
	case p.window.Unconfirmed():
		if published, ok := p.carrier.CountReturned(m.ReplyCode, m.ReplyText); !ok {
			return violation("another message came back, and only %d were published", published)
		}
	case p.carrier.Ended():
	default:
		var readable *amqpproto.Properties
		// Ours fitted a frame; a larger table, far larger in memory, is none of ours.
		if len(properties) <= 2*int(ch.conn.server.FrameMax) {
			if parsed, err := amqpproto.ParseProperties(properties); err == nil {
				readable = &parsed
			}
		}
		number, found := p.find(p.printer.of(m.Exchange, m.RoutingKey, readable, body))
		if !found {
			return violation("a message came back that is not in flight (routing key %.40q, %d bytes)", m.RoutingKey, len(body))
		}
		p.carrier.Resolve(number, 1, outcome.Returned, m.ReplyCode, printable.Text(m.ReplyText))
		p.window.Wake()
	}
	return nil
}

// find returns the number of the message that came back. A basic.return carries
// none, so the message is known by its fingerprint; returns come in the order of
// publishing (rabbit_channel routes and returns before it takes the next
// publish), and always before the confirm of their message. Among messages with equal
// properties the oldest that was not returned is taken. If none has those, as RabbitMQ
// may have changed them, the oldest that is equal otherwise is.
func (p *publishing) find(print fingerprint) (number uint64, found bool) {
	if p.prints == nil {
		return 0, false
	}
	rough, some := uint64(0), false
	for n := max(p.nextReturn, p.carrier.Oldest()); n < p.carrier.Next(); n++ {
		at := *p.prints.At(n)
		if at.rough != print.rough || p.carrier.Resolved(n) {
			continue
		}
		if at.fine == print.fine {
			p.nextReturn = n + 1
			return n, true
		}
		if !some {
			rough, some = n, true
		}
	}
	if some {
		p.nextReturn = rough + 1
	}
	return rough, some
}

// end tells the owner, and makes what is in flight Unknown, unless the window keeps it for
// another connection. The connection's lock is held.
func (p *publishing) end(why error) {
	if p.window.Keeps() {
		p.window.Lock()
		p.carrier.Leave() // before anybody makes another connection
		p.window.Unlock()
		p.ended(why)
		return
	}
	p.ended(why) // first, so that whoever is told of an outcome can learn why
	p.window.Lock()
	p.carrier.End(why.Error())
	p.window.Unlock()
}
