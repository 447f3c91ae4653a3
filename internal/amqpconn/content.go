package amqpconn

import (
	"github.com/thumpmq/thump/internal/amqpproto"
)

// contentMax is the largest body taken from a broker, in bytes: RabbitMQ's own
// hard limit (rabbit.hrl, MAX_MSG_SIZE).
const contentMax = 512 << 20

// deliver handles a basic.deliver whose method frame is n bytes long. If its
// header and its whole body follow in the buffer, the delivery aliases them;
// this is nearly always so. It returns the bytes used, 0 to wait for more.
func (r *reader) deliver(ch *Channel, arguments []byte, n int) (int, error) {
	view, err := amqpproto.ParseDeliver(arguments)
	if err != nil {
		return 0, unreadable(amqpproto.SyntaxError, err)
	}
	in, err := ch.inbox(view.ConsumerTag)
	if err != nil {
		return 0, err
	}
	d := Delivery{Tag: view.DeliveryTag, Redelivered: view.Redelivered}
	d.Exchange, d.RoutingKey = in.names(view)

	used, fits, err := r.aliasContent(ch.id, n, &d)
	if err != nil || (fits && used == 0) {
		return 0, err
	}
	if err := ch.numbered(d.Tag); err != nil {
		return 0, err
	}
	if !fits {
		ch.content = incoming{kind: contentDelivery, inbox: in, delivery: d}
		return n, nil
	}
	r.touch(in)
	in.arriving.add(&d, r.buf)
	return used, nil
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

// aliasContent finds the header and body behind the n bytes of a method frame.
// used is 0 when more bytes are needed first. fits is false when the content
// has to be put together frame by frame: it is large, or frames of another
// channel stand between.
func (r *reader) aliasContent(channel uint16, n int, d *Delivery) (used int, fits bool, err error) {
	b := r.buf.bytes[r.start:r.end]
	frameMax := r.conn.server.FrameMax
	frame, size, err := amqpproto.ParseFrame(b[n:], frameMax)
	if err != nil || size == 0 {
		return 0, len(b) < aliasMax, unreadable(amqpproto.FrameError, err)
	}
	if frame.Type != amqpproto.FrameHeader || frame.Channel != channel {
		return 0, false, nil
	}
	header, err := amqpproto.ParseContentHeader(frame.Payload)
	if err != nil || header.BodySize > aliasMax {
		return 0, false, unreadable(amqpproto.SyntaxError, err)
	}
	n += size
	if header.BodySize > 0 {
		frame, size, err = amqpproto.ParseFrame(b[n:], frameMax)
		if err != nil || size == 0 {
			return 0, len(b) < aliasMax, unreadable(amqpproto.FrameError, err)
		}
		if frame.Type != amqpproto.FrameBody || frame.Channel != channel || uint64(len(frame.Payload)) != header.BodySize {
			return 0, false, nil
		}
		n += size
		d.Body = frame.Payload
	}
	d.Properties = header.Properties
	return n, true, nil
}

// inbox finds a delivery's consumer; deliveries mostly come for the same one.
func (ch *Channel) inbox(tag []byte) (*Inbox, error) {
	if ch.hot != nil && ch.hot.tag == string(tag) {
		return ch.hot, nil
	}
	ch.conn.mu.Lock()
	in := ch.consumers[string(tag)]
	ch.conn.mu.Unlock()
	if in == nil {
		return nil, violation("delivery for consumer %.40q, which was never started", tag)
	}
	ch.hot = in
	return in, nil
}

// names returns the exchange and routing key as strings, allocating only when
// they differ from the last delivery's.
func (in *Inbox) names(view amqpproto.DeliverView) (exchange, routingKey string) {
	if in.exchange != string(view.Exchange) {
		in.exchange = string(view.Exchange)
	}
	if in.routingKey != string(view.RoutingKey) {
		in.routingKey = string(view.RoutingKey)
	}
	return in.exchange, in.routingKey
}

// touch remembers to hand over what arrived for in.
func (r *reader) touch(in *Inbox) {
	if len(in.arriving.List) == 0 {
		r.touched = append(r.touched, in)
	}
}

// incoming is a content that is being put together frame by frame, in memory of
// its own: method, header, body frames (AMQP 0-9-1 4.2.6.1). The zero value is
// none.
type incoming struct {
	kind     contentKind
	delivery Delivery
	inbox    *Inbox                 // of a delivery
	returned *amqpproto.BasicReturn // of a return
	got      *amqpproto.BasicGetOk  // of a get

	inBody bool
	size   uint64 // of the body
}

type contentKind uint8

const (
	contentNone contentKind = iota
	contentDelivery
	contentReturn
	contentGet
)

func (in *incoming) expected() bool { return in.kind != contentNone }

func (in *incoming) expectReturn(m *amqpproto.BasicReturn) {
	*in = incoming{kind: contentReturn, returned: m}
}

func (in *incoming) expectGet(m *amqpproto.BasicGetOk) {
	*in = incoming{kind: contentGet, got: m, delivery: Delivery{
		Tag: m.DeliveryTag, Redelivered: m.Redelivered, Exchange: m.Exchange, RoutingKey: m.RoutingKey,
	}}
}

// contentFrame takes the next frame of a content that has begun.
func (r *reader) contentFrame(ch *Channel, frame amqpproto.Frame) error {
	in := &ch.content
	switch {
	case !in.inBody && frame.Type == amqpproto.FrameHeader:
		header, err := amqpproto.ParseContentHeader(frame.Payload)
		if err != nil {
			return unreadable(amqpproto.SyntaxError, err)
		}
		if header.BodySize > contentMax {
			return &ProtocolError{Code: amqpproto.FrameError, Reason: "a body over 512 MiB is announced"}
		}
		in.size, in.inBody = header.BodySize, true
		in.delivery.Properties = append([]byte(nil), header.Properties...)
	case in.inBody && frame.Type == amqpproto.FrameBody:
		d := &in.delivery
		if uint64(len(d.Body)+len(frame.Payload)) > in.size {
			return violation("more body than the %d bytes announced", in.size)
		}
		if d.Body == nil {
			// What is announced is believed up to a point; beyond it, memory
			// grows as bytes really come.
			d.Body = make([]byte, 0, min(in.size, 1<<20))
		}
		d.Body = append(d.Body, frame.Payload...)
	default:
		return violation("frame of type %d inside a content", frame.Type)
	}
	if in.inBody && uint64(len(in.delivery.Body)) == in.size {
		whole := *in
		*in = incoming{}
		return r.contentDone(ch, &whole)
	}
	return nil
}

// contentDone passes a content that is complete to whom it is for.
func (r *reader) contentDone(ch *Channel, content *incoming) error {
	switch content.kind {
	case contentDelivery:
		r.touch(content.inbox)
		content.inbox.arriving.add(&content.delivery, nil)
		return nil
	case contentReturn:
		return ch.takeReturn(content.returned, content.delivery.Body)
	default:
		ch.conn.mu.Lock()
		defer ch.conn.mu.Unlock()
		return ch.answer(reply{method: content.got, content: &content.delivery})
	}
}

// takeReturn notes that a message came back.
func (ch *Channel) takeReturn(m *amqpproto.BasicReturn, body []byte) error {
	ch.conn.mu.Lock()
	defer ch.conn.mu.Unlock()
	if ch.window == nil {
		if ch.returned >= ch.published {
			return violation("%d messages came back, and only %d were published", ch.returned+1, ch.published)
		}
		ch.returned++
		return nil
	}
	print := ch.print(m.Exchange, m.RoutingKey, body)
	if ch.err == nil && !ch.window.markReturned(print, returnReason{m.ReplyCode, m.ReplyText}) {
		return violation("a message came back that is not in flight (routing key %.40q, %d bytes)", m.RoutingKey, len(body))
	}
	return nil
}
