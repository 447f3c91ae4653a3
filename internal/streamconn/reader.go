package streamconn

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/thumpmq/thump/internal/streamproto"
)

const (
	// readMin is the room in the buffer below which the reader starts another one.
	readMin = 128 << 10

	// frameMax bounds the broker's other frames. What was agreed bounds ours alone:
	// a PublishConfirm has as many ids as there are entries in flight, 50,000.
	frameMax = 4 << 20

	// deliverMax bounds a Deliver frame, which frame-max does not: a chunk holds
	// up to 8192 entries. Memory for one grows only as its bytes come.
	deliverMax = 256 << 20

	// lingerTime bounds how long a connection that ends waits for the broker to
	// take the last frames, so that it hears our answer or our reason.
	lingerTime = time.Second
)

// reader is the state of the one goroutine that reads the socket.
type reader struct {
	conn       *Conn
	buf        *readBuffer
	start, end int // bytes of buf that are read and not parsed
	need       int // bytes of the frame at start, once that is known
	limits     streamproto.Limits

	arrivals []Arrival // chunks of this read, not yet handed over
}

// readLoop reads as much as the socket has, handles every complete frame of it,
// and hands the chunks over, once per read. It starts with what the handshake
// left in the buffer.
func (c *Conn) readLoop(buf *readBuffer, start, end int) {
	r := &reader{
		conn: c, buf: buf, start: start, end: end,
		limits: streamproto.Limits{Frame: max(c.server.FrameMax, frameMax), Deliver: deliverMax},
	}
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
		// The broker sends a heartbeat every interval: this is two of them missed.
		if err := c.net.SetReadDeadline(time.Now().Add(2 * c.server.Heartbeat)); err != nil {
			c.fail(readError(err, c.server.Heartbeat))
			return
		}
		n, err := c.net.Read(r.buf.bytes[r.end:])
		r.end += n
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
// incomplete rest moves to another. A frame that is larger than the buffer gets
// a larger one, but never more than twice what has come of it: what a size
// claims costs nothing.
func (r *reader) makeRoom() {
	have := r.end - r.start
	alone := r.buf.refs.Load() == 1
	if alone && have == 0 {
		r.start, r.end = 0, 0
	}
	fits := r.need > 0 && r.need <= len(r.buf.bytes)-r.start
	if fits || len(r.buf.bytes)-r.end >= readMin {
		return
	}
	size := min(max(r.need, readBufferMin), max(2*have, readBufferMin))
	if alone && size <= len(r.buf.bytes) {
		r.end = copy(r.buf.bytes, r.buf.bytes[r.start:r.end])
		r.start = 0
		return
	}
	fresh := r.conn.buffers.get(size)
	r.end = copy(fresh.bytes, r.buf.bytes[r.start:r.end])
	r.start = 0
	r.buf.release()
	r.buf = fresh
}

// frames handles every complete frame in the buffer.
func (r *reader) frames() error {
	for {
		f, n, err := streamproto.ParseFrame(r.buf.bytes[r.start:r.end], r.limits)
		if err != nil {
			return unreadable(err)
		}
		r.need = n
		if n == 0 || n > r.end-r.start {
			return nil
		}
		if err := r.frame(f); err != nil {
			return err
		}
		r.start += n
		r.need = 0
	}
}

// frame handles one frame.
func (r *reader) frame(f streamproto.Frame) error {
	c := r.conn
	switch f.Key {
	case streamproto.KeyDeliver:
		return r.deliver(f)
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
		r.handOver()
		c.lose(update)
		return nil
	case streamproto.KeyCredit:
		// Credit for a subscription that has ended meanwhile: no harm done.
		return nil
	}
	if f.IsResponse() {
		return c.answer(f)
	}
	return r.request(f)
}

// answer gives a response to the call that waits for it.
func (c *Conn) answer(f streamproto.Frame) error {
	correlation, response, err := streamproto.ParseResponse(f)
	if err != nil {
		return unreadable(err)
	}
	c.mu.Lock()
	waiting := c.calls[correlation]
	unasked := correlation == 0 || correlation > c.correlation
	over := response.Key() == streamproto.KeyClose && c.closing
	delete(c.calls, correlation)
	c.mu.Unlock()
	if unasked {
		return violation("a response to %v, which was not asked", response.Key())
	}
	if waiting != nil { // else whoever asked did not wait for it
		waiting <- response
	}
	if over {
		// The broker closes the socket now. That must not look like a failure
		// when the reader sees it before Close does this.
		c.end(ErrClosed)
	}
	return nil
}

// request handles what the broker asks of us.
func (r *reader) request(f streamproto.Frame) error {
	c := r.conn
	correlation, request, err := streamproto.ParseRequest(f)
	if err != nil {
		return unreadable(err)
	}
	switch q := request.(type) {
	case *streamproto.Close:
		c.mu.Lock()
		defer c.mu.Unlock()
		// Its answer goes out before the connection ends: see leave.
		err := c.respond(correlation, &streamproto.Done{For: streamproto.KeyClose, Code: streamproto.CodeOK})
		return errors.Join(&ServerError{Code: q.Code, Reason: q.Reason}, err)
	case *streamproto.ConsumerUpdate:
		return c.consumerUpdate(correlation, q)
	default:
		return violation("the broker asks for %v", request.Key())
	}
}

// answersMost is how many frames may wait to be written because the broker made
// us send them: one that only asks and never reads must not fill the memory.
const answersMost = 10_000

// respond queues an answer to the broker. c.mu is held.
func (c *Conn) respond(correlation uint32, response streamproto.Response) error {
	c.answers++
	if c.answers > answersMost {
		return violation("the broker does not read the answers it asks for")
	}
	return c.queue(func(dst []byte) ([]byte, error) { return streamproto.AppendResponse(dst, correlation, response) })
}

// leave ends the connection for what the broker said or did, and stays a moment
// for its last words: our answer, or our reason, must still get out.
func (r *reader) leave(err error) {
	c := r.conn
	if ours, broken := errors.AsType[*ProtocolError](err); broken {
		c.mu.Lock()
		if c.err == nil {
			c.correlation++
			// The text is ours and short: it always fits a frame.
			_ = c.queue(func(dst []byte) ([]byte, error) {
				return streamproto.AppendRequest(dst, c.correlation, &streamproto.Close{Code: ours.Code, Reason: "protocol violation"})
			})
		}
		c.mu.Unlock()
	}
	r.handOver()
	c.end(err)
	if c.net.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		// Whatever comes now is of no interest, and neither is how it ends.
		_, _ = io.Copy(io.Discard, c.net)
	}
}
