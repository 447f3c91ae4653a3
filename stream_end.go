package thump

import (
	"context"
	"fmt"
	"time"

	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
)

const (
	// lastChunkTimeout is how long the newest chunk may take to come. A stream
	// may hold offsets of consumers and no message: then none comes.
	lastChunkTimeout = 10 * time.Second

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
	stats, err := statsOf(ctx, conn, stream)
	if err != nil || stats.empty {
		return c, false, err
	}
	inbox := streamconn.NewInbox()
	sub, err := conn.Subscribe(ctx, streamconn.SubscribeConfig{
		Stream: stream, Offset: streamproto.OffsetSpec{Type: streamproto.OffsetLast}, Credit: 2, Inbox: inbox,
	})
	if err != nil {
		return c, false, err
	}
	waiting, cancel := context.WithTimeout(ctx, lastChunkTimeout)
	defer cancel()
	stop := inbox.Watch(waiting)
	arrivals, err := inbox.Take(waiting, nil)
	stop()
	if err == nil {
		c, found = arrivals[0].Chunk, true
		c.Data = nil
		for i := range arrivals {
			arrivals[i].Release()
		}
	}
	if ctx.Err() == nil && waiting.Err() != nil {
		err = nil // there is no chunk of messages
	}
	inbox.Drain()
	if leaving := sub.Unsubscribe(ctx); err == nil {
		err = leaving
	}
	inbox.End(streamconn.ErrClosed)
	inbox.Discard()
	return c, found, err
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
		last, _, err := lastChunk(ctx, p.conn, p.stream)
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

// over notes that a stream has come to Until; when all have, it returns ErrEnd.
func (s *streamConsumer) over(p *position) error {
	s.mu.Lock()
	p.over = true
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
