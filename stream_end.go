package thump

import (
	"context"
	"fmt"
	"time"

	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

const (
	// lastChunkTimeout is how long the newest chunk may take to come. A stream
	// may hold offsets of consumers and no message: then none comes.
	lastChunkTimeout = 10 * time.Second

	// lastChunkDoubt is how long the broker's next answers may take for that to count:
	// the connection is not read while its consumer has enough to do.
	lastChunkDoubt = time.Second

	// endPause is how often it is looked whether the end was reached.
	endPause = 20 * time.Millisecond
)

// lastChunk reads the header of the newest chunk of messages in a stream; found
// is false where there is none. There is no command for it on every broker, so a
// second subscription, which begins with it, brings it.
func lastChunk(ctx context.Context, conn *streamconn.Conn, stream string) (c streamproto.Chunk, found bool, err error) {
	if err := conn.Server().Supports("the end of a stream", streamproto.KeyStreamStats, 1); err != nil {
		return c, false, err
	}
	for {
		stats, err := statsOf(ctx, conn, stream, time.Time{})
		if err != nil || stats.empty {
			return c, false, err
		}
		c, found, sure, err := findLastChunk(ctx, conn, stream)
		if err != nil || sure {
			return c, found, err
		}
	}
}

// findLastChunk is one try of lastChunk, for a stream that holds something. It is not
// sure where no chunk came, but the connection may not have been read meanwhile.
func findLastChunk(ctx context.Context, conn *streamconn.Conn, stream string) (c streamproto.Chunk, found, sure bool, err error) {
	inbox := streamconn.NewInbox()
	defer func() {
		inbox.End(transport.ErrClosed)
		inbox.Discard()
	}()
	sub, err := conn.Subscribe(ctx, streamconn.SubscribeConfig{
		Stream: stream, Offset: streamproto.OffsetSpec{Type: streamproto.OffsetLast}, Credit: 2, Inbox: inbox, Ended: inbox.End,
	})
	if err != nil {
		return c, false, false, err
	}
	waiting, cancel := context.WithTimeout(ctx, lastChunkTimeout)
	defer cancel()
	stop := inbox.Watch(waiting)
	arrivals, err := inbox.Take(waiting, nil)
	stop()
	late := err != nil && ctx.Err() == nil && waiting.Err() != nil
	asked := time.Now()
	inbox.End(transport.ErrClosed) // what still comes is dropped where it is too much
	if leaving := sub.Unsubscribe(ctx); err == nil || late {
		err = leaving
	}
	if late && err == nil {
		// What was sent before the broker's answer is in the inbox once another has been
		// read: a reader hands over at the end of a read.
		if _, err = conn.Call(ctx, &streamproto.Metadata{Streams: []string{stream}}); err == nil {
			arrivals, _ = inbox.Take(ctx, nil)
		}
	}
	if err != nil {
		return c, false, false, err
	}
	if len(arrivals) > 0 {
		c, found = arrivals[0].Chunk, true
		c.Data = nil
	}
	for i := range arrivals {
		arrivals[i].Release()
	}
	return c, found, found || time.Since(asked) < lastChunkDoubt, nil
}

// watchEnd ends the consumer once everything that was stored until Until was
// handed out. A later chunk says so by itself; without one, the end of the
// stream has to be known.
func (s *streamConsumer) watchEnd(ctx context.Context) {
	if !pause(ctx, time.Until(s.cfg.Stream.Until)) {
		return
	}
	ends := make([]uint64, len(s.positions))
	for i, p := range s.positions {
		last, err := s.newest(ctx, p)
		if err != nil {
			if ctx.Err() == nil {
				s.inbox.End(fmt.Errorf("stream %q: looking for its end: %w", p.stream, err))
			}
			return
		}
		if start := s.cfg.Stream.Start; start.kind != startTime || last.Timestamp >= int64(start.value) {
			ends[i] = last.FirstOffset + uint64(last.Records)
		} // else there is nothing from then on
	}
	for {
		if s.reached(ends) {
			s.inbox.End(ErrEnd)
			return
		}
		if !pause(ctx, endPause) {
			return
		}
	}
}

// newest is the header of the newest chunk of a stream, zero where there is none. Where
// the stream loses its connection, it is asked over the next one.
func (s *streamConsumer) newest(ctx context.Context, p *position) (streamproto.Chunk, error) {
	for {
		l, err := s.connected(ctx, p)
		if err != nil {
			return streamproto.Chunk{}, err
		}
		last, _, err := lastChunk(ctx, l.conn, p.stream)
		if err == nil || ctx.Err() != nil || !s.comesBack(l) {
			return last, err
		}
		if !pause(ctx, endPause) { // it may not be known yet that it is away
			return last, ctx.Err()
		}
	}
}

// reached reports whether all before these offsets was handed out.
func (s *streamConsumer) reached(ends []uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.positions {
		if !p.over && p.next < ends[i] {
			return false
		}
	}
	return true
}

// over returns ErrEnd when all streams have come to Until.
func (s *streamConsumer) over() error {
	s.mu.Lock()
	over := 0
	for _, p := range s.positions {
		if p.over {
			over++
		}
	}
	s.mu.Unlock()
	if over == len(s.positions) {
		s.inbox.End(ErrEnd)
		return ErrEnd
	}
	return nil
}

// pause waits for d, and reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
