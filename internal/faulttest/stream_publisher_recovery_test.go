package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// streams is a broker whose streams outlive its connections. It serves any number of them.
type streams struct {
	*fakebroker.Broker
	t *testing.T

	mu     sync.Mutex
	random *rand.Rand
	down   bool // it takes no connection
	gone   bool // the streams were deleted
	mute   bool // it confirms nothing
	spotty bool // it does not come to confirm everything
	last   map[string]uint64
	stored map[string][]string // bodies, by stream
	served []*fakebroker.StreamSession
	of     map[*fakebroker.StreamSession]string // the stream that is published to
}

// newStreams starts a broker, and a client of it.
func newStreams(t *testing.T, seed uint64, cfg thump.Config) (*streams, *thump.Client) {
	t.Helper()
	b := &streams{
		t: t, random: rand.New(rand.NewPCG(seed, 41)), last: make(map[string]uint64), stored: make(map[string][]string),
		of: make(map[*fakebroker.StreamSession]string),
	}
	scripts := make([]func(*fakebroker.Session), 200)
	for i := range scripts {
		scripts[i] = fakebroker.Stream(b.serve)
	}
	b.Broker = fakebroker.Pipe(t, 64<<10, scripts...)
	cfg.URLs, cfg.DialContext = []string{b.StreamURL()}, b.dial
	client, err := thump.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal("dial:", err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) }) // some cases have broken it
	return b, client
}

var errDown = errors.New("the broker is down")

func (b *streams) dial(ctx context.Context, network, address string) (net.Conn, error) {
	b.mu.Lock()
	down := b.down
	b.mu.Unlock()
	if down {
		return nil, errDown
	}
	return b.DialContext(ctx, network, address)
}

func (b *streams) serve(s *fakebroker.StreamSession) {
	s.Login()
	b.mu.Lock()
	b.served = append(b.served, s)
	b.mu.Unlock()
	s.Serve(func(r *fakebroker.StreamReceived) bool { return b.handle(s, r) })
}

func (b *streams) handle(s *fakebroker.StreamSession, r *fakebroker.StreamReceived) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	answer := func(to streamproto.Response) bool { return s.Offer(fakebroker.StreamResponse(r.Correlation, to)) }
	switch c := r.Command.(type) {
	case *streamproto.Metadata:
		if !b.gone {
			return false
		}
		return answer(&streamproto.MetadataResponse{Streams: []streamproto.StreamMetadata{{Stream: c.Streams[0], Code: streamproto.CodeStreamDoesNotExist}}})
	case *streamproto.Partitions:
		if b.gone {
			return answer(&streamproto.PartitionsResponse{Code: streamproto.CodeStreamDoesNotExist})
		}
	case *streamproto.Route:
		return answer(&streamproto.RouteResponse{Code: streamproto.CodeOK, Streams: []string{"events-" + c.RoutingKey}})
	case *streamproto.DeclarePublisher:
		b.of[s] = c.Stream
	case *streamproto.QueryPublisherSequence:
		return answer(&streamproto.QueryPublisherSequenceResponse{Code: streamproto.CodeOK, Sequence: b.last[c.Stream]})
	case *fakebroker.Published:
		stream := b.of[s]
		for _, e := range c.Entries {
			if e.ID > b.last[stream] { // every publisher here has a name
				b.last[stream] = e.ID
				b.stored[stream] = append(b.stored[stream], e.Bodies...)
			}
		}
		return b.mute || b.spotty && b.random.IntN(4) == 0
	}
	return false
}

// cut ends the connections of a publisher to a stream, or those of all where that is "".
func (b *streams) cut(stream string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.served {
		if of := b.of[s]; stream == "" || of == stream {
			if b.random.IntN(2) == 0 {
				s.Close()
			} else {
				s.Reset()
			}
		}
	}
}

func (b *streams) set(what *bool, is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	*what = is
}

// TestFaultStreamComesBack cuts the connections of a stream's publisher, and of those of a
// super stream, again and again, and lets none come for a while. The publishers have a name:
// each message is confirmed, and stored once, in order.
func TestFaultStreamComesBack(t *testing.T) {
	resent := uint64(0)
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 42))
			var events []thump.Event
			b, client := newStreams(t, seed, thump.Config{OnEvent: func(e thump.Event) { events = append(events, e) }})
			to := thump.Stream("events")
			if seed%2 == 1 {
				to = thump.SuperStream("events")
			}
			book := &outcomeBook{t: t, seed: seed, status: map[uint64]thump.Status{}}
			pub, err := client.Publisher(t.Context(), thump.PublisherConfig{
				To: to, Window: 1 + random.IntN(2000), OnOutcomes: book.add,
				Stream: thump.StreamPublishing{Name: "me", SubEntry: []int{1, 3, 500}[random.IntN(3)]},
			})
			if err != nil {
				t.Fatal(err)
			}
			b.set(&b.spotty, true)
			over := make(chan struct{})
			go func() {
				defer close(over)
				for range 1 + random.IntN(10) {
					time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
					b.set(&b.down, random.IntN(2) == 0)
					b.cut([]string{"", "events", "events-0", "events-1"}[random.IntN(4)])
					time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
					b.set(&b.down, false)
				}
			}()
			n := 0
			for running := true; running || n%100 > 0; n++ {
				m := thump.Message{Ref: uint64(n), RoutingKey: fmt.Sprint(n % 7), Body: fmt.Appendf(nil, "%06d", n)}
				if _, err := pub.Publish(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				if n%50 == 0 {
					time.Sleep(time.Duration(n%97) * time.Millisecond)
				}
				select {
				case <-over:
					running = false
				default:
				}
			}
			b.set(&b.spotty, false)
			b.cut("") // what was not confirmed is sent again
			if err := pub.Flush(t.Context()); err != nil {
				t.Error("flush:", err)
			}
			if err := pub.Close(t.Context()); err != nil {
				t.Error("close:", err)
			}
			checkBack(t, b, n, book)
			synctest.Wait()
			for _, e := range events {
				resent += uint64(e.Resent)
				if e.Kind == thump.GaveUp || e.Kind == thump.Recovered && e.After < 0 {
					t.Errorf("event %+v", e)
				}
			}
		})
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
	if resent < 1000 {
		t.Errorf("the test tests little: %d were sent again", resent)
	}
}

func checkBack(t *testing.T, b *streams, n int, book *outcomeBook) {
	t.Helper()
	for ref, status := range book.status {
		if status != thump.Confirmed {
			t.Errorf("message %d is %v", ref, status)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	stored := map[string]bool{}
	for stream, bodies := range b.stored {
		for i, body := range bodies {
			if stored[body] || i > 0 && body < bodies[i-1] {
				t.Errorf("message %q of stream %s comes twice, or late", body, stream)
			}
			stored[body] = true
		}
	}
	if len(book.status) != n || len(stored) != n {
		t.Errorf("%d were published, %d have an outcome, %d are stored", n, len(book.status), len(stored))
	}
}

// away publishes some messages of which none is confirmed, and takes the broker away.
func away(t *testing.T, b *streams, client *thump.Client, cfg thump.PublisherConfig) *thump.Publisher {
	t.Helper()
	b.mute = true
	cfg.To, cfg.Stream.Name = thump.Stream("events"), "me"
	pub, err := client.Publisher(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pub.Publish(t.Context(), thump.Message{Body: []byte("1")}, thump.Message{Body: []byte("2")}, thump.Message{Body: []byte("3")}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	b.set(&b.down, true)
	b.cut("")
	synctest.Wait()
	b.set(&b.mute, false)
	return pub
}

// checkAway makes sure that an error says that the broker is away, since when and why.
func checkAway(t *testing.T, err error, since string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "there has been no connection for "+since) || !strings.Contains(err.Error(), "the broker is down") {
		t.Errorf("got %v", err)
	}
}

// TestFaultStreamAway: while there is no connection messages are taken up to the window,
// and what waits says why when its context ends. Close waits too, and gives up then.
func TestFaultStreamAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, client := newStreams(t, 1, thump.Config{})
		pub := away(t, b, client, thump.PublisherConfig{Window: 10})
		time.Sleep(3 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		n, err := pub.Publish(ctx, make([]thump.Message, 20)...)
		if n != 7 || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, thump.ErrNotSent) {
			t.Errorf("%d were accepted, %v", n, err)
		}
		checkAway(t, err, "5s")
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		checkAway(t, pub.Flush(ctx), "6s")
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = pub.Close(ctx)
		checkAway(t, err, "7s")
		if told := outcomeError(t, err); told.Unknown != 10 || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(pub.Err(), thump.ErrClosed) {
			t.Errorf("got %+v, %v", told, pub.Err())
		}
	})
}

// TestFaultStreamCloseWaitsForTheBroker: Close during an outage returns once there is a
// connection and all is confirmed.
func TestFaultStreamCloseWaitsForTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, client := newStreams(t, 1, thump.Config{})
		pub := away(t, b, client, thump.PublisherConfig{})
		time.AfterFunc(10*time.Second, func() { b.set(&b.down, false) })
		begin := time.Now()
		err := pub.Close(t.Context())
		if took := time.Since(begin); err != nil || took < 10*time.Second || took > 11*time.Second {
			t.Errorf("close took %v: %v", took, err)
		}
		if len(b.stored["events"]) != 3 {
			t.Errorf("stored %q", b.stored["events"])
		}
	})
}

// TestFaultStreamDeleted: a stream that was deleted ends its publisher, and what was in
// flight is Unknown.
func TestFaultStreamDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []thump.Event
		b, client := newStreams(t, 1, thump.Config{OnEvent: func(e thump.Event) { events = append(events, e) }})
		pub := away(t, b, client, thump.PublisherConfig{})
		b.set(&b.gone, true)
		b.set(&b.down, false)
		<-pub.Done()
		if err := pub.Err(); !thump.IsNotFound(err) {
			t.Errorf("it ended with %v", err)
		}
		told := outcomeError(t, pub.Close(t.Context()))
		if told.Unknown != 3 || !thump.IsNotFound(told) || !strings.Contains(told.First.Text, "looking for stream \"events\"") {
			t.Errorf("got %v, %+v", told, told.First)
		}
		synctest.Wait()
		if len(events) != 2 || events[0].Kind != thump.Disconnected || events[0].InFlight != 3 || events[1].Kind != thump.GaveUp {
			t.Errorf("events %+v", events)
		}
	})
}

// TestFaultStreamPublisherGivesUp at the limit that was set, with what is known of each message.
func TestFaultStreamPublisherGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, client := newStreams(t, 1, thump.Config{Recovery: thump.Recovery{GiveUp: 5 * time.Second}})
		begin := time.Now()
		pub := away(t, b, client, thump.PublisherConfig{})
		<-pub.Done()
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("given up after %v", took)
		}
		checkAway(t, pub.Err(), "5s")
		if told := outcomeError(t, pub.Close(t.Context())); told.Unknown != 3 {
			t.Errorf("got %v", told)
		}
	})
}

// TestFaultStreamResendNever: what a lost connection carried is Unknown at once, and what is
// published without one is sent.
func TestFaultStreamResendNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, client := newStreams(t, 1, thump.Config{})
		pub := away(t, b, client, thump.PublisherConfig{Resend: thump.ResendNever})
		if n := pub.Counts(); n.Unknown != 3 || n.InFlight != 0 {
			t.Errorf("counts %+v", n)
		}
		if _, err := pub.Publish(t.Context(), thump.Message{Body: []byte("4")}, thump.Message{Body: []byte("5")}); err != nil {
			t.Error(err)
		}
		b.set(&b.down, false)
		told := outcomeError(t, pub.Close(t.Context()))
		if told.Unknown != 3 || pub.Counts().Confirmed != 2 {
			t.Errorf("got %v, counts %+v", told, pub.Counts())
		}
		if got := fmt.Sprint(b.stored["events"]); got != "[1 2 3 4 5]" {
			t.Errorf("stored %s", got)
		}
	})
}

// TestFaultSuperStreamGoesOn: while one partition has no connection, messages for it are
// taken, and those for the other are confirmed.
func TestFaultSuperStreamGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, client := newStreams(t, 1, thump.Config{})
		pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.SuperStream("events"), Stream: thump.StreamPublishing{Name: "me"}})
		if err != nil {
			t.Fatal(err)
		}
		b.set(&b.down, true)
		b.cut("events-1")
		for i := range 100 {
			if _, err := pub.Publish(t.Context(), thump.Message{RoutingKey: fmt.Sprint(i), Body: fmt.Append(nil, i)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		if n := pub.Counts(); n.Confirmed < 20 || n.InFlight < 20 || n.Published != 100 {
			t.Errorf("counts %+v", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = pub.Flush(ctx)
		if checkAway(t, err, "2s"); err != nil && !strings.Contains(err.Error(), `partition "events-1"`) {
			t.Errorf("got %v", err)
		}
		b.set(&b.down, false)
		if err := pub.Close(t.Context()); err != nil || pub.Counts().Confirmed != 100 {
			t.Errorf("%v, counts %+v", err, pub.Counts())
		}
	})
}

// TestFaultSuperStreamAsksAgain: with RouteByKey, a message with a key that is not known yet
// waits for the broker that is away, until its context ends.
func TestFaultSuperStreamAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, client := newStreams(t, 1, thump.Config{})
		pub, err := client.Publisher(t.Context(), thump.PublisherConfig{To: thump.SuperStream("events"), Stream: thump.StreamPublishing{Name: "me", RouteByKey: true}})
		if err != nil {
			t.Fatal(err)
		}
		b.set(&b.down, true)
		b.cut("")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if n, err := pub.Publish(ctx, thump.Message{RoutingKey: "1"}); n != 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%d were accepted, %v", n, err)
		} else {
			checkAway(t, err, "5s")
		}
		time.AfterFunc(5*time.Second, func() { b.set(&b.down, false) })
		if n, err := pub.Publish(t.Context(), thump.Message{RoutingKey: "1"}); n != 1 || err != nil {
			t.Errorf("%d were accepted, %v", n, err)
		}
		if err := pub.Close(t.Context()); err != nil || len(b.stored["events-1"]) != 1 {
			t.Errorf("%v, stored %q", err, b.stored)
		}
	})
}
