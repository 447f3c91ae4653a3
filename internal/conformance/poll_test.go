package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump"
)

// Consumers that poll: ConsumerConfig.Poll.

func pollCases() []conformanceCase {
	return []conformanceCase{
		{"poll/messages", gets, testPoll},
		{"poll/properties", gets, testPollProperties},
		{"poll/settle-later", gets, testPollSettleLater},
		{"poll/release-all", gets, testPollReleaseAll},
		{"poll/cut-short", gets, testPollCutShort},
		{"poll/says-now", gets, testPollSaysNow},
		{"poll/stop", gets, testPollStop},
		{"poll/auto-ack", gets, testPollAutoAck},
		{"poll/stale", gets, testPollStale},
		{"poll/while-away", gets, testPollWhileAway},
		{"poll/recovery-off", gets, testPollRecoveryOff},
		{"poll/queue-is-gone", gets, testPollQueueIsGone},
		{"poll/queue-is-waited-for", gets, testPollQueueIsWaitedFor},
		{"poll/own-queue", gets, testPollOwnQueue},
		{"poll/refused", gets, testPollRefused},
		{"poll/stream", gets, testPollStream},
		{"poll/single-active-consumer", gets, testPollSingleActive},
	}
}

func (r *rig) poller(queue string) *thump.Consumer {
	r.Helper()
	return r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), Poll: true})
}

// ask is one Receive: nil where the queue was empty.
func (r *rig) ask(ctx context.Context, c *thump.Consumer) *thump.Batch {
	r.Helper()
	batch, err := c.Receive(ctx)
	if err != nil {
		r.Fatal(err)
	}
	switch len(batch.Deliveries) {
	case 0:
		return nil
	case 1:
		return batch
	}
	r.Fatalf("a batch of %d messages", len(batch.Deliveries))
	return nil
}

// poll asks for n messages, which must be there.
func (r *rig) poll(c *thump.Consumer, n int) []*thump.Batch {
	r.Helper()
	var got []*thump.Batch
	for len(got) < n {
		batch := r.ask(r.Context(), c)
		if batch == nil {
			r.Fatalf("the queue is empty after %d of %d messages", len(got), n)
		}
		got = append(got, batch)
	}
	return got
}

// testPoll takes what is there, and no more.
func testPoll(r *rig) {
	queue := r.queue()
	c := r.poller(queue)
	empty, err := c.Receive(r.Context())
	r.noError(err)
	if len(empty.Deliveries) > 0 {
		r.Errorf("from an empty queue: %d messages", len(empty.Deliveries))
	}
	r.noError(empty.Ack()) // a loop that acks whatever comes need not look
	r.send(queue, thump.Message{Body: everyByte(300_000)}, thump.Message{}, thump.Message{Body: []byte("3")})
	r.eventually(queue, 3)
	sizes := []int{300_000, 0, 1}
	for batch, err := range c.Batches(r.Context()) {
		r.noError(err)
		if len(batch.Deliveries) == 0 {
			break
		}
		d := &batch.Deliveries[0]
		if len(sizes) == 0 || len(d.Body) != sizes[0] || d.RoutingKey != queue || d.Redelivered {
			r.Fatalf("%d bytes from %q, redelivered %v; expected %v", len(d.Body), d.RoutingKey, d.Redelivered, sizes)
		}
		sizes = sizes[1:]
		r.noError(batch.Ack())
	}
	if len(sizes) > 0 {
		r.Errorf("bodies of %v bytes did not come", sizes)
	}
	if s := c.Stats(); s.Delivered != 3 || s.Settled != 3 || s.Unsettled != 0 || s.BodyBytes != 300_001 {
		r.Errorf("%+v", s)
	}
	r.noError(c.Close(r.Context()))
	if _, err := c.Receive(r.Context()); !errors.Is(err, thump.ErrClosed) {
		r.Errorf("after Close: %v", err)
	}
	r.eventually(queue, 0)
}

func testPollProperties(r *rig) {
	queue := r.queue()
	want := everyProperty()
	want.Headers = everyHeader()
	r.send(queue, thump.Message{Body: fmt.Append(nil, 1), Properties: &want})
	r.eventually(queue, 1)
	c := r.poller(queue)
	batch := r.poll(c, 1)[0]
	got, err := batch.Deliveries[0].Properties()
	r.noError(err)
	r.sameProperties(got, want)
	r.noError(batch.Ack())
	r.noError(c.Close(r.Context()))
}

// testPollSettleLater holds several messages, and settles them in another order, in every way.
func testPollSettleLater(r *rig) {
	queue := r.queue()
	r.send(queue, numbered(6)...)
	r.eventually(queue, 6)
	c := r.poller(queue)
	got := r.poll(c, 6)
	if r.ask(r.Context(), c) != nil {
		r.Error("a seventh message came")
	}
	r.noError(got[4].Ack())
	r.noError(got[1].Deliveries[0].Ack())
	r.noError(got[2].Reject())
	r.noError(got[3].Requeue())
	r.noError(got[5].Release())
	for _, batch := range got[1:] {
		if err := batch.Deliveries[0].Ack(); !errors.Is(err, thump.ErrSettled) {
			r.Errorf("settled again: %v", err)
		}
	}
	r.noError(c.Flush(r.Context()))
	r.eventually(queue, 2)
	again := map[string]bool{}
	for _, batch := range r.poll(c, 2) {
		d := &batch.Deliveries[0]
		if again[string(d.Body)] = true; !d.Redelivered {
			r.Errorf("message %s came again, and is not redelivered", d.Body)
		}
		r.noError(batch.Ack())
	}
	if !again["4"] || !again["6"] {
		r.Errorf("these came again: %v", again)
	}
	r.leave(c, 1) // the first goes back
	r.eventually(queue, 1)
	r.take(queue, 1)
}

func testPollReleaseAll(r *rig) {
	queue := r.queue()
	r.send(queue, numbered(5)...)
	r.eventually(queue, 5)
	c := r.poller(queue)
	got := r.poll(c, 4)
	r.noError(got[0].Ack())
	r.noError(c.ReleaseAll(r.Context()))
	r.noError(c.Flush(r.Context()))
	if err := got[1].Ack(); !errors.Is(err, thump.ErrSettled) {
		r.Errorf("settled after ReleaseAll: %v", err)
	}
	r.noError(c.Close(r.Context()))
	r.take(queue, 4)
}

// briefly is a context that ends somewhere between at once and a little later than an answer takes.
func briefly(parent context.Context, random *rand.Rand) (context.Context, context.CancelFunc) {
	return context.WithTimeout(parent, time.Duration(random.IntN(3000))*time.Microsecond)
}

// testPollCutShort asks with contexts that end at any moment: no message is lost, and none comes
// twice, nor redelivered.
func testPollCutShort(r *rig) {
	const n = 300
	queue := r.patientPlace()
	r.send(queue, numbered(n)...)
	r.eventually(queue, n)
	c := r.poller(queue)
	random := rand.New(rand.NewPCG(1, 2))
	got, late := map[string]bool{}, 0
	for len(got) < n {
		ctx, cancel := briefly(r.T.Context(), random)
		batch, err := c.Receive(ctx)
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			late++
			continue
		case err != nil:
			r.Fatal(err)
		case len(batch.Deliveries) == 0:
			r.Fatalf("the queue is empty after %d of %d messages", len(got), n)
		}
		d := &batch.Deliveries[0]
		if got[string(d.Body)] || d.Redelivered {
			r.Errorf("message %s came again, redelivered %v", d.Body, d.Redelivered)
		}
		got[string(d.Body)] = true
		r.noError(batch.Ack())
	}
	r.Logf("%d contexts ended before the answer", late)
	r.noError(c.Close(r.Context()))
	r.eventually(queue, 0)
}

// testPollSaysNow: that the queue was empty when an earlier Receive had asked, whose context ended,
// is no answer to a later one.
func testPollSaysNow(r *rig) {
	queue := r.queue()
	c := r.poller(queue)
	p := r.publisher(thump.PublisherConfig{To: r.to(queue)})
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 100 {
		ctx, cancel := briefly(r.T.Context(), random)
		_, err := c.Receive(ctx)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			r.Fatal(err)
		}
		r.noError(p.Send(r.Context(), thump.Message{Body: fmt.Append(nil, i)}))
		batch := r.ask(r.Context(), c)
		if batch == nil && r.engine.kind == thump.Quorum {
			batch = r.ask(r.Context(), c) // it may have it a moment after it has confirmed it
		}
		if batch == nil {
			r.Fatalf("message %d was confirmed, and the queue is empty", i)
		}
		r.noError(batch.Ack())
	}
	r.noError(p.Close(r.Context()))
	r.noError(c.Close(r.Context()))
}

// testPollStop stops while somebody asks: what comes for that goes back.
func testPollStop(r *rig) {
	const n = 20
	queue := r.patientPlace()
	r.send(queue, numbered(n)...)
	for i := range n {
		r.eventually(queue, n)
		c := r.poller(queue)
		done := make(chan error, 1)
		go func() {
			for {
				batch, err := c.Receive(r.Context())
				if err != nil {
					done <- err
					return
				}
				if err := batch.Release(); err != nil {
					done <- err
					return
				}
			}
		}()
		time.Sleep(time.Duration(i) * 200 * time.Microsecond)
		c.Stop()
		if err := <-done; !errors.Is(err, thump.ErrClosed) {
			r.Fatalf("receiving after Stop: %v", err)
		}
		r.noError(c.Flush(r.Context()))
		if _, err := c.Receive(r.Context()); !errors.Is(err, thump.ErrClosed) {
			r.Fatalf("receiving after Stop: %v", err)
		}
		<-c.Done()
		r.noError(c.Close(r.Context()))
	}
	r.eventually(queue, n)
	r.take(queue, n)
}

// testPollAutoAck: nothing can go back, so what was asked for before Stop is handed out.
func testPollAutoAck(r *rig) {
	const n = 300
	queue := r.queue()
	r.send(queue, numbered(n)...)
	r.eventually(queue, n)
	random := rand.New(rand.NewPCG(5, 6))
	got := map[string]int{}
	for begin := time.Now(); len(got) < n && time.Since(begin) < patience; {
		c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), Poll: true, AutoAck: true})
		time.AfterFunc(time.Duration(random.IntN(50))*time.Millisecond, c.Stop)
		for {
			ctx, cancel := briefly(r.Context(), random)
			batch, err := c.Receive(ctx)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				continue
			}
			if errors.Is(err, thump.ErrClosed) {
				break
			}
			r.noError(err)
			for i := range batch.Deliveries {
				got[string(batch.Deliveries[i].Body)]++
				if err := batch.Ack(); !errors.Is(err, thump.ErrAutoAck) {
					r.Errorf("acking: %v", err)
				}
			}
		}
		r.noError(c.Close(r.Context()))
	}
	for body, times := range got {
		if times > 1 {
			r.Errorf("message %s came %d times", body, times)
		}
	}
	if len(got) != n {
		r.Errorf("%d of %d messages came", len(got), n)
	}
}

// testPollStale loses its connection, with a message that is settled after that.
func testPollStale(r *rig) {
	queue := r.patientPlace()
	r.send(queue, numbered(2)...)
	r.eventually(queue, 2)
	client, network := r.dialAway(nil)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue), Poll: true})
	r.noError(err)
	first := r.poll(c, 1)[0]
	network.cut()
	lost := r.wait(network, thump.Disconnected)
	if lost.InFlight != 1 {
		r.Errorf("%d deliveries were unsettled at the loss", lost.InFlight)
	}
	if err := first.Ack(); !errors.Is(err, thump.ErrStale) {
		r.Errorf("acking on a lost connection: %v, expected ErrStale", err)
	}
	r.wait(network, thump.Recovered)
	r.eventually(queue, 2)
	again := map[string]bool{}
	for _, batch := range r.poll(c, 2) {
		again[string(batch.Deliveries[0].Body)] = batch.Deliveries[0].Redelivered
		r.noError(batch.Ack())
	}
	if !again[string(first.Deliveries[0].Body)] || len(again) != 2 {
		r.Errorf("after the connection was lost: %v; message %s was delivered before", again, first.Deliveries[0].Body)
	}
	if s := c.Stats(); s.Reconnects != 1 {
		r.Errorf("%+v", s)
	}
	r.noError(c.Close(r.Context()))
	r.eventually(queue, 0)
}

// testPollWhileAway asks while there is no connection: the context ends the wait, and the next
// Receive waits until it is there again.
func testPollWhileAway(r *rig) {
	queue := r.queue()
	r.send(queue, numbered(1)...)
	r.eventually(queue, 1)
	client, network := r.dialAway(nil)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue), Poll: true})
	r.noError(err)
	network.leave()
	r.wait(network, thump.Disconnected)
	_, err = c.Receive(r.within(200 * time.Millisecond))
	if !errors.Is(err, context.DeadlineExceeded) {
		r.Errorf("without a connection: %v", err)
	}
	r.says(err, "there has been no connection for", "the network is away")
	time.AfterFunc(200*time.Millisecond, network.comeBack)
	r.noError(r.poll(c, 1)[0].Ack())
	r.noError(c.Close(r.Context()))
}

func testPollRecoveryOff(r *rig) {
	queue := r.queue()
	r.send(queue, numbered(1)...)
	r.eventually(queue, 1)
	client, cut := r.dialCut()
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue), Poll: true})
	r.noError(err)
	batch := r.poll(c, 1)[0]
	cut.all()
	_, err = c.Receive(r.Context())
	r.says(err, queue, "1 delivery was not settled")
	if err := batch.Ack(); !errors.Is(err, thump.ErrStale) {
		r.Errorf("acking on a lost connection: %v, expected ErrStale", err)
	}
	r.noError(c.Close(r.Context()))
	r.take(queue, 1)
}

func testPollQueueIsGone(r *rig) {
	queue := r.queue()
	_, err := r.client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue + "-missing"), Poll: true})
	if !thump.IsNotFound(err) {
		r.Errorf("a queue that is not there: %v", err)
	}
	c := r.poller(queue)
	_, err = r.client.DeleteQueue(r.Context(), queue, thump.DeleteOptions{})
	r.noError(err)
	if _, err := c.Receive(r.Context()); !thump.IsNotFound(err) {
		r.Errorf("a queue that was deleted: %v", err)
	}
	r.noError(c.Close(r.Context()))
}

func testPollQueueIsWaitedFor(r *rig) {
	queue := r.queue()
	client, network := r.dialAway(nil)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue), Poll: true, WaitForQueue: true})
	r.noError(err)
	_, err = r.client.DeleteQueue(r.Context(), queue, thump.DeleteOptions{})
	r.noError(err)
	_, err = c.Receive(r.within(500 * time.Millisecond))
	if !errors.Is(err, context.DeadlineExceeded) {
		r.Errorf("while the queue is not there: %v", err)
	}
	r.wait(network, thump.Disconnected)
	_, err = r.client.DeclareQueue(r.Context(), thump.QueueSpec{Name: queue, Kind: r.engine.kind})
	r.noError(err)
	r.send(queue, numbered(1)...)
	r.eventually(queue, 1)
	r.noError(r.poll(c, 1)[0].Ack())
	r.noError(c.Close(r.Context()))
}

// testPollOwnQueue polls a queue that the consumer declares.
func testPollOwnQueue(r *rig) {
	client, network := r.dialAway(nil)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{Declare: &thump.QueueSpec{Exclusive: true}, Poll: true})
	r.noError(err)
	for range 2 {
		r.send(c.Queue(), numbered(1)...)
		batch := r.ask(r.Context(), c)
		if batch == nil {
			r.Fatal("the queue is empty")
		}
		r.noError(batch.Ack())
		if c.Stats().Reconnects == 0 {
			network.cut()
			r.wait(network, thump.Recovered)
		}
	}
	r.noError(c.Close(r.Context()))
}

// testPollRefused: what can't go with it is said before anything is asked of the broker.
func testPollRefused(r *rig) {
	for _, cfg := range []thump.ConsumerConfig{
		{MaxBatch: 2}, {Prefetch: 10}, {Exclusive: true}, {Tag: "mine"}, {Arguments: thump.NewTable("x-priority", 1)},
	} {
		cfg.From, cfg.Poll = thump.Queue("q"), true
		_, err := r.client.Consumer(r.Context(), cfg)
		r.says(err, "MaxBatch, Prefetch, Exclusive, Tag and Arguments are for consumers that the broker sends messages to, and Poll is set")
	}
	for _, from := range []thump.Target{thump.Stream("s"), thump.SuperStream("s")} {
		_, err := r.client.Consumer(r.Context(), thump.ConsumerConfig{From: from, Poll: true})
		r.says(err, "ConsumerConfig.Poll is for queues", from.String())
	}
}

// testPollStream polls a stream as if it were a queue. The broker ends the connection for that, which
// nobody else may notice.
func testPollStream(r *rig) {
	stream, queue := unique("stream"), r.queue()
	r.noError(r.client.DeclareStream(r.Context(), thump.StreamSpec{Name: stream}))
	r.Cleanup(func() {
		ctx, cancel := parting()
		defer cancel()
		if err := r.client.DeleteStream(ctx, stream); err != nil {
			r.Errorf("cleaning up: %v", err)
		}
	})
	other := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue)})
	c := r.poller(stream)
	_, err := c.Receive(r.Context())
	r.brokerError(err, 540)
	r.says(err, stream, "basic.get", "stream queues")
	r.noError(c.Close(r.Context()))
	r.send(queue, numbered(1)...)
	r.receive(other, 1, (*thump.Batch).Ack)
	if s := other.Stats(); s.Reconnects != 0 {
		r.Errorf("another consumer: %+v", s)
	}
	r.noError(other.Close(r.Context()))
}

// testPollSingleActive: a quorum queue with a single active consumer is not to be polled, and that
// stays so; a classic queue is.
func testPollSingleActive(r *rig) {
	queue := r.queue(thump.Field{Key: "x-single-active-consumer", Value: true})
	r.send(queue, numbered(1)...)
	r.eventually(queue, 1)
	c := r.poller(queue)
	if r.engine.kind == thump.Classic {
		r.noError(r.poll(c, 1)[0].Ack())
	} else {
		_, err := c.Receive(r.Context())
		r.brokerError(err, 405)
		r.says(err, "single active consumer")
	}
	r.noError(c.Close(r.Context()))
}

// Random programs of consumers that poll: several ask with contexts that end at any moment, hold what they
// got, ack it, requeue it and release it, in any order, while their connections are cut.
// Afterwards
//
//   - every message was acked;
//   - what is in the queue then was delivered before: its ack was lost with its connection;
//   - each came at most once without being redelivered;
//   - nothing was stale before a connection was lost.
//
// To run one longer: go test ./internal/conformance -run TestPolls -polls 10m

var (
	pollsFor  = flag.Duration("polls", 0, "how long TestPolls runs on each broker and target kind; 0: one program each")
	pollsSeed = flag.Uint64("poll", 0, "the one program that TestPolls runs; 0: new ones")
)

func TestPolls(t *testing.T) {
	eachSeed(t, *pollsFor, *pollsSeed, func(r *rig, seed uint64) {
		if r.engine.can&gets != 0 {
			newPolls(r, seed).run()
		}
	})
}

// polls is one random program. Message number n has the body "n".
type polls struct {
	*rig
	seed   uint64
	random *rand.Rand
	queue  string

	mu                        sync.Mutex
	first                     []int  // times that it came without being redelivered, by number
	acked                     []bool // by number
	left                      int    // messages that are not acked
	asked, empty, late, stale int
}

func newPolls(r *rig, seed uint64) *polls {
	p := &polls{rig: r, seed: seed, random: rand.New(rand.NewPCG(seed, 20)), queue: r.patientPlace()}
	p.left = 200 + p.random.IntN(600)
	p.first, p.acked = make([]int, p.left+1), make([]bool, p.left+1)
	return p
}

func (p *polls) run() {
	p.Logf("seed %d", p.seed)
	if p.engine.kind == thump.Quorum {
		time.Sleep(2 * time.Second) // until it is so old that it keeps what it has confirmed
	}
	breaker := newBreaker()
	cfg := p.config()
	cfg.DialContext, cfg.Heartbeat = breaker.DialContext, time.Second
	client := p.dial(cfg)
	var publishing, polling sync.WaitGroup
	publishing.Go(func() { p.publish(len(p.acked) - 1) })
	cut := p.random.IntN(3) > 0
	for i := range 1 + p.random.IntN(3) {
		polling.Go(func() { p.poll(client, rand.New(rand.NewPCG(p.seed, uint64(21+i))), cut) })
	}
	for cut && p.waits() {
		time.Sleep(time.Duration(50+p.random.IntN(400)) * time.Millisecond)
		breaker.fault(p.random)
	}
	publishing.Wait()
	polling.Wait()
	p.drain()
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, times := range p.first {
		if times > 1 || n > 0 && !p.acked[n] {
			p.Errorf("seed %d: message %d came %d times without being redelivered; acked: %v", p.seed, n, times, p.acked[n])
		}
	}
	if p.stale > 0 && !cut {
		p.Errorf("seed %d: %d were stale, and no connection was lost", p.seed, p.stale)
	}
	p.Logf("seed %d: %d messages; asked %d times, of which %d found the queue empty and %d were late; %d stale; faults %v",
		p.seed, len(p.acked)-1, p.asked, p.empty, p.late, p.stale, breaker.faults)
	if p.Failed() {
		p.Logf("to run it again: go test ./internal/conformance -run 'TestPolls/rabbitmq-%s/%s' -poll %d", p.broker.Name, p.engine.name, p.seed)
	}
}

func (p *polls) publish(n int) {
	pub, random := p.publisher(thump.PublisherConfig{To: p.to(p.queue)}), rand.New(rand.NewPCG(p.seed, 30))
	for first := 1; first <= n; {
		some := min(1+random.IntN(50), n-first+1)
		p.rig.publish(pub, numberedFrom(first, some)...)
		first += some
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
	}
	p.noError(pub.Close(p.Context()))
}

// drain looks at what is in the queue in the end.
func (p *polls) drain() {
	c := p.poller(p.queue)
	for batch := p.ask(p.Context(), c); batch != nil; batch = p.ask(p.Context(), c) {
		if d := &batch.Deliveries[0]; !d.Redelivered {
			p.Errorf("seed %d: message %s was never delivered", p.seed, d.Body)
		}
		p.noError(batch.Ack())
	}
	p.noError(c.Close(p.Context()))
}

// waits reports whether some message is not acked.
func (p *polls) waits() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.left > 0
}

// poll takes messages until all are acked, with one consumer after the other.
func (p *polls) poll(client *thump.Client, random *rand.Rand, cut bool) {
	for begin := time.Now(); p.waits(); {
		if time.Since(begin) > patience {
			p.Errorf("seed %d: %d messages did not come", p.seed, p.left)
			return
		}
		c, err := client.Consumer(p.Context(), thump.ConsumerConfig{From: p.to(p.queue), Poll: true})
		if err != nil && cut { // its first connection is not tried again
			continue
		}
		p.noError(err)
		var held []*thump.Batch
		for range 20 + random.IntN(200) {
			if batch := p.get(c, random); batch != nil {
				held = append(held, batch)
			}
			for len(held) > 0 && random.IntN(3) > 0 {
				i := random.IntN(len(held))
				p.settle(held[i], random.IntN(4))
				held = append(held[:i], held[i+1:]...)
			}
		}
		if random.IntN(2) == 0 {
			for _, batch := range held {
				p.settle(batch, 0)
			}
			held = nil
		}
		ctx, cancel := context.WithTimeout(p.Context(), 3*time.Second)
		if len(held) > 0 {
			_ = c.ReleaseAll(ctx) // the connection may be lost
		}
		if err := c.Close(ctx); err != nil && !cut {
			p.Errorf("seed %d: closing: %v", p.seed, err)
		}
		cancel()
	}
}

// get asks once, for as long as it takes or not; nil where nothing came.
func (p *polls) get(c *thump.Consumer, random *rand.Rand) *thump.Batch {
	ctx, cancel := context.WithTimeout(p.Context(), 20*time.Second)
	if random.IntN(3) == 0 {
		cancel()
		ctx, cancel = briefly(p.Context(), random)
	}
	defer cancel()
	batch, err := c.Receive(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		p.late++
		return nil
	case err != nil:
		p.Errorf("seed %d: receiving: %v", p.seed, err)
		return nil
	case len(batch.Deliveries) == 0:
		p.empty++
		return nil
	}
	if d := &batch.Deliveries[0]; !d.Redelivered {
		p.first[p.number(d)]++
	}
	return batch
}

func (p *polls) number(d *thump.Delivery) int {
	n, err := strconv.Atoi(string(d.Body))
	if err != nil || n < 1 || n >= len(p.acked) {
		p.Errorf("seed %d: a body of %.40q", p.seed, d.Body)
		return 0
	}
	return n
}

// settle acks half of the time.
func (p *polls) settle(batch *thump.Batch, how int) {
	var err error
	switch how {
	case 0:
		err = batch.Ack()
	case 1:
		err = batch.Deliveries[0].Ack()
	case 2:
		err = batch.Requeue()
	default:
		err = batch.Release()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case errors.Is(err, thump.ErrStale):
		p.stale++
	case err != nil:
		p.Errorf("seed %d: settling: %v", p.seed, err)
	case how < 2:
		if n := p.number(&batch.Deliveries[0]); !p.acked[n] {
			p.acked[n] = true
			p.left--
		}
	}
}
