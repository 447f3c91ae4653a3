package fakebroker

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// newPipe returns the two ends of a connection in memory. Other than with
// net.Pipe a write does not wait for the read, as long as there is room for
// size bytes: two sides that both write first would otherwise wait for ever.
func newPipe(size int) (client, server net.Conn) {
	up, down := newStream(size), newStream(size)
	return &pipeEnd{in: down, out: up}, &pipeEnd{in: up, out: down}
}

// pipeEnd is one end of a pipe, a net.Conn.
type pipeEnd struct {
	in, out *stream
}

func (p *pipeEnd) Read(b []byte) (int, error)  { return p.in.read(b) }
func (p *pipeEnd) Write(b []byte) (int, error) { return p.out.write(b) }

// Close ends both directions: the other side reads what was written, then
// io.EOF, and its writes fail.
func (p *pipeEnd) Close() error {
	p.out.end(io.EOF, net.ErrClosed)
	p.in.end(net.ErrClosed, syscall.EPIPE)
	return nil
}

// reset ends both directions as a TCP reset does: what was written is lost.
func (p *pipeEnd) reset() {
	p.out.discard()
	p.out.end(syscall.ECONNRESET, net.ErrClosed)
	p.in.end(net.ErrClosed, syscall.ECONNRESET)
}

func (p *pipeEnd) LocalAddr() net.Addr  { return pipeAddr{} }
func (p *pipeEnd) RemoteAddr() net.Addr { return pipeAddr{} }

func (p *pipeEnd) SetDeadline(t time.Time) error {
	p.in.readBy.set(p.in, t)
	p.out.writeBy.set(p.out, t)
	return nil
}

func (p *pipeEnd) SetReadDeadline(t time.Time) error {
	p.in.readBy.set(p.in, t)
	return nil
}

func (p *pipeEnd) SetWriteDeadline(t time.Time) error {
	p.out.writeBy.set(p.out, t)
	return nil
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// stream is one direction of a pipe: a bounded buffer.
type stream struct {
	mu                sync.Mutex
	changed           sync.Cond
	size              int    // most bytes in it
	room              []byte // empty, with room for twice that
	bytes             []byte // what is in it, somewhere in that room
	readErr, writeErr error  // once it has ended; reads first get what is left
	readBy, writeBy   deadline
}

func newStream(size int) *stream {
	s := &stream{size: size, room: make([]byte, 0, 2*size)}
	s.bytes = s.room
	s.changed.L = &s.mu
	return s
}

// deadline is a point in time that ends waits on a stream. Guarded by its mu.
type deadline struct {
	at    time.Time // zero: none
	timer *time.Timer
}

func (d *deadline) set(s *stream, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.at = at
	switch {
	case d.timer == nil && !at.IsZero():
		d.timer = time.AfterFunc(time.Until(at), s.wake)
	case d.timer != nil && !at.IsZero():
		d.timer.Reset(time.Until(at))
	case d.timer != nil:
		d.timer.Stop()
	}
	s.changed.Broadcast()
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (s *stream) wake() {
	s.mu.Lock()
	s.changed.Broadcast()
	s.mu.Unlock()
}

func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case errors.Is(s.readErr, net.ErrClosed):
			return 0, s.readErr
		case s.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case len(s.bytes) > 0:
			n := copy(b, s.bytes)
			s.bytes = s.bytes[n:]
			if len(s.bytes) == 0 {
				s.bytes = s.room
			}
			s.release()
			s.changed.Broadcast()
			return n, nil
		case s.readErr != nil:
			return 0, s.readErr
		}
		s.changed.Wait()
	}
}

func (s *stream) write(b []byte) (written int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.writeErr != nil:
			return written, s.writeErr
		case s.writeBy.passed():
			return written, os.ErrDeadlineExceeded
		}
		n := min(len(b), s.size-len(s.bytes))
		if n > 0 {
			if len(s.bytes)+n > cap(s.bytes) { // the room in front is free again
				s.bytes = append(s.room, s.bytes...)
			}
			s.bytes = append(s.bytes, b[:n]...)
			s.changed.Broadcast()
		}
		b, written = b[n:], written+n
		if len(b) == 0 {
			return written, nil
		}
		s.changed.Wait()
	}
}

// end makes reads and writes fail from now on; the first end counts.
func (s *stream) end(readErr, writeErr error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readErr == nil || errors.Is(readErr, net.ErrClosed) {
		s.readErr = readErr
	}
	if s.writeErr == nil || errors.Is(writeErr, net.ErrClosed) {
		s.writeErr = writeErr
	}
	for _, d := range []*deadline{&s.readBy, &s.writeBy} {
		if d.timer != nil {
			d.timer.Stop()
		}
	}
	s.release()
	s.changed.Broadcast()
}

// release lets the memory go once nothing more is read: a broker remembers every
// connection that it had.
func (s *stream) release() {
	if errors.Is(s.readErr, net.ErrClosed) || s.readErr != nil && len(s.bytes) == 0 {
		s.room, s.bytes = nil, nil
	}
}

func (s *stream) discard() {
	s.mu.Lock()
	s.bytes = s.room
	s.mu.Unlock()
}
