package fakebroker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// Session is the server's side of one connection. Its methods are the steps of
// a script. They are for one goroutine at a time, but for Send and its like,
// which may be called while another goroutine reads.
//
// None returns an error: a step that fails ends its goroutine, as t.FailNow
// does, and the connection.
type Session struct {
	// StartOk, TuneOk and Open are what the client said at login.
	StartOk *amqpproto.ConnectionStartOk
	TuneOk  *amqpproto.ConnectionTuneOk
	Open    *amqpproto.ConnectionOpen

	t        testing.TB
	number   int
	net      net.Conn
	step     atomic.Int32
	finished atomic.Bool
	in       []byte // read and not parsed

	mayLeave                bool // see MayLeave
	writeBudget, readBudget int  // bytes until the connection breaks; -1: it does not
	published               map[uint16]uint64
}

func newSession(t testing.TB, number int, socket net.Conn) *Session {
	return &Session{
		t: t, number: number, net: socket, writeBudget: -1, readBudget: -1,
		published: make(map[uint16]uint64),
	}
}

// Received is a method that the client sent. A basic.publish comes with its
// header and body.
type Received struct {
	Channel    uint16
	Method     amqpproto.Method
	Properties amqpproto.Properties
	Body       []byte
}

// fail ends the script and fails the test.
func (s *Session) fail(format string, args ...any) {
	s.t.Helper()
	s.t.Errorf("fakebroker: connection %d, step %d: %s", s.number, s.step.Load(), fmt.Sprintf(format, args...))
	s.quit()
}

// quit ends the script and the connection.
func (s *Session) quit() {
	s.net.Close()
	runtime.Goexit()
}

// BreakAfter lets the connection break, and the script end, once the server has
// written that many more bytes or has read that many more. -1 is never.
func (s *Session) BreakAfter(written, read int) {
	s.writeBudget, s.readBudget = written, read
}

// MayLeave lets the client hang up at any time, in the middle of a login too: the script ends
// then, and that is no failure.
func (s *Session) MayLeave() { s.mayLeave = true }

// SendBytes writes bytes as they are.
func (s *Session) SendBytes(b []byte) {
	s.t.Helper()
	s.step.Add(1)
	if err := s.write(b); err != nil {
		s.fail("writing %d bytes: %v", len(b), err)
	}
}

// Offer is SendBytes to a client that may hang up meanwhile; it reports whether
// the client still took all.
func (s *Session) Offer(b []byte) bool {
	s.step.Add(1)
	return s.write(b) == nil
}

func (s *Session) write(b []byte) error {
	if s.writeBudget >= 0 && len(b) > s.writeBudget {
		_, _ = s.net.Write(b[:s.writeBudget]) // it breaks either way
		s.quit()
	}
	if s.writeBudget >= 0 {
		s.writeBudget -= len(b)
	}
	_, err := s.net.Write(b)
	if err != nil && s.mayLeave {
		s.quit()
	}
	return err
}

// Send writes methods on a channel, all with one write.
func (s *Session) Send(channel uint16, methods ...amqpproto.Method) {
	s.t.Helper()
	var frames []byte
	for _, m := range methods {
		frames = append(frames, Frame(channel, m)...)
	}
	s.SendBytes(frames)
}

// SendContent writes a method that carries a message, and the message, in
// frames as large as the client agreed to.
func (s *Session) SendContent(channel uint16, m amqpproto.Method, p *amqpproto.Properties, body []byte) {
	s.t.Helper()
	s.SendBytes(Content(channel, s.TuneOk.FrameMax, m, p, body))
}

// Raw returns any frame, legal or not.
func Raw(frameType uint8, channel uint16, payload []byte) []byte {
	b := []byte{frameType, byte(channel >> 8), byte(channel)}
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	return append(append(b, payload...), amqpproto.FrameEnd)
}

// Frame returns a method's frame. It panics where m cannot be encoded.
func Frame(channel uint16, m amqpproto.Method) []byte {
	b, err := amqpproto.AppendMethodFrame(nil, channel, m)
	if err != nil {
		panic(err)
	}
	return b
}

// Content returns the frames of a method that carries a message. It panics
// where they cannot be encoded.
func Content(channel uint16, frameMax uint32, m amqpproto.Method, p *amqpproto.Properties, body []byte) []byte {
	b, err := amqpproto.AppendContent(nil, channel, frameMax, m, p, body)
	if err != nil {
		panic(err)
	}
	return b
}

// Header returns a content header frame that announces size bytes.
func Header(channel uint16, size uint64) []byte {
	payload := binary.BigEndian.AppendUint64([]byte{0, amqpproto.ClassBasic, 0, 0}, size)
	return Raw(amqpproto.FrameHeader, channel, append(payload, 0, 0))
}

// ReadBytes reads exactly n bytes.
func (s *Session) ReadBytes(n int) []byte {
	s.t.Helper()
	s.step.Add(1)
	for len(s.in) < n {
		if err := s.more(); err != nil {
			s.fail("waiting for %d bytes, got %q: %v", n, s.in, err)
		}
	}
	b := s.in[:n:n]
	s.in = s.in[n:]
	return b
}

// more reads what there is.
func (s *Session) more() error {
	room := make([]byte, 32<<10)
	if s.readBudget >= 0 {
		room = room[:min(len(room), s.readBudget)]
	}
	if len(room) == 0 {
		s.quit()
	}
	n, err := s.net.Read(room)
	s.in = append(s.in, room[:n]...)
	if s.readBudget >= 0 {
		s.readBudget -= n
	}
	if n > 0 {
		return nil
	}
	if s.mayLeave {
		s.quit()
	}
	return err
}

// frame reads the next frame, heartbeats left out. The error is io.EOF, or
// whatever reading the socket gave, when the client is gone.
func (s *Session) frame() (amqpproto.Frame, error) {
	s.t.Helper()
	for {
		f, n, err := amqpproto.ParseFrame(s.in, 0)
		if err != nil {
			s.fail("the client sent what is no frame: %v", err)
		}
		if n == 0 {
			if err := s.more(); err != nil {
				if len(s.in) > 0 && errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return f, err
			}
			continue
		}
		f.Payload = append([]byte(nil), f.Payload...)
		s.in = s.in[n:]
		if f.Type != amqpproto.FrameHeartbeat {
			return f, nil
		}
	}
}

// next reads the next method, with its message if it carries one.
func (s *Session) next() (*Received, error) {
	s.t.Helper()
	s.step.Add(1)
	f, err := s.frame()
	if err != nil {
		return nil, err
	}
	if f.Type != amqpproto.FrameMethod {
		s.fail("got a frame of type %d, not a method", f.Type)
	}
	m, err := amqpproto.ParseMethod(f.Payload)
	if err != nil {
		s.fail("the client sent what is no method: %v", err)
	}
	r := &Received{Channel: f.Channel, Method: m}
	if _, ok := m.(*amqpproto.BasicPublish); ok {
		err = s.message(r)
	}
	return r, err
}

// message reads the header and body of a message.
func (s *Session) message(r *Received) error {
	s.t.Helper()
	s.published[r.Channel]++
	f, err := s.frame()
	if err != nil {
		return err
	}
	header, err := amqpproto.ParseContentHeader(f.Payload)
	if err != nil || f.Type != amqpproto.FrameHeader || f.Channel != r.Channel {
		s.fail("got frame %d on channel %d, not a header on %d: %v", f.Type, f.Channel, r.Channel, err)
	}
	if r.Properties, err = amqpproto.ParseProperties(header.Properties); err != nil {
		s.fail("properties: %v", err)
	}
	for uint64(len(r.Body)) < header.BodySize {
		if f, err = s.frame(); err != nil {
			return err
		}
		if f.Type != amqpproto.FrameBody || f.Channel != r.Channel || len(f.Payload) == 0 {
			s.fail("got frame %d on channel %d with %d bytes, not a body on %d", f.Type, f.Channel, len(f.Payload), r.Channel)
		}
		r.Body = append(r.Body, f.Payload...)
	}
	if uint64(len(r.Body)) > header.BodySize {
		s.fail("the header announces %d bytes, and %d came", header.BodySize, len(r.Body))
	}
	return nil
}

// Next reads the next method.
func (s *Session) Next() *Received {
	s.t.Helper()
	r, err := s.next()
	if err != nil {
		s.fail("waiting for a method: %v", err)
	}
	return r
}

// Expect reads the next method, which must be an M, and returns it with its
// channel.
func Expect[M amqpproto.Method](s *Session) (M, uint16) {
	s.t.Helper()
	var want M
	r, err := s.next()
	if err != nil {
		s.fail("waiting for %v: %v", want.ID(), err)
	}
	got, ok := r.Method.(M)
	if !ok {
		s.fail("got %v %+v on channel %d, not %v", r.Method.ID(), r.Method, r.Channel, want.ID())
	}
	return got, r.Channel
}

// ExpectHeartbeat reads one heartbeat.
func (s *Session) ExpectHeartbeat() {
	s.t.Helper()
	if got := string(s.ReadBytes(8)); got != string(amqpproto.AppendHeartbeat(nil)) {
		s.fail("got % x, not a heartbeat", got)
	}
}

// ExpectHangUp makes sure that the client closes the socket, and before that
// sends nothing but heartbeats.
func (s *Session) ExpectHangUp() {
	s.t.Helper()
	s.step.Add(1)
	if f, err := s.frame(); err == nil {
		s.fail("got a frame of type %d on channel %d (% x), not the end", f.Type, f.Channel, f.Payload)
	}
}

// Discard reads, whatever it is, until the client hangs up.
func (s *Session) Discard() {
	s.step.Add(1)
	_, _ = io.Copy(io.Discard, s.net) // how it ends is the client's affair
}

// Conn is the connection itself, for a script with steps of its own. Bytes that
// were read and belong to no step yet are lost to it.
func (s *Session) Conn() net.Conn { return s.net }

// Close closes the connection in the middle of things.
func (s *Session) Close() { s.net.Close() }

// Reset breaks the connection as a crashed host or a firewall does: the client
// may not get what was written last.
func (s *Session) Reset() {
	switch c := s.net.(type) {
	case *net.TCPConn:
		_ = c.SetLinger(0) // it only fails on a socket that is closed
		s.net.Close()
	case *pipeEnd:
		c.reset()
	}
}
