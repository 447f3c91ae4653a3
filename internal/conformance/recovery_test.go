package conformance

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thumpmq/thump"
)

// away is a network that can be taken away: what is there is cut, and nothing is dialled.
type away struct {
	*breaker
	gone    atomic.Bool
	refused atomic.Int64
	events  chan thump.Event
}

// dialAway makes a client on such a network.
func (r *rig) dialAway(change func(*thump.Config)) (*thump.Client, *away) {
	r.Helper()
	a := &away{breaker: newBreaker(), events: make(chan thump.Event, 1000)}
	cfg := r.config()
	cfg.DialContext = a.DialContext
	cfg.OnEvent = func(e thump.Event) { a.events <- e }
	if change != nil {
		change(&cfg)
	}
	return r.dial(cfg), a
}

func (a *away) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if a.gone.Load() {
		a.refused.Add(1)
		return nil, errors.New("the network is away")
	}
	return a.breaker.DialContext(ctx, network, address)
}

// leave takes the network away, and comeBack brings it back.
func (a *away) leave()    { a.gone.Store(true); a.cut() }
func (a *away) comeBack() { a.gone.Store(false) }

// dialled is how many connections there are.
func (a *away) dialled() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.conns)
}

// wait waits for an event of that kind.
func (r *rig) wait(a *away, kind thump.EventKind) thump.Event {
	r.Helper()
	for {
		select {
		case e := <-a.events:
			if e.Kind == kind {
				return e
			}
		case <-r.Context().Done():
			r.Fatalf("no event %q", kind)
		}
	}
}

func recoveryCases() []conformanceCase {
	return []conformanceCase{
		{"recovery/exclusive-queue", exclusive, testExclusiveQueue},
		{"recovery/publisher-declares-again", routes, testPublisherDeclaresAgain},
		{"recovery/consumer-declares-again", routes, testConsumerDeclaresAgain},
		{"recovery/single-active-consumer", settles, testSingleActiveHandsOver},
		{"recovery/queue-is-gone", deletes | settles, testQueueIsGone},
		{"recovery/queue-is-emptied", deletes | settles, testQueueIsEmptied},
		{"recovery/queue-is-waited-for", deletes | settles, testQueueIsWaitedFor},
		{"recovery/resend-never", settles, testResendNever},
		{"recovery/sent-twice", 0, testSentTwice},
		{"recovery/full-window", 0, testFullWindow},
		{"recovery/close-while-away", 0, testCloseWhileAway},
		{"recovery/give-up", 0, testGiveUp},
		{"recovery/no-confirms", trusts, testNoConfirmsComesBack},
		{"recovery/shared-connections", settles, testSharedConnections},
		{"recovery/stats", 0, testStats},
		{"recovery/stale", settles, testStaleAfterwards},
		{"recovery/stop-while-away", 0, testStopWhileAway},
	}
}

// testExclusiveQueue consumes from a queue that goes with its connection, and gets another
// one, with its binding, when it comes back.
func testExclusiveQueue(r *rig) {
	exchange := r.exchange(thump.ExchangeSpec{Name: unique("exchange"), Kind: "fanout"})
	client, network := r.dialAway(nil)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{
		Declare: &thump.QueueSpec{Exclusive: true}, Bind: []thump.Binding{{Source: exchange}},
	})
	r.noError(err)
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, "")})
	first := c.Queue()
	r.noError(p.Send(r.Context(), numbered(3)...))
	r.receive(c, 3, (*thump.Batch).Ack)
	network.cut()
	r.wait(network, thump.Recovered)
	if c.Queue() == first || first == "" {
		r.Errorf("the queue was %q, and is %q", first, c.Queue())
	}
	r.untilGone(first)
	r.noError(p.Send(r.Context(), numbered(3)...))
	r.receive(c, 3, (*thump.Batch).Ack)
	r.noError(c.Close(r.Context()))
	if _, err := r.client.InspectQueue(r.Context(), c.Queue()); !thump.IsNotFound(err) {
		r.Errorf("the queue after Close: %v", err)
	}
}

// untilGone waits until the broker has deleted a queue that was exclusive to a connection which
// was lost. Until then the queue has its bindings, and what it is given is nacked once it goes.
func (r *rig) untilGone(queue string) {
	for {
		_, err := r.client.InspectQueue(r.Context(), queue)
		if thump.IsNotFound(err) {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-r.Context().Done():
			r.Fatalf("%s is still there: %v", queue, err)
		}
	}
}

// testPublisherDeclaresAgain deletes the queue of a publisher that is away. It is there again,
// with its binding, when the publisher has come back, before what it sends then.
func testPublisherDeclaresAgain(r *rig) {
	exchange := r.exchange(thump.ExchangeSpec{Kind: "fanout"})
	queue := thump.QueueSpec{Name: r.queue(), Kind: r.engine.kind}
	client, network := r.dialAway(nil)
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{
		To: thump.Exchange(exchange, ""), Declare: &queue, Bind: []thump.Binding{{Source: exchange}},
	})
	r.noError(err)
	r.noError(p.Send(r.Context(), numbered(2)...))
	network.leave()
	r.wait(network, thump.Disconnected)
	_, err = r.client.DeleteQueue(r.Context(), queue.Name, thump.DeleteOptions{})
	r.noError(err)
	r.publish(p, numbered(5)...)
	network.comeBack()
	r.flush(p) // what no queue takes is Returned
	r.noError(p.Send(r.Context(), numberedFrom(6, 5)...))
	r.noError(p.Close(r.Context()))
	r.inOrder(r.take(queue.Name, 10), 1)
}

// testConsumerDeclaresAgain deletes the queue of a consumer that is away, and of one that is
// not. Each time it is there again, with its binding, when the consumer has come back.
func testConsumerDeclaresAgain(r *rig) {
	exchange := r.exchange(thump.ExchangeSpec{Kind: "fanout"})
	queue := thump.QueueSpec{Name: r.queue(), Kind: r.engine.kind}
	client, network := r.dialAway(nil)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{Declare: &queue, Bind: []thump.Binding{{Source: exchange}}})
	r.noError(err)
	p := r.publisher(thump.PublisherConfig{To: thump.Exchange(exchange, "")})
	for _, away := range []bool{true, false} {
		r.noError(p.Send(r.Context(), numbered(3)...))
		r.receive(c, 3, (*thump.Batch).Ack)
		if away {
			network.leave()
			r.wait(network, thump.Disconnected)
		}
		_, err = r.client.DeleteQueue(r.Context(), queue.Name, thump.DeleteOptions{})
		r.noError(err)
		network.comeBack()
		r.wait(network, thump.Recovered)
	}
	r.noError(p.Send(r.Context(), numbered(3)...))
	r.inOrder(r.receive(c, 3, (*thump.Batch).Ack), 1)
	r.noError(c.Close(r.Context()))
}

// testSingleActiveHandsOver cuts the connection of a queue's single active consumer: the one
// that waits becomes active and gets what was not settled, and the first one waits until that
// closes.
func testSingleActiveHandsOver(r *rig) {
	queue := r.queue(thump.Field{Key: "x-single-active-consumer", Value: true})
	client, network := r.dialAway(nil)
	first, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue)})
	r.noError(err)
	second := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue)})
	r.send(queue, numbered(4)...)
	var held *thump.Batch
	r.receive(first, 4, func(b *thump.Batch) error { held = b; return nil })
	r.nothingComes(second)
	network.cut() // when it is back, the second one has waited longer
	got := r.receive(second, 4, (*thump.Batch).Ack)
	r.inOrder(got, 1)
	for i := range got {
		if !got[i].Redelivered {
			r.Errorf("message %s came to the second one, and not as redelivered", got[i].Body)
		}
	}
	if err := held.Ack(); !errors.Is(err, thump.ErrStale) {
		r.Errorf("acking what has been delivered to another one: %v", err)
	}
	r.wait(network, thump.Recovered)
	r.send(queue, numberedFrom(5, 4)...)
	r.inOrder(r.receive(second, 4, (*thump.Batch).Ack), 5)
	r.nothingComes(first)
	r.noError(second.Flush(r.Context()))
	r.noError(second.Close(r.Context()))
	r.send(queue, numberedFrom(9, 4)...)
	r.inOrder(r.receive(first, 4, (*thump.Batch).Ack), 9)
	r.noError(first.Close(r.Context()))
}

func testQueueIsGone(r *rig) {
	queue := r.queue()
	client, network := r.dialAway(nil)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue)})
	r.noError(err)
	_, err = r.client.DeleteQueue(r.Context(), queue, thump.DeleteOptions{})
	r.noError(err)
	if _, err := c.Receive(r.Context()); !thump.IsNotFound(err) || thump.Temporary(err) {
		r.Errorf("receiving from a queue that was deleted: %v", err)
	}
	r.wait(network, thump.GaveUp)
}

// testQueueIsEmptied: a queue that comes back without what was not settled is told of, and
// one that has it is not.
func testQueueIsEmptied(r *rig) {
	queue := r.queue()
	r.send(queue, numbered(5)...)
	client, network := r.dialAway(nil)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue)})
	r.noError(err)
	for _, deleted := range []bool{false, true} {
		r.receive(c, 5, func(*thump.Batch) error { return nil })
		network.leave()
		r.wait(network, thump.Disconnected)
		if deleted {
			_, err = r.client.DeleteQueue(r.Context(), queue, thump.DeleteOptions{})
			r.noError(err)
			_, err = r.client.DeclareQueue(r.Context(), thump.QueueSpec{Name: queue, Kind: r.engine.kind})
			r.noError(err)
		}
		network.comeBack()
		e := <-network.events
		if deleted {
			if e.Kind != thump.Emptied || e.InFlight != 5 {
				r.Errorf("of a queue without what it had it is told: %+v", e)
			}
			e = r.wait(network, thump.Recovered)
		}
		if e.Kind != thump.Recovered {
			r.Errorf("it is told %+v", e)
		}
	}
	r.send(queue, numbered(3)...)
	r.receive(c, 3, (*thump.Batch).Ack)
	r.noError(c.Close(r.Context()))
}

func testQueueIsWaitedFor(r *rig) {
	queue := r.queue()
	client, network := r.dialAway(nil)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue), WaitForQueue: true})
	r.noError(err)
	_, err = r.client.DeleteQueue(r.Context(), queue, thump.DeleteOptions{})
	r.noError(err)
	r.wait(network, thump.Disconnected)
	time.Sleep(300 * time.Millisecond)
	_, err = r.client.DeclareQueue(r.Context(), thump.QueueSpec{Name: queue, Kind: r.engine.kind})
	r.noError(err)
	r.send(queue, numbered(5)...)
	r.receive(c, 5, (*thump.Batch).Ack)
	r.noError(c.Close(r.Context()))
}

// testResendNever: what is in flight at the loss is Unknown; what is published in the
// outage was on no connection, and arrives.
func testResendNever(r *rig) {
	place := r.place()
	client, network := r.dialAway(nil)
	var mu sync.Mutex
	outcomes := map[uint64]thump.Outcome{}
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place), Resend: thump.ResendNever, OnOutcomes: func(list []thump.Outcome) {
		mu.Lock()
		defer mu.Unlock()
		for _, o := range list {
			outcomes[o.Ref] = o
		}
	}})
	r.noError(err)
	network.silence()
	r.publish(p, thump.Message{Ref: 1, Body: []byte("1")}, thump.Message{Ref: 2, Body: []byte("2")})
	network.leave()
	lost := r.wait(network, thump.Disconnected)
	r.publish(p, thump.Message{Ref: 3, Body: []byte("3")})
	network.comeBack()
	err = p.Flush(r.Context())
	if e := r.outcomeError(err); e.Unknown != 2 || lost.InFlight != 2 {
		r.Errorf("%d unknown, %d in flight at the loss: %v", e.Unknown, lost.InFlight, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if outcomes[1].Status != thump.Unknown || outcomes[2].Status != thump.Unknown || outcomes[3].Status != thump.Confirmed || outcomes[3].Resent {
		r.Errorf("outcomes: %+v", outcomes)
	}
}

// testSentTwice loses a connection together with the confirm that the broker has sent over it.
// The message is sent again, its outcome says so, and it is there twice; not in a stream that
// knows the publisher by its name.
func testSentTwice(r *rig) {
	names := []string{""}
	if r.engine.can&offsets != 0 {
		names = append(names, "publisher")
	}
	for _, name := range names {
		place := r.place()
		client, network := r.dialAway(nil)
		var outcomes []thump.Outcome
		p, err := client.Publisher(r.Context(), thump.PublisherConfig{
			To: r.to(place), Stream: thump.StreamPublishing{Name: name},
			OnOutcomes: func(list []thump.Outcome) { outcomes = append(outcomes, list...) },
		})
		r.noError(err)
		network.cutWhenAnswered()
		r.publish(p, numbered(1)...)
		recovered := r.wait(network, thump.Recovered)
		r.noError(p.Close(r.Context()))
		<-p.Done()
		copies := 2
		if name != "" {
			copies = 1
		}
		if len(outcomes) != 1 || outcomes[0].Status != thump.Confirmed || outcomes[0].Resent != (copies == 2) || copies == 2 && recovered.Resent != 1 {
			r.Errorf("name %q: outcomes %+v, sent again: %d", name, outcomes, recovered.Resent)
		}
		for _, d := range r.take(place, copies) {
			if string(d.Body) != "1" || d.Redelivered {
				r.Errorf("name %q: message %q came, redelivered: %t", name, d.Body, d.Redelivered)
			}
		}
	}
}

// testFullWindow publishes while there is no connection: the window takes it, and then the
// context ends the wait, with an error that says why.
func testFullWindow(r *rig) {
	const window = 50
	place := r.place()
	client, network := r.dialAway(nil)
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place), Window: window})
	r.noError(err)
	network.leave()
	r.wait(network, thump.Disconnected)
	n, err := p.Publish(r.within(500*time.Millisecond), numbered(2*window)...)
	if n != window || !errors.Is(err, context.DeadlineExceeded) {
		r.Errorf("%d accepted: %v", n, err)
	}
	r.says(err, "there has been no connection for", "the network is away")
	err = p.Flush(r.within(100 * time.Millisecond))
	r.says(err, "there has been no connection for")
	network.comeBack()
	r.noError(p.Close(r.Context()))
	r.published(place, window)
}

// testCloseWhileAway: Close waits for the connection until its context ends, and then
// says what is not known.
func testCloseWhileAway(r *rig) {
	place := r.place()
	client, network := r.dialAway(nil)
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place)})
	r.noError(err)
	network.leave()
	r.wait(network, thump.Disconnected)
	r.publish(p, numbered(10)...)
	start := time.Now()
	err = p.Close(r.within(300 * time.Millisecond))
	if e := r.outcomeError(err); e.Unknown != 10 || time.Since(start) > 5*time.Second {
		r.Errorf("after %v: %+v", time.Since(start), e)
	}
	r.says(err, "there has been no connection for")
	network.comeBack()
}

// testGiveUp: a broker that never comes back ends it at the limit, with every message
// accounted for.
func testGiveUp(r *rig) {
	place := r.place()
	client, network := r.dialAway(func(cfg *thump.Config) { cfg.Recovery.GiveUp = 2 * time.Second })
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place)})
	r.noError(err)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: r.to(place)})
	r.noError(err)
	start := time.Now()
	network.leave()
	r.wait(network, thump.Disconnected)
	r.publish(p, numbered(10)...)
	e := r.outcomeError(p.Flush(r.Context()))
	if took := time.Since(start); e.Unknown != 10 || took < 1900*time.Millisecond || took > 20*time.Second {
		r.Errorf("after %v: %v", took, e)
	}
	r.says(e, "given up after 2s", "the network is away")
	_, err = c.Receive(r.Context())
	r.says(err, "given up after 2s")
	<-p.Done()
	<-c.Done()
	if network.refused.Load() < 3 {
		r.Errorf("it was tried %d times", network.refused.Load())
	}
}

// testNoConfirmsComesBack: without confirms, what is not known to have been read is Unknown.
func testNoConfirmsComesBack(r *rig) {
	place := r.place()
	client, network := r.dialAway(nil)
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place), NoConfirms: true})
	r.noError(err)
	r.publish(p, numbered(10)...)
	r.noError(p.Flush(r.Context()))
	r.publish(p, numbered(5)...)
	network.leave()
	r.wait(network, thump.Disconnected)
	if _, err := p.Publish(r.within(100*time.Millisecond), numbered(1)...); !errors.Is(err, thump.ErrNotSent) {
		r.Errorf("publishing while it is away: %v", err)
	}
	network.comeBack()
	r.publish(p, numbered(7)...)
	e := r.outcomeError(p.Close(r.Context()))
	if n := p.Counts(); n.Published != 22 || n.Sent != 17 || n.Unknown != 5 || n.InFlight != 0 || e.Unknown != 5 {
		r.Errorf("%+v, %v", n, e)
	}
}

// testSharedConnections: many publishers and consumers have few connections. One that does
// not take what has come holds up none of the others.
func testSharedConnections(r *rig) {
	const n, most = 12, 2
	client, network := r.dialAway(func(cfg *thump.Config) { cfg.MaxConnections = most })
	slow, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: r.to(r.place())})
	r.noError(err)
	big := make([]byte, 100<<10)
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Queue(slow.Queue())})
	r.noError(err)
	for range 200 { // 20 MB, and nobody takes it
		r.publish(p, thump.Message{Body: big})
	}
	r.flush(p)
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			place := r.place()
			p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place)})
			r.noError(err)
			c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: r.to(place)})
			r.noError(err)
			for range 3 {
				r.noError(p.Send(r.Context(), numbered(20)...))
				r.receive(c, 20, (*thump.Batch).Ack)
			}
			r.noError(p.Close(r.Context()))
			r.noError(c.Close(r.Context()))
		})
	}
	all.Wait()
	if got := network.dialled(); got > 2*most+1 {
		r.Errorf("%d connections, with at most %d for publishers and consumers each", got, most)
	}
	slow.Stop()
	r.noError(slow.Close(r.Context()))
	r.noError(p.Close(r.Context()))
	if got := network.dialled(); got > 1 {
		r.Errorf("%d connections after all are closed, expected that for topology alone", got)
	}
}

// testStaleAfterwards: what was handed out before the loss can't be settled after it, and
// comes again.
func testStaleAfterwards(r *rig) {
	place := r.place()
	r.send(place, numbered(10)...)
	client, network := r.dialAway(nil)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: r.to(place), MaxBatch: 5})
	r.noError(err)
	batch, err := c.Receive(r.Context())
	r.noError(err)
	network.cut()
	r.wait(network, thump.Recovered)
	if err := batch.Ack(); !errors.Is(err, thump.ErrStale) {
		r.Errorf("acking what came on a lost connection: %v", err)
	}
	r.receive(c, 10, (*thump.Batch).Ack)
	r.noError(c.Close(r.Context()))
}

// testStopWhileAway: Stop and Close end at once what has no connection.
func testStopWhileAway(r *rig) {
	client, network := r.dialAway(nil)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: r.to(r.place())})
	r.noError(err)
	network.leave()
	r.wait(network, thump.Disconnected)
	start := time.Now()
	c.Stop()
	if _, err := c.Receive(r.Context()); !errors.Is(err, thump.ErrClosed) {
		r.Errorf("Receive after Stop: %v", err)
	}
	_ = c.Close(r.Context()) // it may say that the connection is lost
	<-c.Done()
	if took := time.Since(start); took > 5*time.Second {
		r.Errorf("it took %v", took)
	}
	network.comeBack()
}

// silence lets every connection go silent.
func (a *away) silence() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		c.mu.Lock()
		c.silent = true
		c.mu.Unlock()
	}
}

// cutWhenAnswered lets every connection be cut as soon as the broker says something, which is lost.
func (a *away) cutWhenAnswered() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.conns {
		c.after(-1, 0)
	}
}

// testStats compares what a publisher and a consumer count with what was done.
func testStats(r *rig) {
	const n = 50
	place := r.place()
	client, network := r.dialAway(nil)
	p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: r.to(place)})
	r.noError(err)
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: r.to(place), MaxBatch: 10})
	r.noError(err)
	r.noError(p.Send(r.Context(), numbered(n)...))
	bytes := 0
	for _, d := range r.receive(c, n, (*thump.Batch).Ack) {
		bytes += len(d.Body)
	}
	got := c.Stats()
	if want := (thump.ConsumerStats{Delivered: n, Settled: n, BodyBytes: uint64(bytes)}); got != want {
		r.Errorf("consumer: %+v, want %+v", got, want)
	}
	network.cut()
	r.wait(network, thump.Recovered)
	r.wait(network, thump.Recovered)
	r.noError(p.Send(r.Context(), numbered(n)...))
	batch, err := c.Receive(r.Context())
	r.noError(err)
	s := p.Stats()
	if s.Published != 2*n || s.Confirmed != 2*n || s.BodyBytes != uint64(2*bytes) || s.Reconnects < 1 {
		r.Errorf("publisher: %+v", s)
	}
	got = c.Stats()
	if got.Delivered < n+uint64(len(batch.Deliveries)) || got.Settled != n || got.Reconnects < 1 || r.engine.can&settles != 0 && got.Unsettled != uint64(len(batch.Deliveries)) {
		r.Errorf("consumer: %+v with a batch of %d", got, len(batch.Deliveries))
	}
}

// TestOperatorCloses lets an operator close every connection of a user, again and again, as
// from the management page: publisher and consumer come back each time.
func TestOperatorCloses(t *testing.T) {
	eachRig(t, func(r *rig) {
		name, queue := unique("user"), r.queue()
		events := make(chan thump.Event, 1000)
		client := r.dial(thump.Config{URLs: []string{r.user(name, "secret", ".*")}, OnEvent: func(e thump.Event) { events <- e }})
		p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Queue(queue)})
		r.noError(err)
		c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue)})
		r.noError(err)
		for range 3 {
			r.noError(p.Send(r.Context(), numbered(20)...))
			r.receive(c, 20, (*thump.Batch).Ack)
			r.noError(c.Flush(r.Context()))
			// The management plugin lists a new connection only after a moment.
			for recovered := 0; recovered < 2; {
				r.manage("DELETE", "connections/username/"+name, nil)
				select {
				case e := <-events:
					if e.Kind == thump.Recovered {
						recovered++
					}
				case <-time.After(200 * time.Millisecond):
				}
			}
		}
		r.noError(p.Close(r.Context()))
		_ = c.Close(r.Context()) // the last of the closing may have met it just now
	})
}

// TestLoginRefusedForAWhile has another password set than Config.Credentials gives, and its
// connections cut. Publisher and consumer come back once the password is the old one: the broker's
// refusal is not for good where the next secret may be another.
func TestLoginRefusedForAWhile(t *testing.T) {
	eachRig(t, func(r *rig) {
		name, queue := unique("user"), thump.Queue(r.queue())
		var asked atomic.Int32
		client, network := r.dialAway(func(cfg *thump.Config) {
			cfg.URLs = []string{r.user(name, "secret", ".*")}
			cfg.Credentials = func(context.Context) (string, string, time.Time, error) {
				asked.Add(1)
				return name, "secret", time.Time{}, nil
			}
		})
		p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: queue})
		r.noError(err)
		c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: queue})
		r.noError(err)
		r.noError(p.Send(r.Context(), numbered(10)...))
		r.receive(c, 10, (*thump.Batch).Ack)
		r.noError(c.Flush(r.Context()))

		r.password(name, "another")
		network.cut()
		r.publish(p, numberedFrom(11, 10)...)
		for refused := asked.Load() + 4; asked.Load() < refused; {
			time.Sleep(10 * time.Millisecond)
		}
		if counts := p.Counts(); counts.InFlight != 10 {
			r.Errorf("counts %+v while the broker refuses the login", counts)
		}
		r.password(name, "secret")
		r.inOrder(r.receive(c, 10, (*thump.Batch).Ack), 11)
		r.noError(p.Close(r.Context()))
		r.noError(c.Close(r.Context()))
	})
}

// TestPermissionTaken takes the permissions of a user who consumes. The consumer lives on, and
// ends with the broker's refusal once it has lost its connection.
func TestPermissionTaken(t *testing.T) {
	eachRig(t, func(r *rig) {
		queue, stream := thump.Queue(r.queue()), thump.Stream(r.stream(thump.StreamSpec{}))
		for _, test := range []struct {
			from thump.Target
			code uint16
		}{{queue, 403}, {stream, 16}} {
			name := unique("user")
			client, network := r.dialAway(func(cfg *thump.Config) {
				cfg.URLs = []string{r.user(name, "secret", ".*"), r.streamAs(name, "secret")}
			})
			cfg := thump.ConsumerConfig{From: test.from}
			if test.from == stream {
				cfg.Stream.Name = "consumer" // so that it has something to flush
			}
			c, err := client.Consumer(r.Context(), cfg)
			r.noError(err)
			r.manage("PUT", "permissions/%2F/"+name, map[string]string{"configure": "", "write": "", "read": ""})
			p := r.publisher(thump.PublisherConfig{To: test.from})
			r.noError(p.Send(r.Context(), numbered(3)...))
			r.noError(p.Close(r.Context()))
			r.receive(c, 3, (*thump.Batch).Ack)
			network.cut()
			why := r.wait(network, thump.GaveUp).Err
			r.brokerError(why, test.code)
			if thump.Temporary(why) {
				r.Errorf("it has given up, and its error is one that may pass: %v", why)
			}
			_, err = c.Receive(r.Context())
			r.brokerError(err, test.code)
			<-c.Done()
			if err := c.Flush(r.Context()); err == nil || thump.Temporary(err) {
				r.Errorf("Flush afterwards: %v", err)
			}
		}
	})
}
