package streamconn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/window"
)

// kept is a stream, as a broker has it that outlives its connections.
type kept struct {
	t      *testing.T
	random *rand.Rand
	named  bool

	mu      sync.Mutex
	last    uint64                               // the highest id that is stored
	seen    map[uint64]fakebroker.PublishedEntry // by id
	stored  map[uint64]int                       // how often, by message
	refused int
}

// serve is a connection on which the stream is published to. In the end it confirms all.
func (k *kept) serve(s *fakebroker.StreamSession, orderly bool) {
	k.mu.Lock()
	slow := rand.New(rand.NewPCG(k.random.Uint64(), 0))
	k.mu.Unlock()
	var open []uint64
	var before uint64
	s.Serve(func(r *fakebroker.StreamReceived) bool {
		if slow.IntN(4) == 0 { // the client's writer is busy meanwhile
			time.Sleep(time.Duration(slow.IntN(30)) * time.Millisecond)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		switch c := r.Command.(type) {
		case *streamproto.QueryPublisherSequence:
			return s.Offer(fakebroker.StreamResponse(r.Correlation, &streamproto.QueryPublisherSequenceResponse{Code: streamproto.CodeOK, Sequence: k.last}))
		case *fakebroker.Published:
			for _, e := range c.Entries {
				if e.ID <= before {
					k.t.Errorf("entry %d comes after %d", e.ID, before)
				}
				before = e.ID
				if k.random.IntN(30) == 0 && !k.named {
					s.Offer(streamproto.AppendPublishError(nil, c.PublisherID, streamproto.CodePreconditionFailed, e.ID))
					k.refused++
					continue
				}
				k.store(e)
				open = append(open, e.ID)
			}
			n := len(open)
			if !orderly {
				n = k.random.IntN(n + 1)
				if k.random.IntN(2) == 0 {
					k.random.Shuffle(len(open), func(i, j int) { open[i], open[j] = open[j], open[i] })
				}
			}
			s.Offer(streamproto.AppendPublishConfirm(nil, c.PublisherID, open[:n]...))
			open = open[n:]
			return true
		}
		return false
	})
}

// store stores an entry, unless the stream has it. One that comes again is as it was.
func (k *kept) store(e fakebroker.PublishedEntry) {
	if seen, again := k.seen[e.ID]; again && !reflect.DeepEqual(seen, e) {
		k.t.Errorf("entry %d comes again, as %.300v, and was %.300v", e.ID, e, seen)
	}
	k.seen[e.ID] = e
	if k.named {
		if e.ID <= k.last {
			return
		}
		k.last = e.ID
	}
	for _, body := range e.Bodies {
		digits, _, _ := strings.Cut(body, " ")
		number, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			k.t.Errorf("a body that begins with no number: %.40q", body)
		}
		k.stored[number]++
	}
}

// TestBacklogRandom publishes over connections that end one after another, at a random byte
// in either direction or in another way, and while there is none. Every message gets one
// outcome. What is sent again has the same id and the same bytes, and is in order. A stream
// that knows the publisher's name stores each message once; otherwise one that is there
// twice says Resent. With Forget none is there twice.
func TestBacklogRandom(t *testing.T) {
	var all outcome.Totals
	twice := 0
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			defer tellSeed(t, seed)
			r := newBacklogTest(t, seed)
			r.run()
			twice += r.check()
			all.Add(r.backlog.window.Totals())
		})
		if t.Failed() {
			t.FailNow()
		}
	}
	if all.Confirmed < 10_000 || all.Rejected < 1000 || all.Unknown < 1000 || all.Resent < 10_000 || twice < 1000 {
		t.Errorf("the test tests little: %+v, %d came twice", all, twice)
	}
}

type backlogTest struct {
	t        *testing.T
	random   *rand.Rand
	stream   *kept
	broker   *fakebroker.Broker
	backlog  *Backlog
	deaths   int
	accepted uint64
	outcomes []outcome.Outcome
}

func newBacklogTest(t *testing.T, seed uint64) *backlogTest {
	random := rand.New(rand.NewPCG(seed, 31))
	r := &backlogTest{t: t, random: random, deaths: 1 + random.IntN(8)}
	cfg := PublisherConfig{
		Stream: "events", Window: newWindow(1+random.IntN(1500), true),
		Keep: true, Forget: seed%4 == 3, SubEntry: []int{1, 3, 50, 500}[random.IntN(4)],
	}
	cfg.Ended = cfg.Window.Fail
	if random.IntN(2) == 0 {
		cfg.Reference = "me"
	}
	switch {
	case cfg.SubEntry == 1:
		cfg.Filtered = random.IntN(2) == 0
	case random.IntN(2) == 0:
		cfg.Compression = compress.LZ4
	}
	r.stream = &kept{
		t: t, random: rand.New(rand.NewPCG(seed, 32)), named: cfg.Reference != "",
		seen: make(map[uint64]fakebroker.PublishedEntry), stored: make(map[uint64]int),
	}
	frames := []uint32{1 << 20}
	if random.IntN(3) == 0 {
		frames = []uint32{4096, 30_000, 1 << 20}
	}
	var scripts []func(*fakebroker.Session)
	for i := range r.deaths + 1 {
		g := fakebroker.LikelyStream()
		g.Tune.FrameMax = frames[random.IntN(len(frames))]
		death := r.death(i == r.deaths)
		scripts = append(scripts, fakebroker.Stream(func(s *fakebroker.StreamSession) { death(s, g) }))
	}
	r.broker = fakebroker.Pipe(t, conntest.SocketSize, scripts...)
	r.backlog = NewBacklog(cfg)
	return r
}

// death is a connection that ends somehow; the last one does not.
func (r *backlogTest) death(last bool) func(*fakebroker.StreamSession, fakebroker.StreamGreeting) {
	written, read, after := -1, -1, time.Duration(-1)
	switch way := r.random.IntN(4); {
	case last:
	case way == 0:
		written = r.random.IntN(3000)
	case way == 1:
		read = r.random.IntN(600_000)
	default:
		after = time.Duration(r.random.IntN(300)) * time.Millisecond
	}
	way, reset := r.random.IntN(3), r.random.IntN(2) == 0
	return func(s *fakebroker.StreamSession, g fakebroker.StreamGreeting) {
		s.BreakAfter(written, read)
		s.LoginAs(g)
		if after >= 0 {
			time.AfterFunc(after, func() {
				switch {
				case way == 0:
					s.Offer(metadataUpdate("events"))
				case reset:
					s.Reset()
				default:
					s.Close()
				}
			})
		}
		r.stream.serve(s, last)
	}
}

func (r *backlogTest) run() {
	published, taken := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(taken)
		r.outcomes, _ = collectOutcomes(r.backlog.window)
	}()
	publishing := false
	for i := range r.deaths + 1 {
		conn, err := Dial(r.t.Context(), config(r.broker))
		if err != nil {
			continue
		}
		p, err := conn.Publisher(r.t.Context(), r.backlog)
		if err == nil && !publishing {
			publishing = true
			go r.publish(rand.New(rand.NewPCG(r.random.Uint64(), 33)), published)
		}
		switch {
		case i == r.deaths && err != nil:
			r.t.Error("the last connection:", err)
		case i == r.deaths:
			<-published
			if err := r.backlog.window.Wait(r.t.Context()); err != nil {
				r.t.Error(err)
			}
			if e := &r.backlog.entries; e.oldest != e.next || e.unsent > 0 || e.bytes() > 0 || r.backlog.InFlight() > 0 {
				r.t.Errorf("all have their outcome: %d, %d, %d, %d bytes", e.oldest, e.next, e.unsent, e.bytes())
			}
			conntest.Goodbye(r.t, conn)
		case err == nil:
			<-p.Done()
		}
		conntest.Drop(conn)
		time.Sleep(time.Duration(r.random.IntN(200)) * time.Millisecond)
	}
	r.backlog.End(errors.New("enough"))
	<-r.backlog.Done()
	<-taken
}

// publish publishes, over all connections, 0 being the first message.
func (r *backlogTest) publish(random *rand.Rand, published chan struct{}) {
	defer close(published)
	for next := uint64(0); next < 4000; {
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Duration(random.IntN(100))*time.Millisecond)
		p, err := r.backlog.Begin(ctx)
		if cancel(); err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				r.t.Error("publish:", err)
				return
			}
			continue
		}
		for range 1 + random.IntN(200) {
			var bodies [][]byte
			for range 1 + random.IntN(2)*random.IntN(40) {
				bodies = append(bodies, fmt.Append(nil, next+uint64(len(bodies)), " ", strings.Repeat("x", random.IntN(1000))))
			}
			n, err := r.publishSome(p, next, bodies)
			if err != nil {
				r.t.Error("publish:", err)
			}
			next += uint64(n)
			r.accepted = next
			if n < len(bodies) || next >= 4000 {
				break
			}
		}
		p.End()
		if random.IntN(3) == 0 {
			time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
		}
	}
}

// publishSome publishes messages from that one on, and returns how many were taken.
func (r *backlogTest) publishSome(p *Publisher, first uint64, bodies [][]byte) (int, error) {
	var tags []window.Tag
	for i, body := range bodies {
		number := first + uint64(i)
		tags = append(tags, window.Tag{Ref: number})
		if !r.backlog.cfg.Filtered {
			continue
		}
		ok, err := p.PublishMessage(tags[i], 0, amqp10.AppendData(nil, body), fmt.Sprint(number%7), len(body))
		if !ok {
			return i, err
		}
	}
	if r.backlog.cfg.Filtered {
		return len(bodies), nil
	}
	return p.PublishBodies(bodies, tags)
}

// check compares outcomes with what is stored, and returns how many messages are there
// twice.
func (r *backlogTest) check() (twice int) {
	t, k := r.t, r.stream
	known := make(map[uint64]bool)
	for _, o := range r.outcomes {
		if known[o.Ref] || o.Ref >= r.accepted {
			t.Errorf("message %d, of %d, has another outcome: %+v", o.Ref, r.accepted, o)
		}
		known[o.Ref] = true
		stored := k.stored[o.Ref]
		if stored > 1 {
			twice++
		}
		mayBeLost := o.Status == outcome.Unknown && (r.backlog.cfg.Forget || strings.Contains(o.Text, "does not fit a frame"))
		switch {
		case stored > 1 && (k.named || !o.Resent || r.backlog.cfg.Forget):
			t.Errorf("message %d is stored %d times: %+v", o.Ref, stored, o)
		case o.Resent && (k.named || r.backlog.cfg.Forget):
			t.Errorf("message %d says that it may be there twice: %+v", o.Ref, o)
		case o.Status == outcome.Confirmed && stored == 0:
			t.Errorf("message %d is confirmed and not stored", o.Ref)
		case o.Status == outcome.Rejected && stored > 0 && !o.Resent:
			t.Errorf("message %d is rejected, and stored %d times", o.Ref, stored)
		case o.Status == outcome.Unknown && !mayBeLost:
			t.Errorf("message %d is unknown: %s", o.Ref, o.Text)
		}
	}
	if len(known) != int(r.accepted) {
		t.Errorf("%d messages were accepted, %d have an outcome", r.accepted, len(known))
	}
	return twice
}
