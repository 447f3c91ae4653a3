package fakebroker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/streamproto"
)

// StreamReceived is a frame that the client sent.
type StreamReceived struct {
	// Command is what was in it. With a correlation id that is a pointer to one
	// of streamproto's requests or responses; without one, a
	// *streamproto.Credit, *streamproto.StoreOffset or *streamproto.Tune, or a
	// *Published.
	Command     any
	Correlation uint32
	Size        int // bytes, with the size field
}

// Published is a Publish frame.
type Published struct {
	PublisherID uint8
	Version     uint16
	Entries     []PublishedEntry
}

// IDs are the publishing ids of the entries.
func (p *Published) IDs() []uint64 {
	var ids []uint64
	for i := range p.Entries {
		ids = append(ids, p.Entries[i].ID)
	}
	return ids
}

// PublishedEntry is an entry of a Publish frame.
type PublishedEntry struct {
	ID          uint64
	Filter      string
	Batched     bool
	Compression compress.Codec
	Data        []byte   // as it came: a message, or those of a batch, compressed
	Bodies      []string // of its messages, which must be readable
}

// StreamRequest returns the frame of a request. It panics where r cannot be
// encoded.
func StreamRequest(correlation uint32, r streamproto.Request) []byte {
	b, err := streamproto.AppendRequest(nil, correlation, r)
	if err != nil {
		panic(err)
	}
	return b
}

// StreamResponse returns the frame of a response. It panics where r cannot be
// encoded.
func StreamResponse(correlation uint32, r streamproto.Response) []byte {
	b, err := streamproto.AppendResponse(nil, correlation, r)
	if err != nil {
		panic(err)
	}
	return b
}

// StreamRaw returns any frame, legal or not. A response's key has its highest bit
// set.
func StreamRaw(key streamproto.Key, version uint16, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, version)
	return append(b, body...)
}

// frame reads the next frame, heartbeats left out, which must keep to the size
// that was agreed. The error is io.EOF, or whatever reading the socket gave,
// when the client is gone.
func (s *StreamSession) frame() (streamproto.Frame, int, error) {
	s.raw.t.Helper()
	for {
		f, n, err := streamproto.ParseFrame(s.raw.in, streamproto.Limits{Frame: s.frameMax, Deliver: s.frameMax})
		if err != nil {
			s.raw.fail("the client sent what is no frame: %v", err)
		}
		if n == 0 || n > len(s.raw.in) {
			if err := s.raw.more(); err != nil {
				if len(s.raw.in) > 0 && errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return f, 0, err
			}
			continue
		}
		f.Body = append([]byte(nil), f.Body...)
		s.raw.in = s.raw.in[n:]
		if f.Key != streamproto.KeyHeartbeat {
			return f, n, nil
		}
	}
}

// next reads the next command.
func (s *StreamSession) next() (*StreamReceived, error) {
	s.raw.t.Helper()
	s.raw.step.Add(1)
	f, n, err := s.frame()
	if err != nil {
		return nil, err
	}
	r := &StreamReceived{Size: n}
	switch {
	case f.Key == streamproto.KeyPublish:
		r.Command, err = parsePublished(f)
	case f.Key == streamproto.KeyCredit:
		var credit streamproto.Credit
		credit, err = streamproto.ParseCredit(f)
		r.Command = &credit
	case f.Key == streamproto.KeyStoreOffset:
		var store streamproto.StoreOffset
		store, err = streamproto.ParseStoreOffset(f)
		r.Command = &store
	case f.Key == streamproto.KeyTune:
		var tune streamproto.Tune
		tune, err = streamproto.ParseTune(f)
		r.Command = &tune
	case f.Response:
		r.Correlation, r.Command, err = streamproto.ParseResponse(f)
	default:
		r.Correlation, r.Command, err = streamproto.ParseRequest(f)
	}
	if err != nil {
		s.raw.fail("the client sent what can't be read: %v", err)
	}
	return r, nil
}

// parsePublished reads a Publish frame down to the bodies.
func parsePublished(f streamproto.Frame) (*Published, error) {
	id, entries, reader, err := streamproto.ParsePublish(f)
	if err != nil {
		return nil, err
	}
	p := &Published{PublisherID: id, Version: f.Version}
	for {
		id, filter, e, ok := reader.Next()
		if !ok {
			break
		}
		entry := PublishedEntry{ID: id, Filter: filter, Batched: e.Batched, Compression: compress.Codec(e.Compression), Data: e.Data}
		if entry.Bodies, err = bodies(e); err != nil {
			return nil, fmt.Errorf("entry %d, publishing id %d: %w", len(p.Entries), id, err)
		}
		p.Entries = append(p.Entries, entry)
	}
	if err := reader.Err(); err != nil {
		return nil, err
	}
	if entries == 0 || entries != len(p.Entries) {
		return nil, fmt.Errorf("a Publish frame that says it has %d entries, and has %d", entries, len(p.Entries))
	}
	return p, nil
}

// bodies reads the messages of an entry.
func bodies(e streamproto.Entry) ([]string, error) {
	if !e.Batched {
		body, err := messageBody(e.Data)
		return []string{body}, err
	}
	data, err := compress.Decompress(nil, compress.Codec(e.Compression), e.Data, int(e.UncompressedSize))
	if err != nil {
		return nil, err
	}
	var list []string
	for {
		message, rest, ok := streamproto.NextBatched(data)
		if !ok {
			break
		}
		body, err := messageBody(message)
		if err != nil {
			return nil, err
		}
		list, data = append(list, body), rest
	}
	if len(data) > 0 || len(list) != e.Count || e.Count == 0 {
		return nil, fmt.Errorf("a batch that says it has %d messages, and has %d and %d bytes more", e.Count, len(list), len(data))
	}
	return list, nil
}

func messageBody(message []byte) (string, error) {
	if body, ok := amqp10.Data(message); ok {
		return string(body), nil
	}
	var m amqp10.Message
	err := amqp10.ParseMessage(message, &m)
	return string(m.Body), err
}

// Next reads the next command.
func (s *StreamSession) Next() *StreamReceived {
	s.raw.t.Helper()
	r, err := s.next()
	if err != nil {
		s.raw.fail("waiting for a command: %v", err)
	}
	return r
}

// ExpectCommand reads the next command, which must be a C, and returns it with
// its correlation id.
func ExpectCommand[C any](s *StreamSession) (C, uint32) {
	s.raw.t.Helper()
	var want C
	r, err := s.next()
	if err != nil {
		s.raw.fail("waiting for %T: %v", want, err)
	}
	got, ok := r.Command.(C)
	if !ok {
		s.raw.fail("got %T %+v, not %T", r.Command, r.Command, want)
	}
	return got, r.Correlation
}

// ExpectHeartbeat reads one heartbeat.
func (s *StreamSession) ExpectHeartbeat() {
	s.raw.t.Helper()
	if got := string(s.raw.ReadBytes(streamproto.FrameHeaderSize)); got != string(streamproto.AppendHeartbeat(nil)) {
		s.raw.fail("got % x, not a heartbeat", got)
	}
}

// ExpectHangUp makes sure that the client closes the socket, and before that
// sends nothing but heartbeats.
func (s *StreamSession) ExpectHangUp() {
	s.raw.t.Helper()
	s.raw.step.Add(1)
	if f, _, err := s.frame(); err == nil {
		s.raw.fail("got %v (% x), not the end", f.Key, f.Body)
	}
}

// Refused waits for the client's Close with that code, which it sends when the
// server broke the protocol, and hangs up. Commands that come before it are
// passed over.
func (s *StreamSession) Refused(code streamproto.Code) {
	s.raw.t.Helper()
	for {
		bye, ok := s.Next().Command.(*streamproto.Close)
		if !ok {
			continue
		}
		if bye.Code != code {
			s.raw.fail("the client closed with %d %s, not %d", bye.Code, bye.Reason, code)
		}
		s.Close()
		return
	}
}
