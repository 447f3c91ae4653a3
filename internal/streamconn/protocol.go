package streamconn

import (
	"errors"

	"github.com/thumpmq/thump/internal/printable"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

const (
	// frameMax bounds the broker's other frames. What was agreed bounds ours alone:
	// a PublishConfirm has as many ids as there are entries in flight, 50,000.
	frameMax = 4 << 20

	// deliverMax bounds a Deliver frame, which frame-max does not: a chunk holds
	// up to 8192 entries, each of which can be as large as a message. Memory for one
	// grows only as its bytes come.
	deliverMax = 1 << 30
)

// protocol is what a transport.Conn asks of the stream protocol. Its fields are the
// reading goroutine's own.
type protocol struct {
	conn     *Conn
	limits   streamproto.Limits
	buf      *transport.Buffer // that the frames are in
	arrivals []Arrival         // chunks of this read, not yet handed over
}

func newProtocol(c *Conn) *protocol {
	return &protocol{conn: c, limits: streamproto.Limits{Frame: max(c.server.FrameMax, frameMax), Deliver: deliverMax}}
}

// Frames handles every complete frame in b.
func (p *protocol) Frames(b []byte, buf *transport.Buffer) (used, need int, err error) {
	p.buf = buf
	for {
		f, n, err := streamproto.ParseFrame(b[used:], p.limits)
		if err != nil {
			return used, 0, unreadable(err)
		}
		if n == 0 || n > len(b)-used {
			return used, n, nil
		}
		if err := p.frame(f); err != nil {
			return used, 0, err
		}
		used += n
	}
}

// HandOver gives the consumers what this read brought them.
func (p *protocol) HandOver() {
	for first := 0; first < len(p.arrivals); {
		inbox := p.arrivals[first].Subscription.cfg.Inbox
		end := first + 1
		for end < len(p.arrivals) && p.arrivals[end].Subscription.cfg.Inbox == inbox {
			end++
		}
		inbox.put(p.arrivals[first:end])
		first = end
	}
	clear(p.arrivals)
	p.arrivals = p.arrivals[:0]
}

// Seal completes the Publish frame that is being filled, if there is one.
func (p *protocol) Seal() { p.conn.seal() }

// Goodbye queues Close, if the broker has broken the protocol. What answers a
// Close of the broker's was queued when that was read.
func (p *protocol) Goodbye(why error) {
	broken, ours := errors.AsType[*ProtocolError](why)
	if !ours {
		return
	}
	c := p.conn
	c.correlation++
	// The text is ours and short: it always fits a frame.
	_ = c.queue(func(dst []byte) ([]byte, error) {
		return streamproto.AppendRequest(dst, c.correlation, &streamproto.Close{Code: broken.Code, Reason: "protocol violation"})
	})
}

// Ended ends every publisher and subscription. Calls look at Done.
func (p *protocol) Ended(why error) {
	c := p.conn
	for _, publisher := range c.publishers {
		if publisher != nil {
			publisher.fail(why)
		}
	}
	for _, s := range c.subscriptions {
		if s != nil {
			s.end(why)
		}
	}
}

// frame handles one frame.
func (p *protocol) frame(f streamproto.Frame) error {
	c := p.conn
	switch f.Key {
	case streamproto.KeyDeliver:
		return p.deliver(f)
	case streamproto.KeyPublishConfirm:
		id, ids, err := streamproto.ParsePublishConfirm(f)
		if err != nil {
			return unreadable(err)
		}
		return c.confirm(id, ids)
	case streamproto.KeyPublishError:
		id, failed, err := streamproto.ParsePublishError(f)
		if err != nil {
			return unreadable(err)
		}
		return c.refuse(id, failed)
	case streamproto.KeyHeartbeat, streamproto.KeyTune:
		return nil
	case streamproto.KeyMetadataUpdate:
		update, err := streamproto.ParseMetadataUpdate(f)
		if err != nil {
			return unreadable(err)
		}
		p.HandOver()
		c.lose(update)
		return nil
	case streamproto.KeyCredit:
		// Credit for a subscription that has ended meanwhile: no harm done.
		return nil
	}
	if f.IsResponse() {
		return c.answer(f)
	}
	return p.request(f)
}

// request handles what the broker asks of us.
func (p *protocol) request(f streamproto.Frame) error {
	c := p.conn
	correlation, request, err := streamproto.ParseRequest(f)
	if err != nil {
		return unreadable(err)
	}
	switch q := request.(type) {
	case *streamproto.Close:
		c.Lock()
		defer c.Unlock()
		// Its answer goes out before the connection ends: see transport.Conn.
		err := c.respond(correlation, &streamproto.Done{For: streamproto.KeyClose, Code: streamproto.CodeOK})
		return errors.Join(&ServerError{Code: q.Code, Reason: printable.Text(q.Reason)}, err)
	case *streamproto.ConsumerUpdate:
		return c.consumerUpdate(correlation, q)
	default:
		return violation("the broker asks for %v", request.Key())
	}
}

// answer gives a response to the call that waits for it.
func (c *Conn) answer(f streamproto.Frame) error {
	correlation, response, err := streamproto.ParseResponse(f)
	if err != nil {
		return unreadable(err)
	}
	c.Lock()
	waiting := c.calls[correlation]
	unasked := correlation == 0 || correlation > c.correlation
	over := response.Key() == streamproto.KeyClose && c.closing
	delete(c.calls, correlation)
	c.Unlock()
	if unasked {
		return violation("a response to %v, which was not asked", response.Key())
	}
	if waiting != nil { // else whoever asked did not wait for it
		waiting <- response
	}
	if over {
		// The broker closes the socket now. That must not look like a failure
		// when the reader sees it before Close does this.
		c.End(transport.ErrClosed)
	}
	return nil
}
