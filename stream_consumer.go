package thump

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// streamConsumer is the consumeEngine of streams and super streams: for each
// stream a connection to one of its replicas with its one subscription, and after its end
// another one (see stream_recovery.go); and an inbox for the chunks of all.
type streamConsumer struct {
	client    *Client
	cfg       *ConsumerConfig
	inbox     *streamconn.Inbox
	positions []*position

	mu sync.Mutex // guards what of the positions is not constant; comes after unsettled.mu

	quit context.CancelFunc // ends the goroutines of startBackground

	calls   sync.WaitGroup // of OnActive that are under way
	leaving sync.WaitGroup // of goodbyes to connections that others have replaced
	halted  bool           // every ack is sent to be stored, since no interval does it; guarded by mu
	ending  bool           // no connection replaces another any more; guarded by mu
	closed  bool           // all are closed; guarded by mu
	quiet   bool           // no more calls of OnActive begin; guarded by mu

	// For the one goroutine that receives: chunks that were taken, from next on not
	// yet read.
	arrivals []streamconn.Arrival
	next     int
	reading  chunkReader
	failed   error  // what was wrong with a chunk: nothing is read after it
	tag      uint64 // of the last delivery
}

// streamConsumer makes a consumeEngine, which calls onEnd as that says.
func (c *Client) streamConsumer(ctx context.Context, cfg *ConsumerConfig, onEnd func()) (consumeEngine, error) {
	s := &streamConsumer{client: c, cfg: cfg, inbox: streamconn.NewInbox(), quit: func() {}}
	s.reading.lends = cfg.ReuseBuffers
	s.inbox.DropRest()
	go s.awaitEnd(onEnd)
	if err := s.open(ctx); err != nil {
		s.close(ctx)
		return nil, fmt.Errorf("thump: consumer of %v: %w", cfg.From, toPublic(err))
	}
	return s, nil
}

func (s *streamConsumer) open(ctx context.Context) error {
	if err := s.client.checkOpen(); err != nil {
		return err
	}
	streams := []string{s.cfg.From.name}
	if s.cfg.From.kind == targetSuperStream {
		var err error
		if streams, err = s.client.partitionsOf(ctx, s.cfg.From.name); err != nil {
			return err
		}
	}
	for _, stream := range streams {
		conn, err := s.client.dialReplica(ctx, stream)
		if err != nil {
			return err
		}
		p := s.position(stream)
		if err := s.attach(ctx, p, conn); err != nil {
			goodbye(ctx, conn)
			return err
		}
		s.positions = append(s.positions, p)
	}
	s.startBackground(ctx)
	return nil
}

// supported refuses what the broker lacks.
func (s *streamConsumer) supported(server *streamconn.Server) error {
	o := &s.cfg.Stream
	if o.SingleActive {
		if err := server.Supports("a single active consumer", streamproto.KeyConsumerUpdate, 1); err != nil {
			return err
		}
	}
	if len(o.Filters) > 0 {
		if err := server.Supports("filtering", streamproto.KeyPublish, 2); err != nil {
			return err
		}
	}
	if !o.Until.IsZero() {
		return server.Supports("an end (Until)", streamproto.KeyStreamStats, 1)
	}
	return nil
}

// properties are those of the subscription (PROTOCOL.adoc Subscribe).
func (s *streamConsumer) properties() []streamproto.Property {
	o := &s.cfg.Stream
	var list []streamproto.Property
	add := func(key, value string) { list = append(list, streamproto.Property{Key: key, Value: value}) }
	if o.SingleActive {
		add("single-active-consumer", "true")
		add("name", o.Name)
		if s.cfg.From.kind == targetSuperStream {
			add("super-stream", s.cfg.From.name)
		}
	}
	for i, value := range o.Filters {
		add("filter."+strconv.Itoa(i), value)
	}
	if o.MatchUnfiltered {
		add("match-unfiltered", "true")
	}
	return list
}

// startBackground starts the goroutines that this consumer needs, to come back, answer for
// the group, store offsets, and watch for Until. close ends them, and does not wait: one
// of them may be in OnActive.
func (s *streamConsumer) startBackground(ctx context.Context) {
	ctx, s.quit = context.WithCancel(context.WithoutCancel(ctx))
	consuming, end := context.WithCancel(ctx)
	go func() {
		<-s.inbox.Done() // at close at the latest
		end()
	}()
	o := &s.cfg.Stream
	if o.Name != "" && !o.ManualStore {
		for _, p := range s.positions {
			go s.keepOffset(consuming, p)
		}
	}
	for _, p := range s.positions {
		go s.live(ctx, consuming, p)
	}
	if !o.Until.IsZero() {
		go s.watchEnd(consuming)
	}
}

func (s *streamConsumer) watch(ctx context.Context) (stop func() bool) { return s.inbox.Watch(ctx) }

func (s *streamConsumer) take(ctx context.Context, b *Batch, limit int) error {
	if s.failed != nil {
		return s.failed
	}
	s.reading.reuse()
	for {
		if err := s.inbox.Ready(ctx); err != nil {
			return s.notTaken(ctx, err)
		}
		if s.reading.position == nil {
			if err := s.nextChunk(ctx); err != nil {
				return s.notTaken(ctx, err)
			}
			continue
		}
		s.wanted(&s.reading)
		if err := s.fill(b, limit); err != nil {
			return s.fail(s.reading.position, s.reading.chunk.FirstOffset, err)
		}
		if len(b.Deliveries) == 0 {
			s.skip() // nothing of what is left of the chunk was wanted
		} else if s.handOut(b) {
			return nil
		}
		b.Deliveries = b.Deliveries[:0]
		s.reading.reuse()
	}
}

// notTaken is why nothing was taken. Where the context has ended while a stream had no
// connection, that is said too.
func (s *streamConsumer) notTaken(ctx context.Context, err error) error {
	if ctx.Err() == nil || s.inbox.Err() != nil {
		return toPublic(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.positions {
		if p.away == nil {
			continue
		}
		if s.cfg.From.kind == targetSuperStream {
			err = fmt.Errorf("%w: stream %q", err, p.stream)
		}
		return p.away.err(err)
	}
	return err
}

// wanted looks up where messages of the chunk are wanted from: none are once another
// consumer of the group has become the active one or the connection has ended, nor when it
// is this one's turn again, or on another connection, and the broker sends them again.
func (s *streamConsumer) wanted(r *chunkReader) {
	r.period = r.position.unsettled.period.Load() // before from: see detach
	s.mu.Lock()
	defer s.mu.Unlock()
	r.from = r.position.from
	if r.position.former(r.arrival) {
		r.from = math.MaxUint64
	}
}

// keepMost is of how many messages Keep is asked at a time. Between two such times take
// looks at the context and the end, however long it is that nothing is kept.
const keepMost = 1024

// fill appends messages of the chunk that is being read, at most limit. Where it appends
// none the chunk has come to its end, or some messages were not wanted, or so many
// batches were tried to be opened that it is time to look up.
func (s *streamConsumer) fill(b *Batch, limit int) error {
	r, keep := &s.reading, s.cfg.Stream.Keep
	b.Deliveries = slices.Grow(b.Deliveries, min(limit, r.expected()))
	looks := limit
	if keep != nil {
		looks = keepMost
	}
	for ; looks > 0 && len(b.Deliveries) < limit && !r.full(); looks-- {
		last := len(b.Deliveries)
		b.Deliveries = slices.Grow(b.Deliveries, 1)
		if keep == nil {
			n := r.bodies(b.Deliveries[last:min(limit, cap(b.Deliveries))], s.tag+1, b.hold)
			b.Deliveries = b.Deliveries[:last+n]
			s.tag += uint64(n)
			if n > 0 {
				continue
			}
		}
		message, offset, ok, err := r.message()
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		b.Deliveries = b.Deliveries[:last+1]
		d := &b.Deliveries[last]
		*d = Delivery{} // in place: an append would copy it
		d.Offset, d.sections, d.tag = offset, true, s.tag+1
		if r.unopened != nil {
			d.setUnopened(message, r.unopened)
		} else if d.Body, ok = amqp10.Data(message); !ok {
			d.readSections(message, &r.source)
		}
		if keep != nil && !keep(d) {
			b.Deliveries = b.Deliveries[:last]
			continue
		}
		d.hold = b.hold // before, it can't be settled
		s.tag++
	}
	return nil
}

// handOut notes a batch that is about to be handed out. It reports false if another
// consumer of the group gets it, or this one over another connection. The lock of unsettled
// is held throughout: once expire has returned, next does not change.
func (s *streamConsumer) handOut(b *Batch) bool {
	r := &s.reading
	p := r.position
	b.Stream, b.StoredAt = p.stream, time.UnixMilli(r.chunk.Timestamp)
	p.unsettled.mu.Lock()
	defer p.unsettled.mu.Unlock()
	if !p.unsettled.addLocked(r.period, b, r.offset-1) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.former(r.arrival) {
		s.passed(p, r.offset)
	}
	return true
}

// skip notes that everything of the chunk was dropped.
func (s *streamConsumer) skip() {
	r := &s.reading
	p := r.position
	s.mu.Lock()
	wanted := !p.former(r.arrival) && r.offset > p.from
	if wanted {
		s.passed(p, r.offset)
	}
	s.mu.Unlock()
	if wanted {
		p.unsettled.skip(r.period, r.offset-1)
	}
}

// passed notes that what comes before an offset was handed out, or dropped. s.mu is held.
func (s *streamConsumer) passed(p *position, next uint64) {
	p.next = next
	if p.unsettled.unnoted {
		p.again = atOffset(next)
	}
}

// nextChunk opens the next chunk that there is to read, waiting for one.
func (s *streamConsumer) nextChunk(ctx context.Context) error {
	if s.next == len(s.arrivals) {
		var err error
		s.arrivals, err = s.inbox.Take(ctx, s.arrivals)
		s.next = 0
		if err != nil {
			return err
		}
	}
	arrival := &s.arrivals[s.next]
	s.next++
	p := linkOf(arrival).position
	over, wanted, err := s.judge(p, arrival)
	if errors.Is(err, ErrDeclaredAgain) && s.doubts(linkOf(arrival), err) {
		arrival.Release()
		return nil
	}
	if err == nil && over {
		arrival.Release()
		return s.over()
	}
	if err == nil && !wanted {
		arrival.Release()
		return nil
	}
	if err == nil {
		err = arrival.Damage
	}
	if err != nil {
		return s.fail(p, arrival.Chunk.FirstOffset, err)
	}
	s.reading.open(arrival, p)
	return nil
}

// judge says what becomes of a chunk: over that the stream has come to Until with it, and
// wanted that it is to be read. The error says that it is not of the stream that was read
// before.
func (s *streamConsumer) judge(p *position, a *streamconn.Arrival) (over, wanted bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &a.Chunk
	if p.former(a) || p.from == math.MaxUint64 {
		return false, false, nil
	}
	if err := linkOf(a).check(c); err != nil {
		return false, false, err
	}
	if until := s.cfg.Stream.Until; !until.IsZero() && c.Timestamp > until.UnixMilli() {
		p.over = true
		return true, false, nil
	}
	if c.Type != streamproto.ChunkUser || p.early(c) {
		return false, false, nil
	}
	p.saw(c)
	return false, true, nil
}

// fail ends the consumer for what is wrong with a chunk: what comes after it
// can't be told from what does not.
func (s *streamConsumer) fail(p *position, firstOffset uint64, err error) error {
	s.failed = fmt.Errorf("stream %q, the chunk at offset %d: %w", p.stream, firstOffset, err)
	s.inbox.End(s.failed)
	return s.failed
}

// halt ends the taking, and the coming back. From here on every ack is sent to be stored:
// whoever closes may not have the time to wait for the last one.
func (s *streamConsumer) halt() {
	s.inbox.Shut(transport.ErrClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	if s.cfg.Stream.Name == "" || s.cfg.Stream.ManualStore {
		return
	}
	s.halted = true
	for _, p := range s.positions {
		_ = s.send(p) // flush sends it again, and says so
	}
}

// drain has nothing to do: after halt, everything that comes is dropped.
func (s *streamConsumer) drain() {}

// stop ends the subscriptions, all at the same time. A group's next consumer begins at once, so there what
// was handed out is waited for and stored first; with ManualStore only the caller
// knows when that is.
func (s *streamConsumer) stop(ctx context.Context, _ bool) error {
	if s.cfg.Stream.SingleActive {
		if s.cfg.Stream.ManualStore {
			return nil
		}
		if err := s.settled(ctx); err != nil {
			return err
		}
		if err := s.storeAll(ctx); err != nil {
			return err
		}
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	links := s.subscribed()
	leaving := make([]func() error, len(links))
	for i, l := range links {
		leaving[i] = func() error { return l.leave(ctx) }
	}
	return allAtOnce(leaving)
}

// release is asked of no stream: ReleaseAll refuses it.
func (s *streamConsumer) release() error { return errNothingBack }

// settled waits for what can be settled: not for a stream whose connection or
// subscription is gone. One that is coming back is, or has given that up, in a moment.
func (s *streamConsumer) settled(ctx context.Context) error {
	for _, p := range s.positions {
		if _, err := s.connected(ctx, p); err != nil && ctx.Err() != nil {
			return err
		}
	}
	for _, l := range s.subscribed() {
		select {
		case <-l.position.unsettled.settling():
		case <-l.conn.Done():
		case <-l.sub.Done():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if s.lost() {
		return s.whyLost()
	}
	return nil
}

// flush stores the offsets of what was handled.
func (s *streamConsumer) flush(ctx context.Context) error {
	if s.cfg.Stream.Name == "" {
		return nil
	}
	return s.storeAll(ctx)
}

func (s *streamConsumer) close(ctx context.Context) {
	s.end()
	s.inbox.Discard()
	var connections sync.WaitGroup
	for _, l := range s.links() {
		connections.Go(func() { goodbye(ctx, l.conn) })
	}
	connections.Wait()
	s.leaving.Wait()
}

func (s *streamConsumer) drop() {
	s.end()
	for _, l := range s.links() {
		l.conn.Fail(transport.ErrClosed)
	}
}

// end ends what runs in the background. No connection is added after it.
func (s *streamConsumer) end() {
	s.quit()
	s.inbox.Shut(transport.ErrClosed)
	s.mu.Lock()
	s.ending, s.closed = true, true
	s.mu.Unlock()
}

// awaitEnd waits for the end, and until OnActive has returned.
func (s *streamConsumer) awaitEnd(onEnd func()) {
	<-s.inbox.Done()
	s.mu.Lock()
	s.quiet = true
	s.mu.Unlock()
	s.calls.Wait()
	onEnd()
}

// lost reports whether no connection is left.
func (s *streamConsumer) lost() bool {
	for _, l := range s.links() {
		if l.conn.Err() == nil {
			return false
		}
	}
	return true
}

// whyLost is why no connection is left.
func (s *streamConsumer) whyLost() error {
	s.mu.Lock()
	p := s.positions[0]
	l, away, why := p.link, p.away, p.notBack
	s.mu.Unlock()
	if away != nil {
		return away.err(why)
	}
	return toPublic(l.conn.Err())
}

func (s *streamConsumer) err() error { return toPublic(s.inbox.Err()) }

func (s *streamConsumer) unsettled() (n int) {
	for _, p := range s.positions {
		n += p.unsettled.count()
	}
	return n
}

func (s *streamConsumer) reconnects() (n uint64) {
	for _, p := range s.positions {
		n += p.recoverer.reconnects.Load()
	}
	return n
}

func (s *streamConsumer) unknown() string {
	n := 0
	for _, p := range s.positions {
		n += p.unsettled.count()
		s.mu.Lock()
		n += p.expired
		s.mu.Unlock()
	}
	text := fmt.Sprintf("%s handed out and not acked; the stream, if it is still there, keeps its messages", deliveriesWere(n))
	if s.cfg.Stream.Name == "" {
		return text
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.positions {
		if p.stored.known {
			text += fmt.Sprintf("; offset %d of stream %q was sent to be stored for %q", p.stored.offset, p.stream, s.cfg.Stream.Name)
		}
	}
	return text
}

func (s *streamConsumer) updateSecret(ctx context.Context, secret, _ string) error {
	links := s.links()
	updates := make([]func() error, len(links))
	for i, l := range links {
		updates[i] = func() error {
			return handOver(l.conn, func() error { return l.conn.UpdateSecret(ctx, secret) })
		}
	}
	return allAtOnce(updates)
}
