package conformance

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/broker"
	"github.com/thumpmq/thump/internal/brokertest"
)

// How publishers and consumers of streams end, and what is known then.
func streamEndCases() []conformanceCase {
	return []conformanceCase{
		{"end/stream-deleted-while-publishing", offsets, testStreamDeletedWhile},
		{"end/stream-deleted-between", offsets, testStreamDeletedBetween},
		{"end/stream-deleted-under-a-consumer", offsets, testStreamDeletedUnder},
		{"end/consumer-connection-lost", offsets, testStreamConsumerLost},
		{"end/client-close", offsets, testStreamClientClose},
		{"end/client-close-super", partitions, testStreamClientClose},
	}
}

// flood publishes what next makes, n messages from a number on, until Publish
// fails, and returns that error.
func flood(ctx context.Context, p *thump.Publisher, next func(first, n int) []thump.Message) <-chan error {
	ended := make(chan error, 1)
	go func() {
		const piece = 100
		for first := 1; ; first += piece {
			if _, err := p.Publish(ctx, next(first, piece)...); err != nil {
				ended <- err
				return
			}
		}
	}()
	return ended
}

// eachOnce expects one outcome for each message that was published, and as many
// of each kind as Counts says. A message is rejected by the broker's word alone,
// which has a code.
func (l *ledger) eachOnce(r *rig, got thump.Counts) {
	r.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var counted thump.Counts
	for ref := uint64(1); ref <= got.Published; ref++ {
		if len(l.outcomes[ref]) != 1 {
			r.Fatalf("message %d has the outcomes %v", ref, l.outcomes[ref])
		}
		switch o := l.outcomes[ref][0]; o.Status {
		case thump.Confirmed:
			counted.Confirmed++
		case thump.Rejected:
			counted.Rejected++
			if o.Code == 0 {
				r.Errorf("message %d was rejected, and not by the broker: %+v", ref, o)
			}
		case thump.Returned:
			counted.Returned++
		case thump.Unknown:
			counted.Unknown++
		case thump.NotSent:
			r.Errorf("message %d was accepted, and is %+v", ref, o)
		}
	}
	counted.Published = got.Published
	if counted != got || len(l.outcomes) != int(got.Published) {
		r.Errorf("%d outcomes, counted %+v, Counts says %+v", len(l.outcomes), counted, got)
	}
}

// deletedWhile has a stream deleted while p publishes to it, or to a super
// stream of which it is a part: p looks for it, ends, and says what is unknown.
func (r *rig) deletedWhile(p *thump.Publisher, l *ledger, next func(first, n int) []thump.Message, stream string, remove func() error) {
	r.Helper()
	ended := flood(r.Context(), p, next)
	for p.Counts().Confirmed < 1000 {
		time.Sleep(time.Millisecond)
	}
	r.noError(remove())
	err := <-ended
	r.notSent(err)
	r.streamError(err, 2)
	r.says(err, stream, "does not exist", "not available")
	<-p.Done()
	r.streamError(p.Err(), 2)
	err = p.Close(r.Context())
	r.streamError(err, 2)
	e, got := r.outcomeError(err), p.Counts()
	if got.InFlight != 0 || got.Confirmed < 1000 || e.Unknown > got.Unknown {
		r.Errorf("got %+v and %+v", got, e)
	}
	l.eachOnce(r, got)
	if n, err := p.Publish(r.Context(), thump.Message{}); n != 0 || err == nil {
		r.Errorf("a publisher that has ended accepted a message: %v", err)
	}
}

func testStreamDeletedWhile(r *rig) {
	for _, way := range []thump.StreamPublishing{{}, {SubEntry: 500}} {
		stream := r.stream(thump.StreamSpec{})
		l := newLedger()
		p := r.publisher(thump.PublisherConfig{To: thump.Stream(stream), Stream: way, OnOutcomes: l.note})
		r.deletedWhile(p, l, numberedFrom, stream, func() error { return r.client.DeleteStream(r.Context(), stream) })
		// The client makes another as soon as there is a stream again.
		r.noError(r.client.DeclareStream(r.Context(), thump.StreamSpec{Name: stream}))
		r.send(stream, numbered(10)...)
		r.take(stream, 10)
	}
}

// testStreamDeletedBetween deletes the stream when all is confirmed: nothing is
// unknown.
func testStreamDeletedBetween(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Stream(stream), OnOutcomes: l.note})
	r.publish(p, numbered(100)...)
	r.flush(p)
	r.noError(r.client.DeleteStream(r.Context(), stream))
	<-p.Done()
	n, err := p.Publish(r.Context(), thump.Message{})
	if n != 0 {
		r.Error("a publisher that has ended accepted a message")
	}
	r.notSent(err)
	r.streamError(err, 2)
	r.says(err, stream)
	err = p.Flush(r.Context())
	r.streamError(err, 2)
	r.says(err, stream, "no message in flight")
	r.streamError(p.Close(r.Context()), 2)
	l.check(r, 100, always(thump.Confirmed))
}

func testStreamDeletedUnder(r *rig) {
	for _, name := range []string{"", "reader"} {
		stream, c, b := r.tens(3, neverStore(name))
		r.noError(r.client.DeleteStream(r.Context(), stream))
		for range 2 { // and stays so
			_, err := c.Receive(r.Context())
			r.brokerError(err, 2) // it has looked whether it can come back
			r.says(err, stream, "not available")
			if name != "" {
				r.says(err, "30 deliveries")
			}
		}
		select {
		case <-c.Done():
		case <-time.After(5 * time.Second):
			r.Error("Done is open after the consumer has ended")
		}
		r.brokerError(c.Err(), 2)
		if err := b[0].Ack(); name != "" && !errors.Is(err, thump.ErrStale) || name == "" && err != nil {
			r.Errorf("acking after the stream is gone, as %q: %v", name, err)
		}
		start := time.Now()
		_ = c.Close(r.Context()) // may say that nothing could be stored
		if took := time.Since(start); took > 10*time.Second {
			r.Errorf("closing took %v", took)
		}
	}
}

func testStreamConsumerLost(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 10, 10)
	client, cut := r.dialCut()
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Stream(stream), Stream: neverStore("reader")})
	r.noError(err)
	got := r.receive(c, 20, nil)
	for i := range 11 {
		r.noError(got[i].Ack())
	}
	cut.all()
	_, err = c.Receive(r.Context())
	r.says(err, stream, "9 deliveries")
	<-c.Done()
	if c.Err() == nil {
		r.Error("Err is nil after Done")
	}
	r.says(c.StoreOffset(r.Context()), "reader", stream)
	if err := c.Close(r.Context()); err != nil {
		r.Errorf("Close of a consumer that has ended and said so: %v", err)
	}
	r.notStored(stream, "reader")
	// The client dials anew for what comes next.
	c, err = client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Stream(stream), Stream: neverStore("reader")})
	r.noError(err)
	r.inOrder(r.receive(c, 20, (*thump.Batch).Release), 1)
	r.noError(c.Close(r.Context()))
}

func testStreamClientClose(r *rig) {
	place := r.place()
	client := r.dial(r.config())
	ctx := r.Context()
	var publishers []*thump.Publisher
	var consumers []*thump.Consumer
	for range 3 {
		p, err := client.Publisher(ctx, thump.PublisherConfig{To: r.to(place)})
		r.noError(err)
		c, err := client.Consumer(ctx, thump.ConsumerConfig{From: r.to(place)})
		r.noError(err)
		publishers, consumers = append(publishers, p), append(consumers, c)
		r.publish(p, keyed(100)...)
	}
	r.noError(client.Close(ctx))
	for i := range publishers {
		<-publishers[i].Done()
		<-consumers[i].Done()
		if got := publishers[i].Counts(); got.Confirmed != 100 { // it was flushed
			r.Errorf("publisher %d: %+v, expected 100 confirmed", i, got)
		}
		if !errors.Is(publishers[i].Err(), thump.ErrClosed) || !errors.Is(consumers[i].Err(), thump.ErrClosed) {
			r.Errorf("publisher and consumer ended with %v and %v, expected ErrClosed", publishers[i].Err(), consumers[i].Err())
		}
		if _, err := consumers[i].Receive(ctx); !errors.Is(err, thump.ErrClosed) {
			r.Errorf("Receive after Close: %v, expected ErrClosed", err)
		}
	}
	_, publisher := client.Publisher(ctx, thump.PublisherConfig{To: r.to(place)})
	_, consumer := client.Consumer(ctx, thump.ConsumerConfig{From: r.to(place)})
	_, topology := client.InspectStream(ctx, place)
	for what, err := range map[string]error{"Publisher": publisher, "Consumer": consumer, "InspectStream": topology} {
		if !errors.Is(err, thump.ErrClosed) {
			r.Errorf("%s after Close: %v, expected ErrClosed", what, err)
		}
	}
	r.noError(client.Close(ctx))
	r.take(place, 300)
}

// eachPrivate runs test against a node of each version that nobody else uses.
func eachPrivate(t *testing.T, o broker.Options, test func(r *rig, node *broker.Node)) {
	brokertest.Each(t, func(t *testing.T, b brokertest.Broker) {
		t.Parallel()
		node := b.Private(t, o)
		b.URL, b.StreamURL, b.ManagementURL = node.URL, node.StreamURL, node.ManagementURL
		test(newRig(t, b, streamEngine()), node)
	})
}

// streamEngine is the one called stream.
func streamEngine() engine {
	list := engines()
	return list[slices.IndexFunc(list, func(e engine) bool { return e.name == "stream" })]
}

// TestStreamBrokerKilled kills the broker with many messages in flight. Each has
// one outcome; and what was confirmed is there when the broker is back.
func TestStreamBrokerKilled(t *testing.T) {
	t.Parallel()
	eachPrivate(t, broker.Options{}, func(r *rig, node *broker.Node) {
		const inFlight = 100_000
		stream := unique("stream")
		r.noError(r.client.DeclareStream(r.Context(), thump.StreamSpec{Name: stream}))
		// Killed right after its first stream was made, a broker forgets to look
		// after streams: it saves the list of its Raft servers a little later.
		time.Sleep(2 * time.Second)
		cfg := r.config()
		cfg.Recovery.Off = true
		r.client = r.dial(cfg)
		c := r.from(stream, thump.FromFirst())
		l := newLedger()
		p := r.publisher(thump.PublisherConfig{
			To: thump.Stream(stream), Window: 1 << 20, OnOutcomes: l.note, Stream: thump.StreamPublishing{SubEntry: 500},
		})
		ended := flood(r.Context(), p, numberedFrom)
		for p.Counts().Confirmed < inFlight {
			time.Sleep(time.Millisecond)
		}
		// A broker that has stopped confirms nothing, but for what is on its way,
		// while more is published.
		r.noError(exec.Command("kill", "-STOP", strconv.Itoa(node.PID)).Run())
		var before thump.Counts
		for start := time.Now(); before.InFlight < inFlight || before.Confirmed != p.Counts().Confirmed; time.Sleep(200 * time.Millisecond) {
			if before = p.Counts(); time.Since(start) > patience {
				r.Fatalf("got %+v, expected %d in flight", before, inFlight)
			}
		}
		r.noError(node.Kill())
		r.notSent(<-ended)
		<-p.Done()
		e, got := r.outcomeError(p.Close(r.Context())), p.Counts()
		r.says(e, stream, fmt.Sprint(e.Unknown, " unknown"))
		if got.Unknown < inFlight || got.Confirmed < inFlight || got.Rejected != 0 || e.Unknown != got.Unknown || got.Confirmed+got.Unknown != got.Published {
			r.Errorf("got %+v and %+v, expected everything to be confirmed or unknown", got, e)
		}
		l.eachOnce(r, got)
		received := r.untilLost(c)
		r.broker.Restart(r.T, node, broker.Options{})
		r.survived(stream, l, got, received)
	})
}

// untilLost receives from a consumer until its connection is lost, and expects
// messages in order; it returns how many.
func (r *rig) untilLost(c *thump.Consumer) (n int) {
	r.Helper()
	for {
		batch, err := c.Receive(r.Context())
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				r.Fatal("the consumer has not noticed that the broker is gone")
			}
			r.noError(c.Close(r.Context()))
			return n
		}
		r.inOrder(batch.Deliveries, n+1)
		n += len(batch.Deliveries)
	}
}

// survived reads what a stream has after its broker was killed: the messages in
// order, none twice, all that were confirmed, and all that a consumer had.
func (r *rig) survived(stream string, l *ledger, got thump.Counts, received int) {
	r.Helper()
	client := r.dial(r.config())
	cfg := thump.ConsumerConfig{From: thump.Stream(stream)}
	if r.atLeast("3.11") {
		cfg.Stream.Until = time.Now()
	}
	var c *thump.Consumer
	for start := time.Now(); c == nil; time.Sleep(50 * time.Millisecond) { // until it has a leader again
		var err error
		if c, err = client.Consumer(r.Context(), cfg); err != nil && time.Since(start) > patience/2 {
			r.Fatal(err)
		}
	}
	there := 0
	for there < int(got.Confirmed) || r.atLeast("3.11") {
		batch, err := c.Receive(r.Context())
		if errors.Is(err, thump.ErrEnd) {
			break
		}
		r.noError(err)
		r.inOrder(batch.Deliveries, there+1)
		there += len(batch.Deliveries)
	}
	if there < received {
		r.Errorf("%d messages were received before the broker was killed, %d are there", received, there)
	}
	for ref := there + 1; ref <= int(got.Published); ref++ {
		if l.outcomes[uint64(ref)][0].Status == thump.Confirmed {
			r.Fatalf("message %d was confirmed, and only %d are there", ref, there)
		}
	}
}

// TestDiskAlarm has the broker block those who publish to streams, as it does
// when its disk is full: publishing waits, and all is confirmed in the end.
func TestDiskAlarm(t *testing.T) {
	t.Parallel()
	eachPrivate(t, broker.Options{}, func(r *rig, node *broker.Node) {
		eval := func(expression string) {
			r.Helper()
			if output, err := node.Ctl(r.Context(), "eval", expression); err != nil {
				r.Fatalf("rabbitmqctl eval %s: %v: %s", expression, err, output)
			}
		}
		stream := r.stream(thump.StreamSpec{})
		l := newLedger()
		p := r.publisher(thump.PublisherConfig{To: thump.Stream(stream), Window: 1000, OnOutcomes: l.note})
		r.publish(p, numbered(10)...)
		r.flush(p)
		// As the monitor of the disk does, which finds no df in every tree.
		eval("rabbit_alarm:set_alarm({{resource_limit, disk, node()}, []}).")
		ended := make(chan error, 1)
		ctx := r.Context()
		go func() {
			_, err := p.Publish(ctx, numberedFrom(11, 10_000)...)
			ended <- err
		}()
		for start := time.Now(); p.Counts().InFlight < 1000; time.Sleep(time.Millisecond) {
			if time.Since(start) > patience {
				r.Fatalf("got %+v, expected messages to wait for the alarm to end", p.Counts())
			}
		}
		// Consuming goes on, and there are no new publishers.
		r.inOrder([]thump.Delivery{r.firstFrom(stream, thump.FromFirst())}, 1)
		_, err := r.client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Stream(stream)})
		r.brokerError(err, 17)
		time.Sleep(time.Second)
		if got := p.Counts(); got.InFlight < 800 || got.Bad() != 0 || p.Blocked() != "" {
			r.Errorf("got %+v, blocked by %q, expected messages to wait for the alarm to end", got, p.Blocked())
		}
		eval("rabbit_alarm:clear_alarm({resource_limit, disk, node()}).")
		r.noError(<-ended)
		r.noError(p.Close(r.Context()))
		l.check(r, 10_010, always(thump.Confirmed))
		r.take(stream, 10_010)
	})
}
