package thump

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
)

// acked notes that everything up to an offset was acked. It sends the offset to
// be stored, once that is many messages.
func (s *streamConsumer) acked(p *position, offset uint64, more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.acked, p.again = mark{offset, true}, atOffset(offset+1)
	p.since += more
	if o := &s.cfg.Stream; o.Name != "" && !o.ManualStore && more > 0 && (p.since >= o.StoreEvery || s.halted) {
		// An error is the connection's, and receiving returns it.
		_ = s.send(p)
	}
}

// send sends the offset of what was handled to be stored, if that is another
// than before. The broker does not answer. s.mu is held.
func (s *streamConsumer) send(p *position) error {
	if p.inactive || !p.acked.known || p.acked == p.stored {
		return nil
	}
	err := p.link.conn.StoreOffset(&streamproto.StoreOffset{Reference: s.cfg.Stream.Name, Stream: p.stream, Offset: p.acked.offset})
	if err == nil {
		p.stored, p.since = p.acked, 0
	}
	return err
}

// keepOffset stores, now and then, the offset of what was handled of a stream since, and
// looks whether the one before was stored: the broker drops what it can't store
// without a word. Each stream has its own, since an answer may be long in coming. Once
// the consumer has ended, what is acked late is sent at once instead.
func (s *streamConsumer) keepOffset(ctx context.Context, p *position) {
	tick := time.NewTicker(s.cfg.Stream.StoreInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.checkStored(ctx, p)
			s.sendQuietly(p)
		case <-ctx.Done():
			s.mu.Lock()
			s.halted = true
			s.mu.Unlock()
			s.sendQuietly(p)
			return
		}
	}
}

// checkStored sends an offset again that the broker has not stored.
func (s *streamConsumer) checkStored(ctx context.Context, p *position) {
	s.mu.Lock()
	sent, inactive, conn := p.stored, p.inactive, p.link.conn
	s.mu.Unlock()
	if !sent.known || inactive {
		return
	}
	defer s.inbox.Relax()()
	offset, found, err := queryOffset(ctx, conn, p.stream, s.cfg.Stream.Name)
	if err == nil && (!found || offset < sent.offset) {
		s.client.cfg.Logger.Warn("an offset was not stored; it is sent again", "stream", p.stream, "consumer", s.cfg.Stream.Name, "offset", sent.offset)
		s.sendAgain(p)
	}
}

// sendQuietly is send in the background: an error is the connection's, and receiving
// returns it.
func (s *streamConsumer) sendQuietly(p *position) {
	s.mu.Lock()
	_ = s.send(p)
	s.mu.Unlock()
}

const (
	// storePause is how often a stored offset is asked for until it is there, and
	// storeAgain how often it is sent meanwhile: the broker drops what it can't store.
	storePause = 20 * time.Millisecond
	storeAgain = time.Second

	// answerTimeout is how long storing an offset, and ending a subscription, may take
	// where the context sets no deadline. The broker waits a minute for the answer to an update.
	answerTimeout = 30 * time.Second
)

// bounded is ctx, or one that ends in time where it sets no deadline: a broker that sends
// on and on and never answers is not found out by the heartbeat.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, answerTimeout)
}

// storeAll stores the offsets of what was handled, in all streams at the same time, and
// makes sure of it.
func (s *streamConsumer) storeAll(ctx context.Context) error {
	defer s.inbox.Relax()()
	storing := make([]func() error, len(s.positions))
	for i, p := range s.positions {
		storing[i] = func() error {
			if err := s.store(ctx, p); err != nil {
				return fmt.Errorf("storing the offset of consumer %q in stream %q: %w", s.cfg.Stream.Name, p.stream, toPublic(err))
			}
			return nil
		}
	}
	return allAtOnce(storing)
}

// store stores the offset of what was handled in one stream, and waits until the broker
// has it; where the stream has no connection, until it has one again.
func (s *streamConsumer) store(ctx context.Context, p *position) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	for {
		if late, err := s.tooLate(p); late {
			return err
		}
		l, err := s.connected(ctx, p)
		if err != nil {
			return err
		}
		if err = s.storeOver(ctx, l); err == nil || ctx.Err() != nil || !s.comesBack(l) {
			return err
		}
		if !pause(ctx, storePause) { // it may not be known yet that it is away
			return err
		}
	}
}

// tooLate reports whether the offsets of a stream are another consumer's affair: another one
// of the group is the active one, or may be. The error says that something of what was
// handled may not be stored.
func (s *streamConsumer) tooLate(p *position) (late bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !p.inactive:
		return false, nil
	case p.kept && p.acked.known:
		return true, stale(errLostTurn)
	case p.acked.known && p.acked != p.stored:
		return true, stale(errInactive)
	default:
		return true, nil
	}
}

// storeOver is store over one connection.
func (s *streamConsumer) storeOver(ctx context.Context, l *link) error {
	p := l.position
	s.mu.Lock()
	err := s.send(p)
	wanted := p.stored
	s.mu.Unlock()
	if err != nil || !wanted.known {
		return err
	}
	sent := time.Now()
	for {
		offset, found, err := queryOffset(ctx, l.conn, p.stream, s.cfg.Stream.Name)
		if err == nil && found && offset >= wanted.offset {
			return nil
		}
		if err == nil && pause(ctx, storePause) {
			if time.Since(sent) >= storeAgain {
				sent = time.Now()
				s.sendAgain(p) // or a later one, where that was sent meanwhile
			}
			continue
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the broker has not stored offset %d: a consumer of that name gets some messages again: %w", wanted.offset, ctx.Err())
		}
		return err
	}
}

// sendAgain sends the offset of what was handled, also where that is the one that was
// sent last. An error is the connection's.
func (s *streamConsumer) sendAgain(p *position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.inactive {
		p.stored = mark{}
		_ = s.send(p)
	}
}

// StoreOffset stores, in the streams of a stream's consumer with a Name, the
// offset of what was acked so far, and returns when the broker has it. Where a stream has no
// connection, it waits until it has one again. Without a deadline in ctx it waits 30 s.
// Needed with ManualStore; optional otherwise.
func (c *Consumer) StoreOffset(ctx context.Context) error {
	s, ok := c.engine.(*streamConsumer)
	switch {
	case c.engine == nil:
		return errNoConsumer
	case ctx.Err() != nil:
		return fmt.Errorf("thump: storing an offset of %v: %w", c.cfg.From, ctx.Err())
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

// errInactive is why an inactive consumer of a group can't settle: the next one begins
// after the offset that is stored.
var errInactive = errors.New("another consumer of the group has become the active one")

// errLostTurn is why a consumer of a group whose connection was lost can't store its offset.
var errLostTurn = errors.New("its connection was lost, and another consumer of the group may have become the active one")

// deactivate makes way for the group's next active consumer of a stream, which
// continues where this one stops: what has come and was not handed out is dropped,
// and what is not acked by now is delivered again. from changes before the period, and
// wanted looks at them the other way round: what is read with the old from is either
// expired here, or refused by addLocked.
func (s *streamConsumer) deactivate(ctx context.Context, l *link) error {
	p := l.position
	s.mu.Lock()
	p.from = math.MaxUint64
	s.mu.Unlock()
	p.unsettled.expire(errInactive)
	if s.cfg.Stream.ManualStore {
		return nil
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	return s.storeOver(ctx, l)
}

// activate makes ready for the turn of this consumer, and returns where it begins.
//
// It begins after the offset that is stored. Where the loss of a connection ended its last
// turn, and what it acked then is further on, it begins after that: all of it was handled,
// by this consumer or before its turn, whoever was active in between.
func (s *streamConsumer) activate(ctx context.Context, l *link, turn uint32) (streamproto.OffsetSpec, error) {
	p := l.position
	begin, err := s.begin(ctx, l.conn, p)
	if err != nil {
		return begin.ask, err
	}
	s.mu.Lock()
	own := p.kept && (!begin.stored || p.again.Type == streamproto.OffsetNumber && p.again.Value > begin.ask.Value)
	s.mu.Unlock()
	if own {
		if begin, err = s.resume(ctx, l); err != nil {
			return begin.ask, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.begin(begin)
	p.turn, p.inactive, p.kept, p.expired = turn, false, false, 0
	if !own {
		p.acked = mark{}
	}
	p.stored, p.since, p.active = mark{}, 0, true
	return begin.ask, nil
}

// prepare does what comes before the answer to an update, which says where to begin.
// The broker's own answers may be behind more chunks than are let in.
func (s *streamConsumer) prepare(ctx context.Context, l *link, u streamconn.Update) (streamproto.OffsetSpec, error) {
	defer s.inbox.Relax()()
	if u.Active {
		return s.activate(ctx, l, u.Turn)
	}
	return streamproto.OffsetSpec{Type: streamproto.OffsetNone}, s.deactivate(ctx, l)
}

// update answers the broker, which says when this consumer is to be the active one of its
// group for a stream, and when no more.
func (s *streamConsumer) update(ctx context.Context, l *link, u streamconn.Update) error {
	begin, err := s.prepare(ctx, l, u)
	if err != nil {
		return err
	}
	p := l.position
	s.callOnActive(p, u.Active)
	if !u.Active { // up to now OnActive could store
		s.mu.Lock()
		p.inactive, p.active = true, false
		s.mu.Unlock()
	}
	return l.sub.Answer(u, begin)
}

// callOnActive calls it unless the consumer has ended.
func (s *streamConsumer) callOnActive(p *position, active bool) {
	s.mu.Lock()
	quiet := s.quiet || s.cfg.Stream.OnActive == nil
	if !quiet {
		s.calls.Add(1)
	}
	s.mu.Unlock()
	if !quiet {
		defer s.calls.Done()
		s.cfg.Stream.OnActive(p.stream, active)
	}
}
