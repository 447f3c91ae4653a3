package faulttest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// brittle is a broker of streams whose connections break while there are breaks left. It
// keeps its streams and the offsets of consumers while they do. Bodies are "message n".
type brittle struct {
	t    *testing.T
	seed uint64

	mu       sync.Mutex
	sessions []*fakebroker.StreamSession
	down     bool      // nobody is let in
	hangs    bool      // nor is refused then
	away     time.Time // nobody is let in before
	random   *rand.Rand
	streams  map[string]*brittleStream
	breaks   int  // connections that are still to break
	armed    bool // they do
	broken   int
	timeless bool // as RabbitMQ 3.10, without StreamStats
	lags     int  // so many answers of StreamStats lack all chunks but the first

	astray *brittleStream // what the next subscription gets instead
}

// brittleStream is one stream, and what a consumer has done with it.
type brittleStream struct {
	chunks  []brittleChunk
	n       int      // messages
	offsets []uint64 // by number of the message
	base    int64    // added to the chunks' time stamps
	stored  uint64
	known   bool

	// The consumer's: how far it is, by number of the message.
	next      int          // after the last one that was handed out
	most      int          // the same, of all
	acked     map[int]bool // by number
	last      int          // where the last batch began
	restarts  int
	mayStore  func(number int) bool
	active    bool
	notActive int
}

type brittleChunk struct {
	first  uint64
	bodies []string
}

// fill gives a stream n messages in chunks of a few, with gaps between some of them.
func (b *brittle) fill(n int) *brittleStream {
	s := &brittleStream{n: n, acked: map[int]bool{}}
	offset := uint64(b.random.IntN(2) * 1000)
	for len(s.offsets) < n {
		c := brittleChunk{first: offset}
		for range min(1+b.random.IntN(9), n-len(s.offsets)) {
			c.bodies = append(c.bodies, fmt.Sprint("message ", len(s.offsets)))
			s.offsets = append(s.offsets, offset)
			offset++
		}
		s.chunks = append(s.chunks, c)
		offset += uint64(max(0, b.random.IntN(6)-3))
	}
	s.mayStore = func(number int) bool { return number < s.prefix() }
	return s
}

// prefix is how many messages are acked without a gap.
func (s *brittleStream) prefix() int {
	n := 0
	for s.acked[n] {
		n++
	}
	return n
}

// stats are those of StreamStats.
func (s *brittleStream) stats() []streamproto.Stat {
	first, last := int64(-1), int64(-1)
	if len(s.chunks) > 0 {
		first, last = int64(s.chunks[0].first), int64(s.chunks[len(s.chunks)-1].first)
	}
	return []streamproto.Stat{{Name: "first_chunk_id", Value: first}, {Name: "last_chunk_id", Value: last}, {Name: "committed_chunk_id", Value: last}}
}

// from is the index of the chunk that holds an offset, or the next one.
func (s *brittleStream) from(spec streamproto.OffsetSpec) int {
	switch spec.Type {
	case streamproto.OffsetNumber:
		for i, c := range s.chunks {
			if c.first+uint64(len(c.bodies)) > spec.Value {
				return i
			}
		}
		return len(s.chunks)
	case streamproto.OffsetNext:
		return len(s.chunks)
	case streamproto.OffsetLast:
		return max(0, len(s.chunks)-1)
	default:
		return 0
	}
}

// client connects to the broker.
func (b *brittle) client(cfg thump.Config) *thump.Client {
	b.t.Helper()
	broker := fakebroker.Pipe(b.t, 64<<10, slices.Repeat([]func(*fakebroker.Session){fakebroker.Stream(b.serve)}, 2000)...)
	cfg.URLs = []string{broker.StreamURL()}
	cfg.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		b.mu.Lock()
		if b.armed && b.breaks > 0 && b.random.IntN(3) == 0 { // nobody is there for a while
			b.breaks--
			b.away = time.Now().Add(time.Duration(b.random.IntN(3000)) * time.Millisecond)
		}
		down := b.down || time.Now().Before(b.away)
		hangs := down && b.hangs
		b.mu.Unlock()
		if hangs {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if down {
			return nil, syscall.ECONNREFUSED
		}
		return broker.DialContext(ctx, network, address)
	}
	client, err := thump.Dial(b.t.Context(), cfg)
	if err != nil {
		b.t.Fatalf("seed %d: dial: %v", b.seed, err)
	}
	return client
}

// cut ends all connections, and lets nobody in while it is down.
func (b *brittle) cut(down bool) {
	b.mu.Lock()
	b.down = down
	sessions := b.sessions
	b.sessions = nil
	b.mu.Unlock()
	for _, s := range sessions {
		s.Close()
	}
	synctest.Wait()
}

// up lets everybody in again.
func (b *brittle) up() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = false
}

// brittleSession is one connection: its subscription, and how much it may be sent.
type brittleSession struct {
	*fakebroker.StreamSession
	broker *brittle

	sub    *streamproto.Subscribe // nil before, and after MetadataUpdate
	stream *brittleStream
	next   int // chunk
	credit int
	moves  int  // chunks until the leader moves; negative: it does not
	chosen bool // whether it breaks
}

// serve is the script of every connection. A client that hangs up at any point is no fault.
func (b *brittle) serve(s *fakebroker.StreamSession) {
	session := &brittleSession{StreamSession: s, broker: b, moves: -1}
	b.mu.Lock()
	b.sessions = append(b.sessions, s)
	b.mu.Unlock()
	s.Serve(session.handle)
}

// mayBreak lets the connection break later, if it is one of those. b.mu is held.
func (s *brittleSession) mayBreak() {
	b := s.broker
	if !b.armed || s.chosen {
		return
	}
	s.chosen = true
	if b.breaks == 0 || b.random.IntN(4) == 0 {
		return
	}
	b.breaks--
	b.broken++
	switch b.random.IntN(5) {
	case 0, 1:
		s.BreakAfter(b.random.IntN(4000), -1)
	case 2:
		s.BreakAfter(-1, b.random.IntN(1500))
	case 3:
		s.BreakAfter(b.random.IntN(300), -1) // in the login
	default:
		s.moves = b.random.IntN(8)
	}
}

// handle answers one command.
func (s *brittleSession) handle(r *fakebroker.StreamReceived) bool {
	b := s.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	s.mayBreak()
	likely := fakebroker.LikelyStream()
	if b.timeless {
		likely = fakebroker.OldStream()
	}
	var answer streamproto.Response
	switch q := r.Command.(type) {
	case *streamproto.PeerProperties:
		answer = &streamproto.PeerPropertiesResponse{Code: streamproto.CodeOK, Properties: likely.Properties}
	case *streamproto.SASLHandshake:
		answer = &streamproto.SASLHandshakeResponse{Code: streamproto.CodeOK, Mechanisms: likely.Mechanisms}
	case *streamproto.SASLAuthenticate:
		s.Offer(fakebroker.StreamResponse(r.Correlation, &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeOK}))
		return s.Offer(streamproto.AppendTuneOffer(nil, likely.Tune))
	case *streamproto.Tune:
		return true
	case *streamproto.Open:
		answer = &streamproto.OpenResponse{Code: streamproto.CodeOK, Properties: likely.Open}
	case *streamproto.ExchangeCommandVersions:
		answer = &streamproto.ExchangeCommandVersionsResponse{Code: streamproto.CodeOK, Commands: likely.Commands}
	case *streamproto.Partitions:
		answer = &streamproto.PartitionsResponse{Code: streamproto.CodeOK, Streams: slices.Sorted(maps.Keys(b.streams))}
	case *streamproto.Metadata:
		if b.streams[q.Streams[0]] != nil {
			return false
		}
		answer = &streamproto.MetadataResponse{Streams: []streamproto.StreamMetadata{{Stream: q.Streams[0], Code: streamproto.CodeStreamDoesNotExist}}}
	case *streamproto.StreamStats:
		stats := b.streams[q.Stream].stats()
		if b.lags--; b.lags >= 0 {
			stats[1].Value, stats[2].Value = stats[0].Value, stats[0].Value
		}
		answer = &streamproto.StreamStatsResponse{Code: streamproto.CodeOK, Stats: stats}
	case *streamproto.QueryOffset:
		stream := b.streams[q.Stream]
		answer = &streamproto.QueryOffsetResponse{Code: streamproto.CodeNoOffset}
		if stream.known {
			answer = &streamproto.QueryOffsetResponse{Code: streamproto.CodeOK, Offset: stream.stored}
		}
	case *streamproto.StoreOffset:
		b.store(q)
		return true
	case *streamproto.Subscribe:
		s.subscribe(q, r.Correlation)
		return true
	case *streamproto.ConsumerUpdateResponse:
		if q.Offset.Type != streamproto.OffsetNone {
			s.next = s.stream.from(q.Offset)
			s.deliver()
		}
		return true
	case *streamproto.Credit:
		s.credit += int(q.Credit)
		s.deliver()
		return true
	default:
		return false
	}
	s.Offer(fakebroker.StreamResponse(r.Correlation, answer))
	return true
}

// store stores an offset, which must be one that the consumer may store, or drops it.
func (b *brittle) store(q *streamproto.StoreOffset) {
	stream := b.streams[q.Stream]
	number, found := slices.BinarySearch(stream.offsets, q.Offset)
	if !found || !stream.mayStore(number) {
		b.t.Errorf("seed %d: offset %d of %s is stored, message %d, and %d are acked", b.seed, q.Offset, q.Stream, number, stream.prefix())
	}
	if b.random.IntN(4) > 0 {
		stream.stored, stream.known = q.Offset, true
	}
}

func (s *brittleSession) subscribe(q *streamproto.Subscribe, correlation uint32) {
	s.sub, s.stream, s.credit = q, s.broker.streams[q.Stream], int(q.Credit)
	if s.broker.astray != nil {
		s.stream, s.broker.astray = s.broker.astray, nil
	}
	s.next = s.stream.from(q.Offset)
	if len(q.Properties) > 0 { // a single active consumer
		s.next = len(s.stream.chunks)
	}
	s.Offer(fakebroker.StreamResponse(correlation, &streamproto.Done{For: q.Key(), Code: streamproto.CodeOK}))
	if len(q.Properties) > 0 {
		s.Offer(fakebroker.StreamRequest(900, &streamproto.ConsumerUpdate{SubscriptionID: q.SubscriptionID, Active: true}))
		return
	}
	s.deliver()
}

// deliver sends what there is credit for.
func (s *brittleSession) deliver() {
	for ; s.sub != nil && s.credit > 0 && s.next < len(s.stream.chunks); s.next++ {
		if s.moves--; s.moves == -1 {
			update, err := streamproto.AppendMetadataUpdate(nil, &streamproto.MetadataUpdate{Code: streamproto.CodeStreamNotAvailable, Stream: s.sub.Stream})
			if err != nil {
				panic(err)
			}
			s.Offer(update)
			s.sub = nil
			return
		}
		s.credit--
		c := s.stream.chunks[s.next]
		chunk := fakebroker.Chunk(s.sub.SubscriptionID, c.first, c.bodies...)
		chunk.Timestamp += s.stream.base + int64(c.first)
		s.Offer(fakebroker.Deliver(chunk))
	}
}

// recoveryProgram is a consumer of a brittle broker, and what a random program does with it.
type recoveryProgram struct {
	*brittle
	cfg   thump.ConsumerConfig
	con   *thump.Consumer
	kept  []*thump.Batch // not acked yet
	last  *thump.Batch
	hasty int // times that a Receive did not wait any longer
	told  int // of them, that it said that there was no connection
}

// TestFaultStreamRecovers runs random programs against a broker whose connections break at
// random. Every message is handed out, in order. Without a Name it is once; with one, what
// was acked is not handed out again, and no offset is stored beyond what was acked.
func TestFaultStreamRecovers(t *testing.T) {
	broken, again, stale, told := 0, 0, 0, 0
	for seed := range uint64(400) {
		synctest.Test(t, func(t *testing.T) {
			b := &brittle{t: t, seed: seed, random: rand.New(rand.NewPCG(seed, 31)), streams: map[string]*brittleStream{}}
			p := &recoveryProgram{brittle: b}
			p.choose()
			stale += p.run()
			broken += b.broken
			told += p.told
			for _, s := range b.streams {
				again += s.restarts
			}
		})
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
	did := fmt.Sprintf("%d connections broken, %d times gone back, %d acks too late, told %d times of an outage", broken, again, stale, told)
	t.Log(did)
	if broken < 500 || again < 100 || stale < 50 || told < 3 {
		t.Error("too little has happened:", did)
	}
}

// choose chooses streams and settings.
func (p *recoveryProgram) choose() {
	random := p.random
	names := []string{"events"}
	p.cfg.From = thump.Stream("events")
	if random.IntN(2) == 0 {
		names = []string{"orders-0", "orders-1", "orders-2"}
		p.cfg.From = thump.SuperStream("orders")
	}
	for _, name := range names {
		p.streams[name] = p.fill(1 + random.IntN(300))
	}
	p.breaks = random.IntN(12)
	p.timeless = random.IntN(4) == 0
	p.cfg.MaxBatch = random.IntN(8)
	p.cfg.ReuseBuffers = random.IntN(2) == 0
	o := &p.cfg.Stream
	o.Credit = 2 + random.IntN(10)
	if random.IntN(3) > 0 {
		o.Name = "me"
		o.StoreEvery = 1 + random.IntN(50)
		o.StoreInterval = time.Duration(1+random.IntN(1000)) * time.Millisecond
		o.ManualStore = random.IntN(4) == 0
		if random.IntN(3) == 0 && !p.timeless {
			o.SingleActive = true
			o.OnActive = p.onActive
		}
	}
	p.cfg.AutoAck = random.IntN(3) == 0
}

// onActive makes sure that turns begin and end in turn.
func (p *recoveryProgram) onActive(stream string, active bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.streams[stream]
	if s.active == active {
		p.t.Errorf("seed %d: told twice that active is %t", p.seed, active)
	}
	s.active = active
	if !active {
		s.notActive++
	}
}

// run runs the program, and returns how many acks came too late.
func (p *recoveryProgram) run() (stale int) {
	t := p.t
	client := p.client(thump.Config{})
	con, err := client.Consumer(t.Context(), p.cfg)
	if err != nil {
		t.Fatalf("seed %d: %v", p.seed, err)
	}
	p.con = con
	p.mu.Lock()
	p.armed = true
	end := -1 // when it ends early
	if p.random.IntN(3) == 0 {
		end = p.random.IntN(60)
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	for step := 0; step != end && !p.complete(); step++ {
		p.passed()
		batch, err := p.receive(ctx)
		if err != nil {
			t.Errorf("seed %d, step %d: %v", p.seed, step, err)
			break
		}
		if batch == nil {
			continue
		}
		p.received(batch)
		stale += p.settle(batch)
	}
	p.finish(client, end >= 0)
	return stale
}

// receive receives a batch. Sometimes it does not wait long for it, and returns none.
func (p *recoveryProgram) receive(ctx context.Context) (*thump.Batch, error) {
	p.mu.Lock()
	hasty := p.random.IntN(5) == 0
	p.mu.Unlock()
	if !hasty {
		return p.con.Receive(ctx)
	}
	hurry, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	batch, err := p.con.Receive(hurry)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		p.hasty++
		if strings.Contains(err.Error(), "there has been no connection for") {
			p.told++
		}
		return nil, nil //nolint:nilnil // there is none
	}
	return batch, err
}

// passed notes, with AutoAck, that the next batch is asked for.
func (p *recoveryProgram) passed() {
	if !p.cfg.AutoAck || p.last == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.streams[p.last.Stream]
	for i := range s.next {
		s.acked[i] = true
	}
}

// complete reports whether every message was handed out.
func (p *recoveryProgram) complete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.streams {
		if s.most < s.n {
			return false
		}
	}
	return true
}

// number is a message's own.
func (p *recoveryProgram) number(d *thump.Delivery) (n int) {
	if _, err := fmt.Sscanf(string(d.Body), "message %d", &n); err != nil {
		p.t.Errorf("seed %d: got %q", p.seed, d.Body)
	}
	return n
}

// received looks at what was handed out.
func (p *recoveryProgram) received(batch *thump.Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.streams[batch.Stream]
	began := s.last
	s.last = p.number(&batch.Deliveries[0])
	p.last = batch
	for i := range batch.Deliveries {
		d := &batch.Deliveries[i]
		n := p.number(d)
		if n < len(s.offsets) && d.Offset != s.offsets[n] {
			p.t.Errorf("seed %d: message %d of %s is at %d, want %d", p.seed, n, batch.Stream, d.Offset, s.offsets[n])
		}
		if n != s.next {
			p.wentBack(batch.Stream, s, n, began)
		}
		s.next = n + 1
		s.most = max(s.most, s.next)
	}
}

// wentBack looks at a message that does not follow on the one before.
func (p *recoveryProgram) wentBack(name string, s *brittleStream, n, began int) {
	s.restarts++
	want := s.prefix()
	switch {
	case p.cfg.Stream.Name == "" || n > s.next || p.broken == 0:
		p.t.Errorf("seed %d: %s goes on with %d after %d, and %d connections were broken", p.seed, name, n, s.next-1, p.broken)
	case p.cfg.AutoAck: // whether the last batch was passed depends
		if n < min(began, s.next) {
			p.t.Errorf("seed %d: %s goes back to %d, and the last batch began with %d", p.seed, name, n, began)
		}
		for i := n; i < s.n; i++ {
			delete(s.acked, i)
		}
	case n != want:
		p.t.Errorf("seed %d: %s goes back to %d, and %d messages are acked", p.seed, name, n, want)
	default:
		for i := n; i < s.n; i++ { // acked after a gap, which means nothing any more
			delete(s.acked, i)
		}
	}
}

// settle acks the batch, or an earlier one, or some of it, or nothing; sometimes late.
func (p *recoveryProgram) settle(batch *thump.Batch) (stale int) {
	p.kept = append(p.kept, batch)
	p.mu.Lock()
	choice, which := p.random.IntN(8), p.random.IntN(len(p.kept))
	p.mu.Unlock()
	if choice == 0 {
		time.Sleep(time.Duration(min(which, 9)+1) * 50 * time.Millisecond)
	}
	if p.cfg.ReuseBuffers { // its deliveries are valid only now
		which = len(p.kept) - 1
	}
	switch {
	case choice < 2:
		return 0
	case choice == 2 && p.cfg.Stream.Name != "" && !p.cfg.AutoAck:
		ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
		defer cancel()
		if err := p.con.Flush(ctx); err != nil && !errors.Is(err, thump.ErrStale) {
			p.t.Errorf("seed %d: flush: %v", p.seed, err)
		}
	}
	late := p.kept[which]
	p.kept = slices.Delete(p.kept, which, which+1)
	if choice == 3 && p.ack(late, late.Deliveries[len(late.Deliveries)-1:], late.Deliveries[len(late.Deliveries)-1].Ack) {
		stale++
	}
	if p.ack(late, late.Deliveries, late.Ack) {
		stale++
	}
	return stale
}

// ack acks some deliveries, and reports whether that was too late.
func (p *recoveryProgram) ack(batch *thump.Batch, deliveries []thump.Delivery, ack func() error) (stale bool) {
	p.mu.Lock()
	s := p.streams[batch.Stream]
	var marked []int
	for i := range deliveries {
		if n := p.number(&deliveries[i]); !s.acked[n] && !p.cfg.AutoAck {
			s.acked[n] = true // before: it may be stored at once
			marked = append(marked, n)
		}
	}
	p.mu.Unlock()
	err := ack()
	switch {
	case err == nil && !p.cfg.AutoAck, p.cfg.AutoAck && errors.Is(err, thump.ErrAutoAck):
		return false
	case !errors.Is(err, thump.ErrStale) || p.cfg.Stream.Name == "":
		p.t.Errorf("seed %d: ack: %v", p.seed, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range marked {
		delete(s.acked, n)
	}
	return true
}

// finish ends the consumer, in one of several ways.
func (p *recoveryProgram) finish(client *thump.Client, early bool) {
	p.mu.Lock()
	choice := p.random.IntN(4)
	p.mu.Unlock()
	for _, batch := range p.kept {
		if choice > 0 && !p.cfg.AutoAck && !p.cfg.ReuseBuffers {
			p.ack(batch, batch.Deliveries, batch.Ack)
		}
	}
	p.passed()
	if choice == 1 {
		p.con.Stop()
		time.Sleep(time.Second)
		if _, err := p.con.Receive(p.t.Context()); !errors.Is(err, thump.ErrClosed) {
			p.t.Errorf("seed %d: after Stop: %v", p.seed, err)
		}
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	begin := time.Now()
	err := p.con.Close(ctx)
	if took := time.Since(begin); took > 20*time.Second {
		p.t.Errorf("seed %d: Close took %v", p.seed, took)
	}
	if err != nil && !early && p.broken == 0 && choice > 0 && !p.cfg.ReuseBuffers {
		p.t.Errorf("seed %d: close: %v", p.seed, err)
	}
	p.mu.Lock()
	for name, s := range p.streams {
		if o := &p.cfg.Stream; err == nil && o.Name != "" && !o.ManualStore && !p.cfg.AutoAck && s.prefix() > 0 && !s.mayHaveStored() {
			p.t.Errorf("seed %d: %s: offset %d is stored (%t), and %d messages are acked", p.seed, name, s.stored, s.known, s.prefix())
		}
	}
	p.mu.Unlock()
	_ = client.Close(p.t.Context()) // its connections may be broken
	if p.con.Err() == nil {
		p.t.Errorf("seed %d: it has not ended", p.seed)
	}
}

// mayHaveStored reports whether as much is stored as is acked.
func (s *brittleStream) mayHaveStored() bool { return s.known && s.stored >= s.offsets[s.prefix()-1] }
