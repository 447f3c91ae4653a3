package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
)

// How a consumer stops and closes, and what contexts and settling promise meanwhile.
func stopCases() []conformanceCase {
	return []conformanceCase{
		{"stop/an-ended-context-stops-a-busy-loop", 0, testEndedContext},
		{"stop/in-the-loop", 0, testStopInLoop},
		{"stop/receive", 0, testStopReceive},
		{"stop/close-waits-for-work-elsewhere", 0, testCloseWaits},
		{"stop/close-in-the-loop", 0, testCloseInLoop},
		{"stop/client-close-in-the-loop", 0, testClientCloseInLoop},
		{"stop/client-close-leaves-publishers-time", 0, testClientCloseLeavesTime},
		{"stop/close-from-many-goroutines", 0, testCloseMany},
		{"stop/auto-ack-loses-nothing", settles, testStopAutoAck},
		{"stop/close-in-on-active", offsets, testCloseInOnActive},
		{"stop/a-broken-loop-is-not-handled", offsets, testBrokenLoop},
		{"settle/flush", settles, testFlushAcks},
		{"stop/gives-many-back-at-once", settles, testStopGivesBack},
		{"settle/release-all", 0, testReleaseAll},
		{"settle/requeue-counts", settles, testRequeueCounts},
		{"settle/release-on-a-stream", offsets, testReleaseStream},
	}
}

// single is the configuration of a consumer of a place whose acks mean something, and
// that receives one message at a time.
func (r *rig) single(place string) thump.ConsumerConfig {
	cfg := thump.ConsumerConfig{From: r.to(place), MaxBatch: 1}
	if r.engine.streams() {
		cfg.Stream = neverStore("reader")
	} else {
		cfg.Prefetch = 16
	}
	return cfg
}

// rest expects that whoever consumes next gets n messages.
func (r *rig) rest(place string, n int) {
	r.Helper()
	c := r.consumer(r.single(place))
	r.receive(c, n, (*thump.Batch).Ack)
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
}

// testStopAutoAck stops a slow consumer with AutoAck while far more is on its way than
// waits for it in memory: what the broker has let go still comes to the loop.
func testStopAutoAck(r *rig) {
	const n, size = 6000, 10_000
	queue := r.queue()
	msgs := make([]thump.Message, n)
	for i := range msgs {
		msgs[i].Body = make([]byte, size)
	}
	r.send(queue, msgs...)
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), AutoAck: true})
	received := 0
	for batch, err := range c.Batches(r.Context()) {
		if err != nil {
			r.Fatal(err)
		}
		if received == 0 {
			time.Sleep(300 * time.Millisecond) // the inbox fills, and the socket
			c.Stop()
			time.Sleep(300 * time.Millisecond)
		}
		received += len(batch.Deliveries)
	}
	r.noError(c.Close(r.Context()))
	r.eventually(queue, n-received)
}

// testEndedContext ends the context of a busy consumer: after the batch in hand
// nothing more is handed out, by Batches or by Receive.
func testEndedContext(r *rig) {
	const n = 1000
	place := r.place()
	r.send(place, numbered(n)...)
	c := r.consumer(r.single(place))
	r.receive(c, 1, (*thump.Batch).Ack)
	time.Sleep(100 * time.Millisecond) // more is there
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	handled := 1
	for batch, err := range c.Batches(ctx) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				r.Error(err)
			}
			break
		}
		handled++
		r.noError(batch.Ack())
		if handled == 10 {
			cancel()
		}
	}
	for range 10 {
		if batch, err := c.Receive(ctx); !errors.Is(err, context.Canceled) {
			r.Fatalf("received %v with an ended context: %v", batch, err)
		}
	}
	for batch, err := range c.Batches(ctx) {
		if !errors.Is(err, context.Canceled) {
			r.Fatalf("received %v with an ended context: %v", batch, err)
		}
	}
	if handled != 10 {
		r.Errorf("%d handled, and the context ended after 10", handled)
	}
	r.receive(c, 1, (*thump.Batch).Ack) // the consumer lives on
	for what, err := range map[string]error{"Flush": c.Flush(ctx), "Close": c.Close(ctx)} {
		if !errors.Is(err, context.Canceled) {
			r.Errorf("%s with an ended context: %v", what, err)
		}
	}
}

// testStopInLoop stops in the middle of a loop: it ends after the batch it has, which
// can still be acked, and everything else is there for the next.
func testStopInLoop(r *rig) {
	const n = 500
	place := r.place()
	r.send(place, numbered(n)...)
	c := r.consumer(r.single(place))
	handled := 0
	for batch, err := range c.Batches(r.Context()) {
		r.noError(err)
		handled++
		if handled == 10 {
			c.Stop()
			c.Stop()
			time.Sleep(50 * time.Millisecond) // the broker takes the rest back
		}
		r.noError(batch.Ack())
	}
	if handled != 10 {
		r.Errorf("%d handled, and Stop came in the 10th", handled)
	}
	<-c.Done()
	if !errors.Is(c.Err(), thump.ErrClosed) {
		r.Errorf("it ended with %v", c.Err())
	}
	if !r.engine.streams() {
		r.eventually(place, n-handled)
	}
	r.noError(c.Close(r.Context()))
	r.rest(place, n-handled)
}

// testStopReceive stops while a Receive waits, and one that comes later.
func testStopReceive(r *rig) {
	c := r.consumer(r.single(r.place()))
	time.AfterFunc(50*time.Millisecond, c.Stop)
	for range 2 {
		_, err := c.Receive(r.Context())
		if !errors.Is(err, thump.ErrClosed) {
			r.Errorf("Receive ended with %v", err)
		}
	}
	r.noError(c.Close(r.Context()))
}

// testCloseWaits hands deliveries to workers, which take their time; Close waits for
// them, and their acks count.
func testCloseWaits(r *rig) {
	const workers = 8
	place := r.place()
	r.send(place, numbered(100)...)
	c := r.consumer(r.single(place))
	for i := range workers {
		batch, err := c.Receive(r.Context())
		r.noError(err)
		go func() {
			time.Sleep(time.Duration(300+20*i) * time.Millisecond)
			if err := batch.Ack(); err != nil {
				r.Error(err)
			}
		}()
	}
	start := time.Now()
	r.noError(c.Close(r.Context()))
	if took := time.Since(start); took < 300*time.Millisecond {
		r.Errorf("Close took %v, and the last worker longer", took)
	}
	r.rest(place, 100-workers)
}

// testCloseInLoop closes inside the loop: with the batch settled at once; with it open
// when its context ends. Nothing is handed out afterwards.
func testCloseInLoop(r *rig) {
	for _, settled := range []bool{true, false} {
		place := r.place()
		r.send(place, numbered(100)...)
		c := r.consumer(r.single(place))
		handled, acked := 0, 0
		for batch, err := range c.Batches(r.Context()) {
			r.noError(err)
			handled++
			if settled {
				r.noError(batch.Ack())
				acked++
				r.noError(c.Close(r.Context()))
				continue
			}
			r.left(c, 1)
			if err := batch.Ack(); !errors.Is(err, thump.ErrStale) {
				r.Errorf("acking after Close: %v", err)
			}
		}
		if handled != 1 {
			r.Errorf("%d handled, and the first one closed", handled)
		}
		<-c.Done()
		r.rest(place, 100-acked)
	}
}

func testClientCloseInLoop(r *rig) {
	place := r.place()
	r.send(place, numbered(100)...)
	client := r.dial(r.config())
	c, err := client.Consumer(r.Context(), r.single(place))
	r.noError(err)
	other, err := client.Consumer(r.Context(), r.single(r.place()))
	r.noError(err)
	handled := 0
	for batch, err := range c.Batches(r.Context()) {
		r.noError(err)
		handled++
		start := time.Now()
		err = client.Close(r.within(200 * time.Millisecond))
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 10*time.Second {
			r.Errorf("Client.Close in the loop took %v: %v", took, err)
		}
		r.says(err, "1 delivery was")
		if err := batch.Ack(); !errors.Is(err, thump.ErrStale) {
			r.Errorf("acking after Close: %v", err)
		}
	}
	<-c.Done()
	<-other.Done()
	if handled != 1 {
		r.Errorf("%d handled, and the first one closed", handled)
	}
	r.rest(place, 100)
}

// testClientCloseLeavesTime closes the client while a delivery is open that nobody is going
// to settle, and while others publish: the consumer takes its time, and the publishers still
// get the outcome of everything that they accepted.
func testClientCloseLeavesTime(r *rig) {
	place := r.place()
	r.send(place, numbered(1)...)
	client := r.dial(r.config())
	c, err := client.Consumer(r.Context(), r.single(place))
	r.noError(err)
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(r.place()), Window: 500})
	r.noError(err)
	batch, err := c.Receive(r.Context())
	r.noError(err)
	accepted := r.publishUntilClosed(p)
	err = client.Close(r.within(16 * time.Second)) // a quarter is enough for 500 confirms, on a busy machine too
	if _, ok := errors.AsType[*thump.OutcomeError](err); ok || !errors.Is(err, context.DeadlineExceeded) {
		r.Errorf("Client.Close: %v", err)
	}
	r.says(err, "1 delivery was")
	if got, n := p.Counts(), accepted(); got.Published != n || got.Confirmed != n || n == 0 {
		r.Errorf("%d messages were accepted: %+v", n, got)
	}
	if err := batch.Ack(); !errors.Is(err, thump.ErrStale) {
		r.Errorf("acking after Close: %v", err)
	}
}

// testCloseMany closes from many goroutines with contexts of their own while one
// delivery is open: each returns by the end of its context at the latest, and all
// once it is settled.
func testCloseMany(r *rig) {
	place := r.place()
	r.send(place, numbered(10)...)
	c := r.consumer(r.single(place))
	batch, err := c.Receive(r.Context())
	r.noError(err)
	var closing sync.WaitGroup
	var failed atomic.Int64
	for range 20 {
		closing.Go(func() {
			if err := c.Close(r.Context()); err != nil {
				failed.Add(1)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	r.noError(batch.Ack())
	closing.Wait()
	if failed.Load() > 0 {
		r.Errorf("%d of 20 calls of Close failed", failed.Load())
	}
	if _, err := c.Receive(r.Context()); !errors.Is(err, thump.ErrClosed) {
		r.Errorf("Receive after Close: %v", err)
	}
	r.rest(place, 9)
}

// testBrokenLoop breaks the loop of a consumer with AutoAck and a Name in its first
// batch: that was not handled, and comes again.
func testBrokenLoop(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 10, 10)
	cfg := thump.ConsumerConfig{From: thump.Stream(stream), AutoAck: true, Stream: neverStore("reader")}
	c := r.consumer(cfg)
	for _, err := range c.Batches(r.Context()) {
		r.noError(err)
		break // its handler failed
	}
	r.noError(c.Close(r.Context()))
	r.notStored(stream, "reader")
	c = r.consumer(cfg)
	for i := range 2 { // the first is handled, the second not
		batch, err := c.Receive(r.Context())
		r.noError(err)
		r.inOrder(batch.Deliveries, 10*i+1)
	}
	c.Stop()
	r.noError(c.Close(r.Context()))
	r.stored(stream, "reader", 9)
}

// testFlushAcks acks, flushes, and loses the connection: no ack is lost.
func testFlushAcks(r *rig) {
	const n = 1000
	queue := r.queue()
	r.send(queue, numbered(n)...)
	client, cut := r.dialCut()
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue), MaxBatch: 10})
	r.noError(err)
	acked := 0
	for acked < n/2 {
		batch, err := c.Receive(r.Context())
		r.noError(err)
		for i := range batch.Deliveries {
			if i%2 == 0 {
				acked++
				r.noError(batch.Deliveries[i].Ack())
			}
		}
	}
	r.noError(c.Flush(r.Context()))
	if r.engine.kind == thump.Quorum {
		// The broker has read the acks, and passes them on to the queue's replicas.
		time.Sleep(500 * time.Millisecond)
	}
	cut.all()
	<-c.Done()
	if err := c.Flush(r.Context()); err == nil {
		r.Error("Flush on a lost connection returns nil")
	}
	r.take(queue, n-acked)
}

// testStopGivesBack stops a consumer that was sent many messages and has settled all that it
// took: the rest is back within moments. Given back one by one, a classic queue would take
// minutes.
func testStopGivesBack(r *rig) {
	const n = 20_000
	queue := r.queue()
	r.send(queue, numbered(n)...)
	for _, end := range []func(c *thump.Consumer) error{
		func(c *thump.Consumer) error { c.Stop(); return c.Flush(r.Context()) },
		func(c *thump.Consumer) error { return c.ReleaseAll(r.Context()) },
	} {
		c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), Prefetch: n})
		r.eventually(queue, 0)
		batch, err := c.Receive(r.Context())
		r.noError(err)
		r.noError(batch.Release())
		r.noError(end(c))
		r.eventually(queue, n)
		r.noError(c.Close(r.Context()))
	}
	r.take(queue, n)
}

// testReleaseAll gives back what was handed out, what was not, and nothing of what was settled,
// in order, and both before and after a Stop.
func testReleaseAll(r *rig) {
	if r.engine.streams() {
		c := r.consumer(r.single(r.place()))
		if err := c.ReleaseAll(r.Context()); err == nil || !strings.Contains(err.Error(), "nothing to give back") {
			r.Errorf("of a stream: %v", err)
		}
		r.noError(c.Close(r.Context()))
		return
	}
	for _, stop := range []bool{false, true} {
		queue := r.queue()
		r.send(queue, numbered(50)...)
		cfg := r.single(queue)
		cfg.Prefetch = 50
		if stop {
			cfg.Prefetch = 5 // all of it is taken: Stop gives the rest back at once, and before
		}
		c := r.consumer(cfg)
		var held []*thump.Batch
		for range 5 {
			batch, err := c.Receive(r.Context())
			r.noError(err)
			kept := *batch
			kept.Deliveries = slices.Clone(batch.Deliveries)
			held = append(held, &kept)
		}
		r.noError(held[1].Ack())
		if stop {
			r.eventually(queue, 44, 45)
			c.Stop()
			r.noError(c.Flush(r.Context()))
		}
		r.noError(c.ReleaseAll(r.Context()))
		if err := held[0].Ack(); !errors.Is(err, thump.ErrSettled) {
			r.Errorf("acking a batch after ReleaseAll: %v", err)
		}
		if err := held[3].Deliveries[0].Release(); !errors.Is(err, thump.ErrSettled) {
			r.Errorf("releasing a delivery after ReleaseAll: %v", err)
		}
		r.noError(c.ReleaseAll(r.Context()))
		if stats := c.Stats(); stats.Unsettled != 0 || stats.Settled != 5 {
			r.Errorf("%+v", stats)
		}
		r.noError(c.Close(r.Context()))
		if _, err := c.Receive(r.Context()); !errors.Is(err, thump.ErrClosed) {
			r.Errorf("receiving after ReleaseAll: %v", err)
		}
		got := r.take(queue, 49)
		if !stop {
			r.inOrder(got[:1], 1)
			r.inOrder(got[1:], 3)
		}
	}
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(r.queue()), AutoAck: true})
	if err := c.ReleaseAll(r.Context()); !errors.Is(err, thump.ErrAutoAck) {
		r.Errorf("with AutoAck: %v", err)
	}
	r.noError(c.Close(r.Context()))
}

// testRequeueCounts gives a message back again and again, to a quorum queue with a
// delivery limit and to a classic one: Requeue counts on every version, Release not
// since 4.3.
func testRequeueCounts(r *rig) {
	const limit, most = 3, 8
	dead := r.classicQueue()
	for _, give := range []struct {
		name string
		back func(*thump.Delivery) error
	}{
		{"Requeue", (*thump.Delivery).Requeue},
		{"Release", (*thump.Delivery).Release},
	} {
		arguments := []thump.Field{{Key: "x-dead-letter-exchange", Value: ""}, {Key: "x-dead-letter-routing-key", Value: dead}}
		if r.engine.kind == thump.Quorum {
			arguments = append(arguments, thump.Field{Key: "x-delivery-limit", Value: int64(limit)})
		}
		queue := r.queue(arguments...)
		r.send(queue, numbered(1)...)
		c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue)})
		came := 0
		for came < most {
			batch, err := c.Receive(r.within(2 * time.Second))
			if errors.Is(err, context.DeadlineExceeded) {
				break
			}
			r.noError(err)
			came++
			r.noError(give.back(&batch.Deliveries[0]))
		}
		r.noError(c.Close(r.Context()))
		want := limit + 1
		if r.engine.kind != thump.Quorum || give.name == "Release" && r.atLeast("4.3") {
			want = most
		}
		if came != want {
			r.Errorf("with %s it came %d times, expected %d", give.name, came, want)
		}
		if want < most {
			r.take(dead, 1)
		} else {
			r.take(queue, 1)
		}
	}
}

// testReleaseStream releases some of what it got: whoever comes next begins there.
func testReleaseStream(r *rig) {
	stream, c, b := r.tens(4, neverStore("reader"))
	r.noError(b[0].Ack())
	for i := range 3 {
		r.noError(b[1].Deliveries[i].Ack())
	}
	r.noError(b[1].Deliveries[3].Release())
	if err := b[1].Deliveries[3].Ack(); !errors.Is(err, thump.ErrSettled) {
		r.Errorf("acking what was released: %v", err)
	}
	for _, refused := range []func() error{b[1].Reject, b[1].Requeue, b[1].Deliveries[5].Reject, b[1].Deliveries[5].Requeue} {
		r.says(refused(), "keeps its messages")
	}
	r.noError(b[1].Ack())
	r.noError(b[2].Release())
	r.noError(b[3].Ack())
	r.noError(c.Close(r.Context()))
	r.stored(stream, "reader", 12)
	c = r.consuming(stream, neverStore("reader"))
	r.inOrder(r.receive(c, 27, (*thump.Batch).Ack), 14)
	r.noError(c.Close(r.Context()))
}

// testCloseInOnActive closes the consumer, and its client, in the callback that says
// that it is active.
func testCloseInOnActive(r *rig) {
	place := r.place()
	r.send(place, numbered(10)...)
	for _, wholeClient := range []bool{false, true} {
		client := r.dial(r.config())
		var consumer atomic.Pointer[thump.Consumer]
		made := make(chan struct{})
		closed := make(chan error, 10)
		o := neverStore(fmt.Sprint("group ", wholeClient))
		o.SingleActive = true
		o.OnActive = func(string, bool) {
			<-made
			if c := consumer.Load(); c != nil && !wholeClient {
				closed <- c.Close(r.Context())
			} else {
				closed <- client.Close(r.Context())
			}
		}
		c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: r.to(place), Stream: o})
		if r.lacks("3.11", err) {
			return
		}
		r.noError(err)
		consumer.Store(c)
		close(made)
		r.noError(<-closed)
		<-c.Done()
		if _, err := c.Receive(r.Context()); !errors.Is(err, thump.ErrClosed) {
			r.Errorf("Receive: %v", err)
		}
		r.noError(client.Close(r.Context()))
	}
}
