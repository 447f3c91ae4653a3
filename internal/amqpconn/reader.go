package amqpconn

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// readMin is the room in the buffer below which the reader starts another one.
const readMin = 64 << 10

// lingerTime bounds how long a connection that ends waits for the broker to
// take the last frames, so that it hears connection.close-ok or our reason.
const lingerTime = time.Second

// reader is the state of the one goroutine that reads the socket.
type reader struct {
	conn       *Conn
	buf        *readBuffer
	start, end int // bytes of buf that are read and not parsed

	last    *Channel // the channel of the last frame
	touched []*Inbox // have deliveries of this read
	pace    pace
}

// readLoop reads as much as the socket has, handles every complete frame of it,
// and hands the deliveries over, once per read. It starts with what the
// handshake left in the buffer.
func (c *Conn) readLoop(buf *readBuffer, start, end int) {
	r := &reader{conn: c, buf: buf, start: start, end: end}
	defer func() {
		c.net.Close()
		r.buf.release()
	}()
	for {
		if err := r.frames(); err != nil {
			r.leave(err)
			return
		}
		r.handOver()
		r.makeRoom()
		now := time.Now()
		if r.pace.pause(now) {
			time.Sleep(paceInterval)
		}
		// The broker sends a heartbeat every half interval: this is four of
		// them missed.
		if err := c.net.SetReadDeadline(now.Add(2 * c.server.Heartbeat)); err != nil {
			c.fail(readError(err, c.server.Heartbeat))
			return
		}
		n, err := c.net.Read(r.buf.bytes[r.end:])
		r.end += n
		r.pace.bytes += n
		if err != nil {
			c.fail(readError(err, c.server.Heartbeat))
			return
		}
	}
}

func readError(err error, heartbeat time.Duration) error {
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the broker closed the connection without a word")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("nothing heard from the broker for %v, twice the heartbeat interval", 2*heartbeat)
	default:
		return fmt.Errorf("reading from the broker: %w", err)
	}
}

// makeRoom leaves space for a large read behind what is not parsed yet. The
// buffer is used further where nobody holds slices of it; otherwise the
// incomplete rest moves to another.
func (r *reader) makeRoom() {
	alone := r.buf.refs.Load() == 1
	switch {
	case alone && r.start == r.end:
		r.start, r.end = 0, 0
	case len(r.buf.bytes)-r.end >= readMin:
	case alone:
		r.end = copy(r.buf.bytes, r.buf.bytes[r.start:r.end])
		r.start = 0
	default:
		fresh := r.conn.buffers.get()
		r.end = copy(fresh.bytes, r.buf.bytes[r.start:r.end])
		r.start = 0
		r.buf.release()
		r.buf = fresh
	}
}

// handOver gives the consumers what this read brought them.
func (r *reader) handOver() {
	for _, in := range r.touched {
		r.pace.count(len(in.arriving.List), in.prefetch)
		in.put()
	}
	r.touched = r.touched[:0]
}

// frames handles every complete frame in the buffer.
func (r *reader) frames() error {
	for {
		frame, n, err := amqpproto.ParseFrame(r.buf.bytes[r.start:r.end], r.conn.server.FrameMax)
		if err != nil {
			return unreadable(amqpproto.FrameError, err)
		}
		if n == 0 {
			return nil
		}
		if frame.Type == amqpproto.FrameHeartbeat {
			r.start += n
			continue
		}
		ch, err := r.channel(frame.Channel)
		if err != nil {
			return err
		}
		used, err := r.frame(ch, frame, n)
		if err != nil && ch.id != 0 {
			err = fmt.Errorf("channel %d: %w", ch.id, err)
		}
		if err != nil {
			return err
		}
		if used == 0 {
			return nil
		}
		r.start += used
	}
}

// channel finds the channel of a frame; frames mostly come for the same one.
func (r *reader) channel(id uint16) (*Channel, error) {
	if r.last != nil && r.last.id == id {
		return r.last, nil
	}
	r.conn.mu.Lock()
	ch := r.conn.channels[id]
	r.conn.mu.Unlock()
	if ch == nil {
		return nil, &ProtocolError{Code: amqpproto.ChannelError, Reason: fmt.Sprintf("frame on channel %d, which is not open", id)}
	}
	r.last = ch
	return ch, nil
}

// frame handles one frame, n bytes long, and returns how many bytes of the
// buffer it used: a delivery takes its header and body along. 0 means that the
// rest of a delivery is not there yet.
func (r *reader) frame(ch *Channel, frame amqpproto.Frame, n int) (int, error) {
	switch {
	case ch.content.expected():
		return n, r.contentFrame(ch, frame)
	case frame.Type != amqpproto.FrameMethod:
		return 0, violation("frame of type %d without a method before it", frame.Type)
	}
	id, arguments, err := amqpproto.ParseMethodID(frame.Payload)
	if err != nil {
		return 0, unreadable(amqpproto.SyntaxError, err)
	}
	switch id {
	case amqpproto.MethodBasicDeliver:
		return r.deliver(ch, arguments, n)
	case amqpproto.MethodBasicAck:
		sequence, multiple, err := amqpproto.ParseAck(arguments)
		if err != nil {
			return 0, unreadable(amqpproto.SyntaxError, err)
		}
		return n, ch.confirm(sequence, multiple, Confirmed)
	case amqpproto.MethodBasicNack:
		sequence, multiple, _, err := amqpproto.ParseNack(arguments)
		if err != nil {
			return 0, unreadable(amqpproto.SyntaxError, err)
		}
		return n, ch.confirm(sequence, multiple, Rejected)
	}
	m, err := amqpproto.ParseMethod(frame.Payload)
	if err != nil {
		return 0, unreadable(amqpproto.SyntaxError, err)
	}
	if ch.id == 0 {
		return n, r.conn.sessionMethod(m)
	}
	return n, r.method(ch, m)
}

// confirm passes the broker's confirm to the window and wakes whom it concerns.
func (ch *Channel) confirm(sequence uint64, multiple bool, status Status) error {
	c := ch.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.err != nil { // everything has its outcome already: Unknown
		return nil
	}
	if ch.window == nil {
		return violation("confirm on a channel without confirms")
	}
	if err := ch.window.confirm(sequence, multiple, status); err != nil {
		return violation("%v", err)
	}
	if c.waiting > 0 && ch.enoughRoom() {
		c.room.Broadcast()
	}
	if len(ch.window.outcomes) > 0 || (ch.flushAt != 0 && ch.window.oldest >= ch.flushAt) {
		ch.flushAt = 0
		c.settled.Broadcast()
	}
	return nil
}

// method handles everything on a channel that is neither content nor confirm.
//
// What came before it goes to the consumers first: whoever hears that a
// consumer was cancelled, or a channel closed, must find the last delivery.
func (r *reader) method(ch *Channel, m amqpproto.Method) error {
	r.handOver()
	c := r.conn
	switch m := m.(type) {
	case *amqpproto.BasicReturn:
		ch.content.expectReturn(m)
		return nil
	case *amqpproto.BasicGetOk:
		ch.content.expectGet(m)
		return ch.numbered(m.DeliveryTag)
	case *amqpproto.BasicCancel:
		return r.cancelled(ch, m)
	case *amqpproto.ChannelClose:
		c.mu.Lock()
		defer c.mu.Unlock()
		ch.end(&ServerError{Code: m.ReplyCode, Text: m.ReplyText, Method: amqpproto.NewMethodID(m.ClassID, m.MethodID)})
		if !ch.closing { // else the two crossed, and the broker still answers ours
			r.forget(ch)
		}
		return ch.queue(&amqpproto.ChannelCloseOk{})
	case *amqpproto.ChannelFlow:
		// RabbitMQ has not sent it since 2.0 (it blocks instead); obeying means
		// only to say so, since confirms and TCP bound what we send anyway.
		c.mu.Lock()
		defer c.mu.Unlock()
		return ch.respond(&amqpproto.ChannelFlowOk{Active: m.Active})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.ID() == amqpproto.MethodChannelCloseOk {
		if !ch.closing { // a channel that is forgotten would not hear of the end
			return violation("%s, which answers nothing", m.ID())
		}
		r.forget(ch)
	}
	return ch.answer(reply{method: m})
}

// answer gives a reply to the call that waits for it. conn.mu is held.
func (ch *Channel) answer(r reply) error {
	switch {
	case ch.givenUp: // whoever asked is gone; the next call may begin
		ch.givenUp = false
		ch.turn <- struct{}{}
	case ch.reply != nil:
		ch.reply <- r
		ch.reply = nil
	case ch.err == nil:
		return violation("%s, which answers nothing", r.method.ID())
	}
	return nil
}

// forget frees the channel's id; the broker has agreed that it is closed.
// conn.mu is held.
func (r *reader) forget(ch *Channel) {
	delete(r.conn.channels, ch.id)
	r.last = nil
}

// cancelled handles basic.cancel: the broker ended a consumer, because its
// queue went away or its deliveries were not settled in time. In the second
// case RabbitMQ 4.3 keeps the consumer until it is cancelled from here too, so
// that is always done.
func (r *reader) cancelled(ch *Channel, m *amqpproto.BasicCancel) error {
	c := r.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if in := ch.consumers[m.ConsumerTag]; in != nil {
		in.end(&ServerError{Text: "its queue was deleted or moved, or its deliveries were not settled in time", Method: amqpproto.MethodBasicCancel})
	}
	if ch.err != nil {
		return nil
	}
	return ch.respond(&amqpproto.BasicCancel{ConsumerTag: m.ConsumerTag, NoWait: true})
}

// answersMost is how many frames may wait to be written because the broker made
// us send them: one that only asks and never reads must not fill the memory.
const answersMost = 10_000

// respond queues a frame that the broker made us send. conn.mu is held.
func (ch *Channel) respond(m amqpproto.Method) error {
	ch.conn.answers++
	if ch.conn.answers > answersMost {
		return violation("the broker does not read the answers it asks for")
	}
	return ch.queue(m)
}

// sessionMethod handles the methods of the connection itself, on channel 0.
func (c *Conn) sessionMethod(m amqpproto.Method) error {
	switch m := m.(type) {
	case *amqpproto.ConnectionClose:
		return serverError(m)
	case *amqpproto.ConnectionBlocked:
		c.setBlocked(m.Reason)
		return nil
	case *amqpproto.ConnectionUnblocked:
		c.setBlocked("")
		return nil
	}
	c.mu.Lock()
	err := c.session.answer(reply{method: m})
	over := m.ID() == amqpproto.MethodConnectionCloseOk && c.session.closing
	c.mu.Unlock()
	if over {
		// The broker closes the socket now. That must not look like a failure
		// when the reader sees it before Close does this.
		c.end(ErrClosed)
	}
	return err
}

func (c *Conn) setBlocked(reason string) {
	c.mu.Lock()
	c.blocked = reason
	c.room.Broadcast()
	c.mu.Unlock()
	if c.onBlocked != nil {
		c.onBlocked(reason)
	}
}

// leave ends the connection for what the broker said or did, and stays a
// moment for its last words: our close-ok, or our reason, must still get out.
func (r *reader) leave(err error) {
	c := r.conn
	var goodbye amqpproto.Method = &amqpproto.ConnectionCloseOk{}
	if _, theirs := errors.AsType[*ServerError](err); !theirs {
		code := uint16(amqpproto.SyntaxError)
		if ours, ok := errors.AsType[*ProtocolError](err); ok {
			code = ours.Code
		}
		goodbye = &amqpproto.ConnectionClose{ReplyCode: code, ReplyText: "protocol violation"}
	}
	c.mu.Lock()
	if c.err == nil {
		// The text is ours and short: it always fits a frame.
		_ = c.session.queue(goodbye)
	}
	c.mu.Unlock()
	r.handOver()
	c.end(err)
	if c.net.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		// Whatever comes now is of no interest, and neither is how it ends.
		_, _ = io.Copy(io.Discard, c.net)
	}
}
