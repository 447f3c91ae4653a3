package transport

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// lingerTime bounds how long a connection that ends waits for the peer to take
// the last frames, so that it receives our answer or our reason.
const lingerTime = time.Second

// reader is the state of the one goroutine that reads the socket.
type reader struct {
	conn       *Conn
	buf        *Buffer
	start, end int // bytes of buf that are read and not used
	need       int // size of the frame at start, once that is known

	size int       // of the next buffer, as the last reads were
	idle bool      // the last read had to wait
	at   time.Time // when it began

	// Of large frames: see Settings.
	large   bool // the last one that came whole was
	largest int  // that came whole, in bytes
}

// readLoop reads as much as the socket has, has every complete frame of it
// handled, and what they brought handed over, once per read. It starts with what
// the login left.
func (c *Conn) readLoop(l *Login) {
	r := &reader{conn: c, buf: l.buf, start: l.start, end: l.end, size: len(l.buf.Bytes), at: time.Now()}
	defer func() {
		c.net.Close()
		r.buf.Release()
	}()
	for {
		used, need, err := c.protocol.Frames(r.buf.Bytes[r.start:r.end], r.buf)
		if err != nil {
			c.leave(err)
			return
		}
		if used > 0 {
			r.noteLarge()
		}
		r.start, r.need = r.start+used, need
		c.protocol.HandOver()
		now := time.Now()
		r.idle, r.at = now.Sub(r.at) > idleTime, now
		r.makeRoom()
		if c.pace.pause(now) {
			time.Sleep(paceInterval)
		}
		// RabbitMQ sends an AMQP heartbeat every half interval, and a stream's every
		// interval: this is four, or two, of them missed.
		if err := c.net.SetReadDeadline(now.Add(2 * c.heartbeat)); err != nil {
			c.Fail(readError(err, c.heartbeat))
			return
		}
		n, err := c.net.Read(r.buf.Bytes[r.end:r.readEnd()])
		r.end += n
		r.noteFull(n)
		c.pace.bytes += n
		if err != nil {
			c.Fail(readError(err, c.heartbeat))
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

const (
	// idleTime is how long a read has to wait for the connection to count as idle.
	idleTime = time.Second

	// growth is how many times larger the buffer is after one that a read has filled.
	growth = 4
)

// noteFull notes that a read of n bytes had room for no more, where that was much of a buffer.
func (r *reader) noteFull(n int) {
	if r.end == len(r.buf.Bytes) && n >= r.size/2 {
		r.grow()
	}
}

// grow makes the next buffer larger.
func (r *reader) grow() { r.size = min(growth*r.size, r.conn.settings.ReadBuffer) }

// peek is how much is read, in bytes, behind a large frame: its successor may be large too,
// and its size says where to read its rest.
const peek = 2 << 10

// noteLarge notes that the frame that was needed has come.
func (r *reader) noteLarge() {
	least := r.conn.settings.LargeFrame
	r.large = least > 0 && r.need >= least
	if r.large {
		r.largest = max(r.largest, r.need)
	}
}

// readEnd is where in the buffer a read ends: with it, or with a large frame, or a little
// behind that.
func (r *reader) readEnd() int {
	end, least := len(r.buf.Bytes), r.conn.settings.LargeFrame
	switch {
	case least > 0 && r.need >= least:
		return min(end, r.start+r.need)
	case r.large && r.need == 0:
		return min(end, r.end+peek)
	}
	return end
}

// makeRoom leaves space for a large read after what is not used yet. The buffer
// is used further where nobody holds slices of it; otherwise the incomplete rest
// moves to another. A frame that is larger than the buffer gets a larger one, but
// never more than twice what has come of it, or than the largest that came before
// and whose buffer is kept for use again: what a size claims costs nothing.
func (r *reader) makeRoom() {
	have := r.end - r.start
	alone := r.buf.Refs() == 1
	if r.idle {
		r.size = r.conn.buffers.size
	}
	for r.size < r.conn.settings.ReadBuffer && have >= r.size/2 { // a frame that is not complete
		r.grow()
	}
	// One very large frame must not stay for ever, and neither what a busy time needed.
	if have == 0 && (r.conn.buffers.oversize(r.buf) || r.idle && len(r.buf.Bytes) > r.size) {
		r.replace(r.size)
		return
	}
	if alone && have == 0 {
		r.start, r.end = 0, 0
	}
	if r.need > 0 && r.need <= len(r.buf.Bytes)-r.start {
		return
	}
	least := r.size
	if r.need > least {
		least = r.conn.settings.ReadBuffer
	}
	size := min(max(r.need, least), max(2*have, least, min(r.largest, r.conn.buffers.largest())))
	large := r.conn.settings.LargeFrame
	fits := large > 0 && r.need >= large && r.need <= size // the sooner it moves, the less there is to move
	if !fits && len(r.buf.Bytes) >= r.size && len(r.buf.Bytes)-r.end >= min(r.conn.settings.ReadLeast, r.size/growth) {
		return
	}
	if alone && size <= len(r.buf.Bytes) {
		r.end = copy(r.buf.Bytes, r.buf.Bytes[r.start:r.end])
		r.start = 0
		return
	}
	r.replace(size)
}

// replace goes on in another buffer, of at least size bytes, with what is not used yet.
func (r *reader) replace(size int) {
	fresh := r.conn.buffers.get(size)
	r.end = copy(fresh.Bytes, r.buf.Bytes[r.start:r.end])
	r.start = 0
	r.buf.Release()
	r.buf = fresh
}

// leave ends the connection for what the peer said or did, and gives it a moment
// to read our last frames: our answer, or our reason, must still get out.
func (c *Conn) leave(why error) {
	c.Lock()
	if c.err == nil {
		c.protocol.Goodbye(why)
	}
	c.Unlock()
	c.protocol.HandOver()
	c.End(why)
	if c.net.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		// Whatever comes now is of no interest, and neither is how it ends.
		_, _ = io.Copy(io.Discard, c.net)
	}
}
