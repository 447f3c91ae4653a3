package thump

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
)

// position is how far a consumer is in one stream. What is not constant is
// guarded by its consumer's mu.
type position struct {
	stream string
	conn   *streamconn.Conn
	sub    *streamconn.Subscription

	from uint64   // messages of lower offsets are dropped
	next uint64   // the offset behind what was handed out
	open []*Batch // handed out and not all handled, oldest first, and handled ones behind those
	over bool     // Until is reached

	done   mark // the offset up to which everything was handled
	stored mark // the offset that was last sent to be stored
	since  int  // messages that were handled after that
}

// mark is an offset that may not be known.
type mark struct {
	offset uint64
	known  bool
}

// begin sets where the stream is read from. The broker begins with the chunk
// that holds an offset, so what comes before it in there is dropped.
func (p *position) begin(spec streamproto.OffsetSpec) {
	p.from = 0
	if spec.Type == streamproto.OffsetNumber {
		p.from, p.next = spec.Value, spec.Value
	}
}

// handled notes that everything up to an offset was.
func (p *position) handled(offset uint64) { p.done = mark{offset, true} }

// finished hears that a batch was handled. What counts is what was handled with
// all before it. Consumer.mu is held.
func (s *streamConsumer) finished(b *Batch) {
	p := b.position
	b.handled = true
	n := 0
	for n < len(p.open) && p.open[n].handled {
		p.handled(p.open[n].last)
		p.since += p.open[n].size - p.open[n].counted
		n++
	}
	p.open = slices.Delete(p.open, 0, n)
	if len(p.open) > 0 {
		s.partly(p.open[0])
	}
	s.storeIfDue(p)
}

// partly hears that some of a batch was handled: what counts is what comes
// before all that was not. Consumer.mu is held.
func (s *streamConsumer) partly(b *Batch) {
	p := b.position
	if p.open[0] != b || b.settled == nil {
		return
	}
	n := b.counted
	for b.settled[n] { // not all of them are
		n++
	}
	if n > b.counted && n <= len(b.Deliveries) {
		p.handled(b.Deliveries[n-1].Offset)
		p.since += n - b.counted
		b.counted = n
		s.storeIfDue(p)
	}
}

// storeIfDue sends the offset of what was handled to be stored, once that is
// many messages. Consumer.mu is held.
func (s *streamConsumer) storeIfDue(p *position) {
	if o := &s.cfg.Stream; o.Name != "" && !o.ManualStore && p.since >= o.StoreEvery {
		// An error is the connection's, and whoever receives hears of it.
		_ = s.send(p)
	}
}

// send sends the offset of what was handled to be stored, if that is another
// than before. The broker does not answer. Consumer.mu is held.
func (s *streamConsumer) send(p *position) error {
	if !p.done.known || p.done == p.stored {
		return nil
	}
	err := p.conn.StoreOffset(&streamproto.StoreOffset{Reference: s.cfg.Stream.Name, Stream: p.stream, Offset: p.done.offset})
	if err == nil {
		p.stored, p.since = p.done, 0
	}
	return err
}

// keepOffsets stores, now and then, the offset of what was handled since, and
// looks whether the one before was stored: the broker drops what it can't store
// without a word.
func (s *streamConsumer) keepOffsets(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Stream.StoreInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, p := range s.positions {
			s.mu.Lock()
			sent := p.stored
			s.mu.Unlock()
			if !sent.known {
				s.sendQuietly(p)
				continue
			}
			offset, found, err := queryOffset(ctx, p.conn, p.stream, s.cfg.Stream.Name)
			if err == nil && (!found || offset < sent.offset) {
				s.client.cfg.Logger.Warn("an offset was not stored; it is sent again", "stream", p.stream, "consumer", s.cfg.Stream.Name, "offset", sent.offset)
				s.mu.Lock()
				p.stored = mark{}
				s.mu.Unlock()
			}
			s.sendQuietly(p)
		}
	}
}

// sendQuietly is send for a keeper: an error is the connection's, and whoever
// receives hears of it.
func (s *streamConsumer) sendQuietly(p *position) {
	s.mu.Lock()
	_ = s.send(p)
	s.mu.Unlock()
}

const (
	// storeTries is how often a stored offset is asked for until it is there.
	storeTries = 50
	storePause = 20 * time.Millisecond
)

// storeAll stores the offsets of what was handled, and makes sure of it.
func (s *streamConsumer) storeAll(ctx context.Context) error {
	defer s.inbox.Relax()()
	var failed []error
	for _, p := range s.positions {
		if err := s.store(ctx, p); err != nil {
			failed = append(failed, fmt.Errorf("storing the offset of consumer %q in stream %q: %w", s.cfg.Stream.Name, p.stream, public(err)))
		}
	}
	return errors.Join(failed...)
}

func (s *streamConsumer) store(ctx context.Context, p *position) error {
	s.mu.Lock()
	err := s.send(p)
	wanted := p.stored
	s.mu.Unlock()
	if err != nil || !wanted.known {
		return err
	}
	for range storeTries {
		offset, found, err := queryOffset(ctx, p.conn, p.stream, s.cfg.Stream.Name)
		if err != nil {
			return err
		}
		if found && offset >= wanted.offset {
			return nil
		}
		select {
		case <-time.After(storePause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the broker has not stored offset %d: a consumer of that name gets some messages again", wanted.offset)
}

// StoreOffset stores, in the streams of a stream's consumer with a Name, the
// offset of what was acked so far, and returns when the broker has it. It is
// what there is to do with ManualStore, and can be done without.
func (c *Consumer) StoreOffset(ctx context.Context) error {
	s, ok := c.engine.(*streamConsumer)
	switch {
	case !ok:
		return fmt.Errorf("thump: storing an offset: %w", errNotStream)
	case c.cfg.Stream.Name == "":
		return fmt.Errorf("thump: storing an offset of %v: the consumer has no Stream.Name to store it under", c.cfg.From)
	}
	if err := s.storeAll(ctx); err != nil {
		return fmt.Errorf("thump: %w", err)
	}
	return nil
}

// answerUpdates answers the broker, which says when this consumer is to be the
// active one of its group for a stream, and when no more.
func (s *streamConsumer) answerUpdates(ctx context.Context, p *position) {
	for {
		select {
		case u := <-p.sub.Updates():
			if err := s.update(ctx, p, u); err != nil && ctx.Err() == nil {
				s.inbox.End(fmt.Errorf("stream %q: taking its turn in the group %q: %w", p.stream, s.cfg.Stream.Name, err))
			}
		case <-p.conn.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// stepBack makes room for the group's next active consumer of a stream: it begins
// where this one ends, so what has come and was not handed out is dropped.
func (s *streamConsumer) stepBack(ctx context.Context, p *position) error {
	s.mu.Lock()
	p.from = math.MaxUint64
	s.mu.Unlock()
	if s.cfg.Stream.ManualStore {
		return nil
	}
	return s.store(ctx, p)
}

func (s *streamConsumer) update(ctx context.Context, p *position, u streamconn.Update) error {
	o := &s.cfg.Stream
	begin := streamproto.OffsetSpec{Type: streamproto.OffsetNone}
	if u.Active {
		var err error
		if begin, err = s.begin(ctx, p); err != nil {
			return err
		}
		s.mu.Lock()
		p.begin(begin)
		s.mu.Unlock()
	} else if err := s.stepBack(ctx, p); err != nil {
		return err
	}
	if o.OnActive != nil {
		o.OnActive(p.stream, u.Active)
	}
	return p.sub.Answer(u, begin)
}
