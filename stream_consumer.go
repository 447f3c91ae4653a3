package thump

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
)

// streamConsumer is the consumeEngine of streams and super streams: for each
// stream a connection to one of its replicas with its one subscription, and an
// inbox for the chunks of all.
type streamConsumer struct {
	client    *Client
	cfg       *ConsumerConfig
	mu        *sync.Mutex // Consumer.mu: guards the positions
	inbox     *streamconn.Inbox
	positions []*position
	bySub     map[*streamconn.Subscription]*position

	// The goroutines that store offsets, answer for the group, and watch for
	// Until, and what ends them.
	keepers sync.WaitGroup
	quit    context.CancelFunc

	// Whoever receives: chunks that were taken, from next on not yet read.
	arrivals []streamconn.Arrival
	next     int
	reading  chunkReader
	failed   error  // what was wrong with a chunk: nothing is read after it
	tag      uint64 // of the last delivery
}

func (c *Client) streamConsumer(ctx context.Context, con *Consumer) (consumeEngine, error) {
	s := &streamConsumer{
		client: c, cfg: &con.cfg, mu: &con.mu, inbox: streamconn.NewInbox(),
		bySub: make(map[*streamconn.Subscription]*position), quit: func() {},
	}
	if err := s.open(ctx); err != nil {
		s.close(ctx)
		return nil, fmt.Errorf("thump: consumer of %v: %w", con.cfg.From, public(err))
	}
	return s, nil
}

func (s *streamConsumer) open(ctx context.Context) error {
	if err := s.client.open(); err != nil {
		return err
	}
	streams := []string{s.cfg.From.name}
	if s.cfg.From.kind == targetSuperStream {
		var err error
		if streams, err = s.client.Partitions(ctx, s.cfg.From.name); err != nil {
			return err
		}
	}
	for _, stream := range streams {
		conn, err := s.client.dialReplica(ctx, stream)
		if err != nil {
			return err
		}
		p := &position{stream: stream, conn: conn}
		s.positions = append(s.positions, p)
		if err := s.subscribe(ctx, p); err != nil {
			return err
		}
	}
	s.startKeepers(ctx)
	return nil
}

// subscribe starts the subscription of one stream.
func (s *streamConsumer) subscribe(ctx context.Context, p *position) error {
	if err := s.supported(p.conn.Server()); err != nil {
		return err
	}
	begin := streamproto.OffsetSpec{Type: streamproto.OffsetFirst}
	if !s.cfg.Stream.SingleActive { // else the broker asks when it is this one's turn
		var err error
		if begin, err = s.begin(ctx, p); err != nil {
			return err
		}
		p.begin(begin)
	}
	sub, err := p.conn.Subscribe(ctx, streamconn.SubscribeConfig{
		Stream: p.stream, Offset: begin, Credit: uint16(s.cfg.Stream.Credit), Properties: s.properties(), Inbox: s.inbox,
	})
	if err != nil {
		return err
	}
	p.sub = sub
	s.bySub[sub] = p
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

// begin is where a consumer begins: behind what is stored under its name, or
// where it is configured to.
func (s *streamConsumer) begin(ctx context.Context, p *position) (streamproto.OffsetSpec, error) {
	o := &s.cfg.Stream
	if o.Name != "" {
		offset, found, err := queryOffset(ctx, p.conn, p.stream, o.Name)
		if err != nil {
			return streamproto.OffsetSpec{}, err
		}
		if found {
			return streamproto.OffsetSpec{Type: streamproto.OffsetNumber, Value: offset + 1}, nil
		}
	}
	fromEnd := o.Start.kind == startLast || o.Start.kind == startNext && !o.Until.IsZero()
	if !fromEnd {
		return o.Start.spec(), nil
	}
	last, found, err := lastChunk(ctx, p.conn, p.stream)
	if err != nil || !found {
		return streamproto.OffsetSpec{Type: streamproto.OffsetFirst}, err
	}
	// FromNext has a value of 0. With Until, where it begins has to be known.
	end := last.FirstOffset + uint64(last.Records)
	return streamproto.OffsetSpec{Type: streamproto.OffsetNumber, Value: end - min(end, o.Start.value)}, nil
}

// startKeepers starts the goroutines that this consumer needs; close ends them.
func (s *streamConsumer) startKeepers(ctx context.Context) {
	ctx, s.quit = context.WithCancel(context.WithoutCancel(ctx))
	o := &s.cfg.Stream
	if o.Name != "" && !o.ManualStore {
		s.keepers.Go(func() { s.keepOffsets(ctx) })
	}
	if o.SingleActive {
		for _, p := range s.positions {
			s.keepers.Go(func() { s.answerUpdates(ctx, p) })
		}
	}
	if !o.Until.IsZero() {
		s.keepers.Go(func() { s.watchEnd(ctx) })
	}
}

func (s *streamConsumer) watch(ctx context.Context) (stop func() bool) { return s.inbox.Watch(ctx) }

func (s *streamConsumer) take(ctx context.Context, b *Batch, limit int) error {
	if s.failed != nil {
		return s.failed
	}
	s.reading.reuse()
	for {
		if s.reading.position == nil {
			if err := s.nextChunk(ctx); err != nil {
				return public(err)
			}
			continue
		}
		if err := s.fill(b, limit); err != nil {
			return s.fail(s.reading.position, s.reading.chunk.FirstOffset, err)
		}
		if len(b.Deliveries) > 0 {
			s.handOut(b)
			return nil
		}
		s.skip() // nothing of what is left of the chunk was wanted
		s.reading.reuse()
	}
}

// fill appends the messages of the chunk that is being read, at most limit.
func (s *streamConsumer) fill(b *Batch, limit int) error {
	r, keep := &s.reading, s.cfg.Stream.Keep
	for len(b.Deliveries) < limit && !r.full() {
		message, offset, ok, err := r.message()
		if err != nil {
			return err
		}
		if !ok {
			return nil
		}
		b.Deliveries = append(b.Deliveries, Delivery{Offset: offset, tag: s.tag + 1, batch: b})
		last := len(b.Deliveries) - 1
		d := &b.Deliveries[last]
		if d.Body, ok = streamproto.Data(message); !ok {
			if err := d.read(&r.sections, message); err != nil {
				return fmt.Errorf("the message at offset %d: %w", offset, err)
			}
		}
		if keep != nil && !keep(d) {
			b.Deliveries = b.Deliveries[:last]
			continue
		}
		s.tag++
	}
	return nil
}

// read takes a message that is more than a body.
func (d *Delivery) read(sections *streamproto.Message, message []byte) error {
	if err := streamproto.ParseMessage(message, sections); err != nil {
		return err
	}
	d.Body, d.properties = sections.Body, message
	d.setSource(sections)
	return nil
}

// handOut notes a batch that is about to be handed out.
func (s *streamConsumer) handOut(b *Batch) {
	r := &s.reading
	p := r.position
	b.position, b.Stream, b.StoredAt = p, p.stream, time.UnixMilli(r.chunk.Timestamp)
	b.last = r.offset - 1
	s.mu.Lock()
	defer s.mu.Unlock()
	p.next = r.offset
	p.open = append(p.open, b)
}

// skip notes that everything of the chunk was dropped: what was handled goes up
// to its end, unless something before it is still open.
func (s *streamConsumer) skip() {
	r := &s.reading
	p := r.position
	s.mu.Lock()
	defer s.mu.Unlock()
	p.next = r.offset
	if r.offset <= p.from {
		return
	}
	if last := len(p.open) - 1; last >= 0 {
		p.open[last].last = r.offset - 1
	} else {
		p.handled(r.offset - 1)
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
	p := s.bySub[arrival.Subscription]
	s.mu.Lock()
	from := p.from
	s.mu.Unlock()
	if until := s.cfg.Stream.Until; !until.IsZero() && arrival.Chunk.Timestamp > until.UnixMilli() {
		arrival.Release()
		return s.over(p)
	}
	if arrival.Chunk.Type != streamproto.ChunkUser {
		arrival.Release()
		return nil
	}
	if err := arrival.Chunk.CheckCRC(); err != nil {
		return s.fail(p, arrival.Chunk.FirstOffset, err)
	}
	s.reading.open(arrival, p, from)
	return nil
}

// fail ends the consumer for what is wrong with a chunk: what comes after it
// can't be told from what does not.
func (s *streamConsumer) fail(p *position, firstOffset uint64, err error) error {
	s.failed = fmt.Errorf("stream %q, the chunk at offset %d: %w", p.stream, firstOffset, err)
	s.inbox.End(s.failed)
	return s.failed
}

func (s *streamConsumer) settle(how settlement, _ uint64, _ bool) error {
	if how != settleAck {
		return errStreamKeeps
	}
	return nil
}

// stop ends the subscriptions. A group's next consumer begins at once, so what
// was handled is stored first.
func (s *streamConsumer) stop(ctx context.Context) error {
	s.inbox.Drain()
	if s.cfg.Stream.SingleActive && !s.cfg.Stream.ManualStore {
		if err := s.storeAll(ctx); err != nil {
			return err
		}
	}
	var failed []error
	for _, p := range s.positions {
		err := p.sub.Unsubscribe(ctx)
		// It may have ended with its stream, or with its connection.
		if server, refused := errors.AsType[*streamconn.ServerError](err); refused && server.Code == streamproto.CodeSubscriptionIDDoesNotExist || p.conn.Err() != nil {
			err = nil
		}
		failed = append(failed, err)
	}
	s.inbox.End(streamconn.ErrClosed)
	return public(errors.Join(failed...))
}

// leave stores the offset of what was handled.
func (s *streamConsumer) leave(ctx context.Context) error {
	s.inbox.Discard()
	for ; s.next < len(s.arrivals); s.next++ {
		s.arrivals[s.next].Release()
	}
	s.reading.close()
	if s.cfg.Stream.Name == "" || s.cfg.Stream.ManualStore {
		return nil
	}
	return s.storeAll(ctx)
}

func (s *streamConsumer) close(ctx context.Context) {
	s.quit()
	s.inbox.Drain()
	s.inbox.End(streamconn.ErrClosed)
	var connections sync.WaitGroup
	for _, p := range s.positions {
		connections.Go(func() { goodbye(ctx, p.conn) })
	}
	connections.Wait()
	s.keepers.Wait()
}

// lost reports whether no connection is left.
func (s *streamConsumer) lost() bool {
	for _, p := range s.positions {
		if p.conn.Err() == nil {
			return false
		}
	}
	return true
}

func (s *streamConsumer) done() <-chan struct{} { return s.inbox.Done() }
func (s *streamConsumer) err() error            { return public(s.inbox.Err()) }

func (s *streamConsumer) unknown(n int) string {
	text := fmt.Sprintf("%d deliveries were handed out and not acked; the stream, if it is still there, keeps its messages", n)
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
	var failed []error
	for _, p := range s.positions {
		failed = append(failed, p.conn.UpdateSecret(ctx, secret))
	}
	return errors.Join(failed...)
}
