package amqpconn

import (
	"github.com/thumpmq/thump/internal/amqpproto"
)

// contentMax is the largest body taken from a broker, in bytes: RabbitMQ's own
// hard limit (rabbit.hrl, MAX_MSG_SIZE).
const contentMax = 512 << 20

// headerMax is the largest header frame taken from a broker, in bytes. It can't be
// split, so RabbitMQ sends it whole, whatever frame-max is: the header of a message
// grows when it is dead-lettered, goes to consumers with a smaller frame-max than its
// publisher had, and over AMQP 1.0 can be as large as a message. A method of a broker
// is always small.
const headerMax = contentMax

// aliasMax is the largest content, in bytes from the start of its method frame,
// that is handed over as slices of the read buffer. A larger one is put together
// in memory of its own: it comes in several frames anyway.
const aliasMax = 64 << 10

// deliver handles a basic.deliver whose method frame is the first n bytes of b.
// If its header and its whole body follow, the delivery aliases them; this is
// nearly always so. It returns the bytes used, 0 to wait for more.
func (p *protocol) deliver(ch *Channel, arguments, b []byte, n int) (int, error) {
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

	used, fits, err := p.aliasContent(ch.id, b, n, &d)
	if err != nil || (fits && used == 0) {
		return 0, err
	}
	if err := ch.numbered(d.Tag); err != nil {
		return 0, err
	}
	if !fits {
		ch.content = &incoming{kind: contentDelivery, inbox: in, delivery: d}
		return n, nil
	}
	p.touch(in)
	in.arriving.add(&d, p.buf)
	return used, nil
}

// aliasContent finds the header and body after the n bytes of a method frame.
// used is 0 when more bytes are needed first. fits is false when the content
// has to be put together frame by frame: it is large, or frames of another
// channel stand between.
func (p *protocol) aliasContent(channel uint16, b []byte, n int, d *Delivery) (used int, fits bool, err error) {
	frame, size, err := p.parse(b[n:])
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
		frame, size, err = p.parse(b[n:])
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

// touch remembers to hand over what arrived for in.
func (p *protocol) touch(in *Inbox) {
	if len(in.arriving.List) == 0 {
		p.touched = append(p.touched, in)
	}
}

// incoming is a content that is being put together frame by frame, in memory of
// its own: method, header, body frames (AMQP 0-9-1 4.2.6.1).
type incoming struct {
	kind     contentKind
	delivery Delivery
	inbox    *Inbox                 // of a delivery
	returned *amqpproto.BasicReturn // of a return
	got      *amqpproto.BasicGetOk  // of a get

	inBody bool
	body   body
}

type contentKind uint8

const (
	contentDelivery contentKind = iota
	contentReturn
	contentGet
)

func returning(m *amqpproto.BasicReturn) *incoming {
	return &incoming{kind: contentReturn, returned: m}
}

func getting(m *amqpproto.BasicGetOk) *incoming {
	return &incoming{kind: contentGet, got: m, delivery: gotten(m)}
}

// polled is what a consumer gets that polls.
func polled(m *amqpproto.BasicGetOk, in *Inbox) *incoming {
	return &incoming{kind: contentDelivery, inbox: in, delivery: gotten(m)}
}

// gotten is a delivery without its content.
func gotten(m *amqpproto.BasicGetOk) Delivery {
	return Delivery{Tag: m.DeliveryTag, Redelivered: m.Redelivered, Exchange: m.Exchange, RoutingKey: m.RoutingKey}
}

// contentFrame takes the next frame of a content that has begun.
func (p *protocol) contentFrame(ch *Channel, frame amqpproto.Frame) error {
	in := ch.content
	switch {
	case !in.inBody && frame.Type == amqpproto.FrameHeader:
		header, err := amqpproto.ParseContentHeader(frame.Payload)
		if err != nil {
			return unreadable(amqpproto.SyntaxError, err)
		}
		if header.BodySize > contentMax {
			return &ProtocolError{Code: amqpproto.FrameError, Reason: "a body over 512 MiB is announced"}
		}
		in.body, in.inBody = newBody(int(header.BodySize)), true
		in.delivery.Properties = append([]byte(nil), header.Properties...)
	case in.inBody && frame.Type == amqpproto.FrameBody:
		if len(frame.Payload) > in.body.left() {
			return violation("more body than the %d bytes announced", in.body.size)
		}
		in.body.add(frame.Payload)
	default:
		return violation("frame of type %d inside a content", frame.Type)
	}
	if in.inBody && in.body.left() == 0 {
		ch.content = nil
		in.delivery.Body = in.body.whole
		return p.contentDone(ch, in)
	}
	return nil
}

// contentDone passes a content that is complete to whom it is for.
func (p *protocol) contentDone(ch *Channel, content *incoming) error {
	switch content.kind {
	case contentDelivery:
		p.touch(content.inbox)
		content.inbox.arriving.add(&content.delivery, nil)
		return nil
	case contentReturn:
		return ch.returned(content.returned, content.delivery.Properties, content.delivery.Body)
	default:
		ch.conn.Lock()
		defer ch.conn.Unlock()
		return ch.answer(reply{method: content.got, content: &content.delivery})
	}
}
