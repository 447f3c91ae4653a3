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

// ErrDeclaredAgain is the error of a consumer whose stream was deleted and declared again,
// or restored to an earlier state, while it had no connection: the offsets begin anew, and
// what the consumer was to go on with is lost.
var ErrDeclaredAgain = errors.New("the stream was declared again, and its messages were lost")

// notBack is the error of whoever waits for a connection, where there will be none. It is
// Temporary where the last attempt to get one was: see reason.
type notBack struct{ why error }

// Error leaves why to the outage, which says it.
func (e notBack) Error() string { return "the consumer does not come back" }

// Unwrap returns why it does not.
func (e notBack) Unwrap() error { return e.why }

// live keeps a stream connected while consuming lives. For a group it answers the broker,
// until ctx ends.
func (s *streamConsumer) live(ctx, consuming context.Context, p *position) {
	for {
		why := s.attend(ctx, p)
		if why == nil || !p.recoverer.on() || consuming.Err() != nil || !s.comeBack(consuming, p, toPublic(why)) {
			return
		}
	}
}

// attend answers for the group until the link of a stream has ended, and returns why; nil
// where ctx has ended, or nothing is to be done about it.
func (s *streamConsumer) attend(ctx context.Context, p *position) error {
	l := p.link // which nobody else sets now
	for {
		select {
		case u := <-l.sub.Updates():
			if err := s.update(ctx, l, u); err != nil && ctx.Err() == nil {
				s.turnFailed(l, err)
			}
		case <-l.sub.Done():
		case <-l.conn.Done():
		case <-ctx.Done():
			return nil
		}
		s.mu.Lock()
		why := l.gone()
		s.mu.Unlock()
		if why != nil {
			return why
		}
	}
}

// turnFailed ends a link over which the broker's update could not be answered: it would wait.
func (s *streamConsumer) turnFailed(l *link, err error) {
	p := l.position
	err = fmt.Errorf("taking its turn in the group %q: %w", s.cfg.Stream.Name, err)
	if p.recoverer.on() && Temporary(toPublic(err)) {
		l.conn.Fail(err)
		return
	}
	s.inbox.End(fmt.Errorf("stream %q: %w", p.stream, err))
}

// subscriptionEnded ends a consumer that does not come back. It is called with the
// connection's lock held.
func (s *streamConsumer) subscriptionEnded(p *position, why error) {
	if !p.recoverer.on() {
		s.inbox.End(fmt.Errorf("stream %q: %w", p.stream, why))
	}
}

// detach ends what came over the link of a stream: no more of it is handed out, and what was
// handed out can't be settled. It returns how many deliveries that were. from changes before
// the period: see deactivate.
func (s *streamConsumer) detach(p *position, why error) (open int) {
	s.mu.Lock()
	p.from = math.MaxUint64
	if s.cfg.Stream.SingleActive {
		p.kept, p.inactive = p.kept || p.active, true
	}
	s.mu.Unlock()
	open = p.unsettled.expire(fmt.Errorf("the connection was lost: %w", why))
	s.mu.Lock()
	p.expired = max(p.expired, open)
	s.mu.Unlock()
	return open
}

// comeBack gives a stream another link. It reports false if there is none any more, and
// ends the consumer then.
func (s *streamConsumer) comeBack(ctx context.Context, p *position, why error) bool {
	o := newOutage(why, s.detach(p, why))
	s.mu.Lock()
	p.away = o
	former, active := p.link, p.active
	p.active = false
	s.mu.Unlock()
	s.dismiss(ctx, former.conn)
	told := make(chan struct{})
	go func() { // it may call Close, which waits for what follows
		defer close(told)
		if active {
			s.callOnActive(p, false)
		}
	}()
	err := p.recoverer.run(ctx, o, func(ctx context.Context) (int, error) { return 0, s.reopen(ctx, p) })
	s.mu.Lock()
	if !errors.Is(err, ErrClosed) { // whose end was asked for, and has lost a connection before
		p.notBack = notBack{err}
	}
	if err == nil {
		p.away = nil
		if !s.cfg.Stream.SingleActive { // else it is not its turn yet
			p.expired = 0
		}
	}
	s.mu.Unlock()
	close(o.over)
	if err == nil {
		<-told
		return true
	}
	s.inbox.End(fmt.Errorf("stream %q: %w", p.stream, err))
	return false
}

// reopen is one attempt to give a stream another link.
func (s *streamConsumer) reopen(ctx context.Context, p *position) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	generation := s.client.secrets.now()
	s.mu.Lock()
	dial := s.client.dialReplica
	if p.doubted {
		dial = s.client.dialLeader
	}
	s.mu.Unlock()
	conn, err := dial(ctx, p.stream)
	if err != nil {
		return toPublic(err)
	}
	if err = s.attach(ctx, p, conn); err == nil {
		err = s.client.secrets.catchUp(generation, func(secret string) error { return conn.UpdateSecret(ctx, secret) })
	}
	if err != nil {
		err = toPublic(err)
		s.detach(p, err)
		s.dismiss(ctx, conn)
		return err
	}
	if !s.cfg.Stream.ManualStore {
		s.checkStored(ctx, p) // what was sent last may not have arrived
	}
	return nil
}

// dismiss says goodbye to a connection, beside everything else.
func (s *streamConsumer) dismiss(ctx context.Context, conn *streamconn.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed { // nobody waits any more
		conn.Fail(ErrClosed)
		return
	}
	s.leaving.Go(func() { goodbye(context.WithoutCancel(ctx), conn) })
}

// connected returns the link of a stream, and waits for one where there is none.
func (s *streamConsumer) connected(ctx context.Context, p *position) (*link, error) {
	for {
		s.mu.Lock()
		l, away := p.link, p.away
		s.mu.Unlock()
		if away == nil {
			return l, nil
		}
		select {
		case <-away.over:
			s.mu.Lock()
			back, why := p.away != away, p.notBack
			s.mu.Unlock()
			if !back {
				return nil, away.err(why)
			}
		case <-ctx.Done():
			return nil, away.err(ctx.Err())
		}
	}
}

// comesBack reports whether another link takes the place of l.
func (s *streamConsumer) comesBack(l *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.gone() != nil && l.position.recoverer.on() && s.inbox.Err() == nil
}

// resume is where a stream is gone on with over another link. Where that follows on the
// newest chunk that was read, the broker is asked for that one, to see that it is still there.
func (s *streamConsumer) resume(ctx context.Context, l *link) (place, error) {
	p := l.position
	s.mu.Lock()
	begin, seen := at(p.again), p.seen
	begin.after, begin.stored, begin.checks = p.after, p.hadStored, seen.known
	s.mu.Unlock()
	if begin.begin.Type != streamproto.OffsetNumber {
		return begin, nil
	}
	offset := begin.begin.Value
	if !seen.known && l.conn.Server().Supports("the end of a stream", streamproto.KeyStreamStats, 1) != nil {
		return begin, nil
	}
	if err := s.stillThere(ctx, l, offset, seen); err != nil {
		return begin, err
	}
	if seen.known && seen.first <= offset && offset <= seen.end {
		begin.ask = atOffset(seen.first)
	}
	return begin, nil
}

// stillThere makes sure that a stream still has the newest chunk that was read, or a later
// one.
func (s *streamConsumer) stillThere(ctx context.Context, l *link, offset uint64, seen seenChunk) error {
	stream := l.position.stream
	stats, err := extentOf(ctx, l.conn, stream)
	switch {
	case err != nil:
		return err
	case !stats.known:
		return fmt.Errorf("the node does not know yet what stream %q has", stream)
	case seen.known && (stats.empty || stats.lastChunk < seen.first):
		return s.behind(ctx, stream, seen)
	case !stats.empty && stats.first > offset:
		s.client.cfg.Logger.Warn("the stream's retention has deleted messages that were not received; it goes on with the first that there is",
			"stream", stream, "wanted", offset, "first", stats.first)
	}
	return nil
}

// behind is the error of a replica that lacks the newest chunk that was read: it is behind
// the leader, or the leader lacks it too, which means that this is another stream.
func (s *streamConsumer) behind(ctx context.Context, stream string, seen seenChunk) error {
	conn, err := s.client.dialLeader(ctx, stream)
	if err != nil {
		return err
	}
	defer s.dismiss(ctx, conn)
	stats, err := extentOf(ctx, conn, stream)
	switch {
	case err != nil:
		return err
	case stats.empty:
		return fmt.Errorf("stream %q is empty, and had a message at offset %d: %w", stream, seen.first, ErrDeclaredAgain)
	case stats.known && stats.newest < seen.first:
		return fmt.Errorf("the newest chunk of stream %q begins with offset %d, and there was one at %d: %w", stream, stats.newest, seen.first, ErrDeclaredAgain)
	default:
		return fmt.Errorf("the replica is behind: it does not have offset %d of stream %q yet", seen.first, stream)
	}
}

// extentOf asks which offsets a stream has that had messages. A broker without StreamStats
// does not say where it begins; where it ends, its newest chunk does.
func extentOf(ctx context.Context, conn *streamconn.Conn, stream string) (streamStats, error) {
	if conn.Server().Supports("the end of a stream", streamproto.KeyStreamStats, 1) == nil {
		return statsOf(ctx, conn, stream, time.Now().Add(uncommittedTimeout))
	}
	last, found, sure, err := findLastChunk(ctx, conn, stream)
	return streamStats{known: sure, empty: !found, lastChunk: last.FirstOffset, newest: last.FirstOffset}, err
}

// doubts ends the link to a replica that has something else than what was read before, and reports
// whether it does: where it was the leader's, there is no doubt. One that was away while another
// became the leader may have what nobody else has.
func (s *streamConsumer) doubts(l *link, why error) bool {
	s.mu.Lock()
	if l.leader {
		s.mu.Unlock()
		return false
	}
	l.position.doubted, l.position.from = true, math.MaxUint64 // nothing more of this is wanted
	s.mu.Unlock()
	l.conn.Fail(fmt.Errorf("this replica has another chunk than was read before, so the leader is asked: %v", why)) //nolint:errorlint // it is not certain
	return true
}

// check compares what comes over another link with the newest chunk that was read before,
// until it is past that. Replicas have the same chunks. s.mu is held.
func (l *link) check(c *streamproto.Chunk) error {
	if !l.checks {
		return nil
	}
	seen := &l.position.seen
	end, same := c.FirstOffset+uint64(c.Records), false
	switch {
	case c.FirstOffset == seen.first:
		same = end == seen.end && c.Timestamp == seen.timestamp
	case end <= l.asked: // of a replica that is behind
		same = c.Timestamp <= seen.timestamp
	default:
		same = end <= seen.first || c.FirstOffset >= seen.end
	}
	if !same {
		return fmt.Errorf("it has the offsets before %d, stored at %d, and the one that was read before had %d to %d, stored at %d: %w",
			end, c.Timestamp, seen.first, seen.end-1, seen.timestamp, ErrDeclaredAgain)
	}
	l.checks = c.FirstOffset < seen.first
	return nil
}
