package amqpconn

import (
	"errors"
	"fmt"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/printable"
	"github.com/thumpmq/thump/internal/transport"
)

// protocol is what a transport.Conn asks of AMQP 0-9-1. Its fields are the reading
// goroutine's own.
type protocol struct {
	conn    *Conn
	buf     *transport.Buffer // that the frames are in
	last    *Channel          // the channel of the last frame
	touched []*Inbox          // have deliveries of this read
}

// Frames handles every complete frame in b. The size of the next one is not told
// where it keeps to frame-max: a read buffer has room for two.
func (p *protocol) Frames(b []byte, buf *transport.Buffer) (used, need int, err error) {
	p.buf = buf
	for {
		frame, n, err := p.parse(b[used:])
		if err != nil {
			return used, 0, unreadable(amqpproto.FrameError, err)
		}
		if n == 0 {
			if size := amqpproto.FrameSize(b[used:]); size > uint64(p.conn.server.FrameMax) {
				need = int(size)
			}
			return used, need, nil
		}
		if frame.Type == amqpproto.FrameHeartbeat {
			used += n
			continue
		}
		ch, err := p.channel(frame.Channel)
		if err != nil {
			return used, 0, err
		}
		n, err = p.frame(ch, frame, b[used:], n)
		if err != nil && ch.id != 0 {
			err = fmt.Errorf("channel %d: %w", ch.id, err)
		}
		if err != nil || n == 0 {
			return used, 0, err
		}
		used += n
	}
}

// parse reads the frame at the start of b. All but headers keep to frame-max.
func (p *protocol) parse(b []byte) (amqpproto.Frame, int, error) {
	limit := p.conn.server.FrameMax
	if len(b) > 0 && b[0] == amqpproto.FrameHeader {
		limit = headerMax
	}
	return amqpproto.ParseFrame(b, limit)
}

// HandOver gives the consumers what this read brought them.
func (p *protocol) HandOver() {
	for _, in := range p.touched {
		p.conn.CountDeliveries(len(in.arriving.List), in.prefetch)
		in.put()
	}
	p.touched = p.touched[:0]
}

// Seal has nothing to complete: every frame is whole when it is queued.
func (p *protocol) Seal() {}

// Goodbye queues connection.close-ok, if the broker has ended the connection, and
// connection.close, if it has broken the protocol.
func (p *protocol) Goodbye(why error) {
	var goodbye amqpproto.Method = &amqpproto.ConnectionCloseOk{}
	if _, theirs := errors.AsType[*ServerError](why); !theirs {
		code := uint16(amqpproto.SyntaxError)
		if broken, ok := errors.AsType[*ProtocolError](why); ok {
			code = broken.Code
		}
		goodbye = &amqpproto.ConnectionClose{ReplyCode: code, ReplyText: "protocol violation"}
	}
	// The text is ours and short: it always fits a frame.
	_ = p.conn.session.queue(goodbye)
}

// Ended ends every channel, and with it its call, window and inboxes.
func (p *protocol) Ended(why error) {
	c := p.conn
	for _, ch := range c.channels {
		ch.end(why)
	}
	if c.blocked != "" {
		c.blocked = ""
		go c.tellBlocked() // the lock is held
	}
}

// channel finds the channel of a frame; frames mostly come for the same one.
func (p *protocol) channel(id uint16) (*Channel, error) {
	if p.last != nil && p.last.id == id {
		return p.last, nil
	}
	p.conn.Lock()
	ch := p.conn.channels[id]
	p.conn.Unlock()
	if ch == nil {
		return nil, &ProtocolError{Code: amqpproto.ChannelError, Reason: fmt.Sprintf("frame on channel %d, which is not open", id)}
	}
	p.last = ch
	return ch, nil
}

// frame handles the frame that is the first n bytes of b, and returns how many
// bytes it used: a delivery takes its header and body along. 0 means that the
// rest of a delivery is not there yet.
func (p *protocol) frame(ch *Channel, frame amqpproto.Frame, b []byte, n int) (int, error) {
	switch {
	case ch.content != nil:
		return n, p.contentFrame(ch, frame)
	case frame.Type != amqpproto.FrameMethod:
		return 0, violation("frame of type %d without a method before it", frame.Type)
	}
	id, arguments, err := amqpproto.ParseMethodID(frame.Payload)
	if err != nil {
		return 0, unreadable(amqpproto.SyntaxError, err)
	}
	switch id {
	case amqpproto.MethodBasicDeliver:
		return p.deliver(ch, arguments, b, n)
	case amqpproto.MethodBasicAck:
		sequence, multiple, err := amqpproto.ParseAck(arguments)
		if err != nil {
			return 0, unreadable(amqpproto.SyntaxError, err)
		}
		return n, ch.confirm(sequence, multiple, outcome.Confirmed)
	case amqpproto.MethodBasicNack:
		sequence, multiple, _, err := amqpproto.ParseNack(arguments)
		if err != nil {
			return 0, unreadable(amqpproto.SyntaxError, err)
		}
		return n, ch.confirm(sequence, multiple, outcome.Rejected)
	}
	m, err := amqpproto.ParseMethod(frame.Payload)
	if err != nil {
		return 0, unreadable(amqpproto.SyntaxError, err)
	}
	if ch.id == 0 {
		return n, p.conn.sessionMethod(m)
	}
	return n, p.method(ch, m)
}

// method handles everything on a channel that is neither content nor confirm.
//
// What came before it goes to the consumers first: whoever hears that a
// consumer was cancelled, or a channel closed, must find the last delivery.
func (p *protocol) method(ch *Channel, m amqpproto.Method) error {
	p.HandOver()
	c := p.conn
	switch m := m.(type) {
	case *amqpproto.BasicReturn:
		if ch.publishing.Load() == nil {
			return violation("a message came back on a channel that publishes nothing")
		}
		ch.content = returning(m)
		return nil
	case *amqpproto.BasicGetOk:
		switch in := ch.asked(); {
		case in != nil:
			ch.content = polled(m, in)
		case ch.getting():
			ch.content = getting(m)
		default:
			return violation("%s, which answers nothing", m.ID())
		}
		return ch.numbered(m.DeliveryTag)
	case *amqpproto.BasicGetEmpty:
		if in := ch.asked(); in != nil {
			in.noMessage()
			return nil
		}
	case *amqpproto.BasicCancel:
		return p.cancelled(ch, m)
	case *amqpproto.ChannelClose:
		c.Lock()
		defer c.Unlock()
		ch.end(&ServerError{Code: m.ReplyCode, Text: printable.Text(m.ReplyText), Method: amqpproto.NewMethodID(m.ClassID, m.MethodID)})
		if !ch.closing { // else the two crossed, and the broker still answers ours
			p.forget(ch)
		}
		return ch.queue(&amqpproto.ChannelCloseOk{})
	case *amqpproto.ChannelFlow:
		// RabbitMQ has not sent it since 2.0 (it blocks instead); obeying means
		// only to say so, since confirms and TCP bound what we send anyway.
		c.Lock()
		defer c.Unlock()
		return ch.respond(&amqpproto.ChannelFlowOk{Active: m.Active})
	}
	c.Lock()
	defer c.Unlock()
	if m.ID() == amqpproto.MethodChannelCloseOk {
		if !ch.closing { // the end is told only to channels that are still known
			return violation("%s, which answers nothing", m.ID())
		}
		p.forget(ch)
	}
	return ch.answer(reply{method: m})
}

// sessionMethod handles the methods of the connection itself, on channel 0.
func (c *Conn) sessionMethod(m amqpproto.Method) error {
	switch m := m.(type) {
	case *amqpproto.ConnectionClose:
		return serverError(m)
	case *amqpproto.ConnectionBlocked:
		c.setBlocked(printable.Text(m.Reason))
		return nil
	case *amqpproto.ConnectionUnblocked:
		c.setBlocked("")
		return nil
	}
	c.Lock()
	err := c.session.answer(reply{method: m})
	over := m.ID() == amqpproto.MethodConnectionCloseOk && c.session.closing
	c.Unlock()
	if over {
		// The broker closes the socket now. That must not look like a failure
		// when the reader sees it before Close does this.
		c.End(transport.ErrClosed)
	}
	return err
}

func (c *Conn) setBlocked(reason string) {
	c.Lock()
	if c.ErrLocked() == nil {
		c.blocked = reason
	}
	c.RoomChanged()
	c.Unlock()
	c.tellBlocked()
}

// tellBlocked tells onBlocked how it stands now, if that is news to it. So the last that it hears
// is true, also where the connection ends while the reader tells that it is blocked.
func (c *Conn) tellBlocked() {
	if c.onBlocked == nil {
		return
	}
	c.telling.Lock()
	defer c.telling.Unlock()
	if reason := c.Blocked(); reason != c.told {
		c.told = reason
		c.onBlocked(reason)
	}
}

// forget frees the channel's id; the broker has agreed that it is closed.
// The lock is held.
func (p *protocol) forget(ch *Channel) {
	p.conn.free(ch)
	p.last = nil
}

// cancelled handles basic.cancel: the broker ended a consumer, because its
// queue went away or its deliveries were not settled in time. In the second
// case RabbitMQ 4.3 keeps the consumer until it is cancelled from here too, so
// that is always done.
func (p *protocol) cancelled(ch *Channel, m *amqpproto.BasicCancel) error {
	c := p.conn
	c.Lock()
	defer c.Unlock()
	if in := ch.consumers[m.ConsumerTag]; in != nil {
		why := &ServerError{Text: "its queue was deleted or moved, or its deliveries were not settled in time", Method: amqpproto.MethodBasicCancel}
		ch.expire(why)
		in.End(why)
	}
	if ch.err != nil {
		return nil
	}
	return ch.respond(&amqpproto.BasicCancel{ConsumerTag: m.ConsumerTag, NoWait: true})
}
