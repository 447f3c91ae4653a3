package thump

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// position is how far a consumer is in one stream, over however many connections. What is
// not constant is guarded by streamConsumer.mu.
type position struct {
	stream    string
	unsettled unsettled
	recoverer recoverer // for the goroutine in live

	link    *link   // the newest one, which may have ended
	away    *outage // until another one takes its place; where none does, for ever
	notBack notBack // why none does

	from uint64 // messages of lower offsets are dropped
	next uint64 // the offset after what was handed out, or dropped
	over bool   // Until is reached

	turn     uint32 // of the update that made it active: older chunks are dropped
	active   bool   // it is its turn in the group
	inactive bool   // another consumer of the group stores the offsets now

	// notBefore is the time, in Unix milliseconds, before which chunks are dropped, until
	// one has come that is not. The broker begins at the end of the stream where the time
	// is still to come.
	notBefore int64
	after     mark // chunks up to the one that begins there are dropped

	acked  mark // the offset up to which everything was acked
	stored mark // the offset that was last sent to be stored
	since  int  // messages that were acked after that

	// For the next link. again is where it begins: after what was handed out, or with a
	// Name after what was acked; before that, where it all began.
	again     streamproto.OffsetSpec
	hadStored bool // it all began after a stored offset
	kept      bool // a loss has ended this consumer's turn in the group
	expired   int  // deliveries that were not acked at the loss
	seen      seenChunk
	doubted   bool // a replica has another chunk in the place of that: the leader is to tell
}

// mark is an offset that may not be known.
type mark struct {
	offset uint64
	known  bool
}

// link is what a position has while it is connected: a connection with one subscription.
// It lives once; when it has ended, another takes its place.
type link struct {
	position *position
	conn     *streamconn.Conn

	sub    *streamconn.Subscription // nil before the broker's answer; guarded by streamConsumer.mu
	asked  uint64                   // the offset that the broker was asked for; guarded by it too
	checks bool                     // it is not certain yet that this is the same stream; guarded by it too
	leader bool                     // it is to the stream's leader, because another replica was in doubt; guarded by it too
}

// linkOf is the link that a chunk came over.
func linkOf(a *streamconn.Arrival) *link { return a.Subscription.Owner().(*link) }

// seenChunk is what is known of the newest chunk that was read of a stream. A stream that is
// declared again has another one in its place.
type seenChunk struct {
	first, end uint64 // offsets
	timestamp  int64
	known      bool
}

// place is where a subscription begins.
type place struct {
	ask    streamproto.OffsetSpec // what the broker is asked for: perhaps something earlier
	begin  streamproto.OffsetSpec // where messages are wanted from, now and, until more is known, next time
	after  mark                   // see position
	stored bool                   // it is after a stored offset
	checks bool                   // see link
}

// atOffset is a place by its offset.
func atOffset(offset uint64) streamproto.OffsetSpec {
	return streamproto.OffsetSpec{Type: streamproto.OffsetNumber, Value: offset}
}

// at is a place where nothing but its beginning is to be said.
func at(spec streamproto.OffsetSpec) place { return place{ask: spec, begin: spec} }

// position begins with a stream.
func (s *streamConsumer) position(stream string) *position {
	p := &position{stream: stream}
	p.recoverer.client = s.client
	p.recoverer.of = fmt.Sprintf("consumer of %v", Stream(stream))
	if s.cfg.From.kind == targetSuperStream {
		p.recoverer.of = fmt.Sprintf("consumer of %v, %v", s.cfg.From, Stream(stream))
	}
	u := &p.unsettled
	u.of = s.cfg.From.String()
	u.send = func(how settlement, _ bool, _ ...uint64) error { return s.settle(p, how) }
	u.acked = func(offset uint64, more int) { s.acked(p, offset, more) }
	u.keeps, u.autoAck, u.unnoted = true, s.cfg.AutoAck, s.cfg.Stream.Name == ""
	return p
}

// begin sets where the stream is read from. The broker begins with the chunk
// that holds an offset, so what comes before it in there is dropped. s.mu is held.
func (p *position) begin(at place) {
	p.from, p.notBefore, p.over = 0, math.MinInt64, false
	switch at.begin.Type {
	case streamproto.OffsetNumber:
		p.from, p.next = at.begin.Value, at.begin.Value
	case streamproto.OffsetTimestamp:
		p.notBefore = int64(at.begin.Value)
	default: // the broker knows where it begins, and nothing before it can come
	}
	p.again, p.after, p.hadStored = at.begin, at.after, at.stored
	p.link.asked, p.link.checks = 0, at.checks
	if at.ask.Type == streamproto.OffsetNumber {
		p.link.asked = at.ask.Value
	}
}

// former reports whether a chunk came over another connection than that of now, or before
// this turn. s.mu is held.
func (p *position) former(a *streamconn.Arrival) bool {
	return linkOf(a) != p.link || a.Turn != p.turn
}

// early reports whether a chunk was stored before the place that the consumer begins
// with. It is dropped, and does not count as acked: a stored offset would take the place
// of the Start. Once a later one has come, all that follows is wanted: a new leader's
// clock may show an earlier time than that of the one before. s.mu is held.
func (p *position) early(c *streamproto.Chunk) bool {
	if c.Timestamp < p.notBefore || p.after.known && c.FirstOffset <= p.after.offset {
		p.next = c.FirstOffset + uint64(c.Records)
		return true
	}
	p.notBefore = math.MinInt64
	return false
}

// saw notes the chunk that is read next. With the first one it is known where it all began.
// s.mu is held.
func (p *position) saw(c *streamproto.Chunk) {
	p.seen = seenChunk{c.FirstOffset, c.FirstOffset + uint64(c.Records), c.Timestamp, true}
	if p.again.Type != streamproto.OffsetNumber {
		p.again = atOffset(c.FirstOffset)
	}
}

// settle refuses what a stream can't do with a delivery, and an ack whose offset can't
// be stored any more. An ack by itself needs nothing of the broker.
func (s *streamConsumer) settle(p *position, how settlement) error {
	if how == settleReject || how == settleRequeue {
		return errStreamKeeps
	}
	if p.unsettled.unnoted {
		return nil
	}
	s.mu.Lock()
	err := p.link.gone()
	s.mu.Unlock()
	if err != nil {
		return stale(toPublic(err))
	}
	return nil
}

// gone says why what came over a link is no longer this consumer's: the connection
// has ended, or the broker has ended the subscription. s.mu is held.
func (l *link) gone() error {
	err := l.conn.Err()
	if err == nil && l.sub != nil {
		err = l.sub.Err()
		if errors.Is(err, transport.ErrClosed) { // stopped
			err = nil
		}
	}
	return err
}

// leave ends the subscription.
func (l *link) leave(ctx context.Context) error {
	err := l.sub.Unsubscribe(ctx)
	// It may have ended with its stream, or with its connection.
	if server, refused := errors.AsType[*streamconn.ServerError](err); refused && server.Code == streamproto.CodeSubscriptionIDDoesNotExist || l.conn.Err() != nil {
		return nil
	}
	return err
}

// links returns the link of each stream, which may have ended.
func (s *streamConsumer) links() []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	links := make([]*link, 0, len(s.positions))
	for _, p := range s.positions {
		links = append(links, p.link)
	}
	return links
}

// subscribed returns the links that are complete: those whose Subscribe was answered.
func (s *streamConsumer) subscribed() []*link {
	s.mu.Lock()
	defer s.mu.Unlock()
	links := make([]*link, 0, len(s.positions))
	for _, p := range s.positions {
		if p.link.sub != nil {
			links = append(links, p.link)
		}
	}
	return links
}

// attach makes conn the connection of a stream, and subscribes. Chunks may be handed out
// before it returns, also where it fails. Once Subscribe is sent, the end of ctx, which Stop
// may be, changes nothing: what comes then is settled and stored like the rest.
func (s *streamConsumer) attach(ctx context.Context, p *position, conn *streamconn.Conn) error {
	if err := s.supported(conn.Server()); err != nil {
		return err
	}
	l := &link{position: p, conn: conn}
	begin, err := s.beginning(ctx, l)
	if err != nil {
		return err
	}
	if !s.join(l, begin) {
		return ErrClosed
	}
	answered, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	sub, err := conn.Subscribe(answered, streamconn.SubscribeConfig{
		Stream: p.stream, Offset: begin.ask, Credit: uint16(s.cfg.Stream.Credit), Properties: s.properties(), Inbox: s.inbox,
		Owner: l, Ended: func(why error) { s.subscriptionEnded(p, why) },
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.sub = sub
	if s.closed || s.ending && s.cfg.Stream.SingleActive { // a turn would be for nobody
		return ErrClosed
	}
	return nil
}

// beginning is where a link begins.
func (s *streamConsumer) beginning(ctx context.Context, l *link) (place, error) {
	p := l.position
	switch {
	case s.cfg.Stream.SingleActive: // the broker asks when it is this one's turn
		return at(streamproto.OffsetSpec{Type: streamproto.OffsetFirst}), nil
	case p.link == nil, p.hadStored && !p.seen.known: // nothing has come yet
		return s.begin(ctx, l.conn, p)
	default:
		return s.resume(ctx, l)
	}
}

// join makes l the link of its stream. It reports false once there is to be no other.
func (s *streamConsumer) join(l *link, begin place) bool {
	p := l.position
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return false
	}
	if p.link != nil {
		p.recoverer.reconnects.Add(1)
	}
	p.link, p.turn = l, 0
	l.leader, p.doubted = p.doubted, false
	if !s.cfg.Stream.SingleActive {
		p.begin(begin)
	}
	return true
}

// begin is where a consumer begins: after the offset that is stored under its name,
// or where it is configured to.
func (s *streamConsumer) begin(ctx context.Context, conn *streamconn.Conn, p *position) (place, error) {
	o := &s.cfg.Stream
	if o.Name != "" {
		offset, found, err := queryOffset(ctx, conn, p.stream, o.Name)
		if err != nil {
			return place{}, err
		}
		if found {
			begin := at(atOffset(offset + 1))
			begin.stored = true
			return begin, nil
		}
	}
	fromEnd := o.Start.kind == startLast || o.Start.kind == startNext && !o.Until.IsZero()
	if !fromEnd {
		return s.beginMoving(ctx, conn, p)
	}
	last, found, err := lastChunk(ctx, conn, p.stream)
	if err != nil || !found {
		return at(streamproto.OffsetSpec{Type: streamproto.OffsetFirst}), err
	}
	// FromNext has a value of 0. With Until, where it begins has to be known.
	end := last.FirstOffset + uint64(last.Records)
	return at(atOffset(end - min(end, o.Start.value))), nil
}

// beginMoving is where the Start says. For FromNext that moves while messages are stored: so
// that the next connection begins at the same place, the newest chunk is asked for
// beforehand, where the broker can say it. What FromLastChunk begins with can't be asked for:
// the newest chunk may be one without messages, such as a stored offset.
func (s *streamConsumer) beginMoving(ctx context.Context, conn *streamconn.Conn, p *position) (place, error) {
	start := s.cfg.Stream.Start
	begin := at(start.spec())
	if start.kind != startNext || !p.recoverer.on() || conn.Server().Supports("the end of a stream", streamproto.KeyStreamStats, 1) != nil {
		return begin, nil
	}
	stats, err := askStats(ctx, conn, p.stream)
	switch {
	case err != nil:
		return begin, err
	case stats.empty:
		begin.begin = streamproto.OffsetSpec{Type: streamproto.OffsetFirst}
	case stats.known:
		begin.begin = atOffset(stats.lastChunk)
		begin.after = mark{stats.lastChunk, true}
	}
	return begin, nil
}
