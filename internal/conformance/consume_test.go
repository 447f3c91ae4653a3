package conformance

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
)

// How consuming behaves: prefetch, sharing, and how a consumer ends.
func consumeCases() []conformanceCase {
	return []conformanceCase{
		{"consume/prefetch", settles, testPrefetch},
		{"consume/two-share-a-queue", settles, testTwoConsumers},
		{"consume/exclusive", exclusive, testExclusive},
		{"consume/auto-ack", settles, testAutoAck},
		{"consume/context", 0, testReceiveContext},
		{"consume/break-and-go-on", 0, testBreakAndGoOn},
		{"consume/close-ends-a-running-loop", settles, testCloseEndsLoop},
		{"consume/unsettled-come-back", settles, testUnsettledComeBack},
		{"consume/after-close", 0, testConsumerAfterClose},
		{"consume/missing", 0, testConsumeMissing},
		{"consume/queue-deleted", deletes, testQueueDeletedUnderConsumer},
		{"consume/connection-lost", settles, testConsumerConnectionLost},
		{"get", gets, testGet},
		{"get/context-ends", gets, testGetCutShort},
		{"get/settled-by-the-caller", gets, testGetUnacked},
		{"get/properties", gets | tables, testGetProperties},
	}
}

// testPrefetch counts what comes while nothing is settled.
func testPrefetch(r *rig) {
	const prefetch = 7
	queue := r.queue()
	r.send(queue, numbered(50)...)
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), Prefetch: prefetch, MaxBatch: 100})
	first := r.receive(c, prefetch, nil)
	r.nothingComes(c)
	r.eventually(queue, 50-prefetch)
	r.noError(first[3].Ack())
	second := r.receive(c, 1, nil)
	r.inOrder(second, prefetch+1)
	r.nothingComes(c)
	for i := range first {
		if i != 3 {
			r.noError(first[i].Ack())
		}
	}
	third := r.receive(c, prefetch-1, nil)
	r.inOrder(third, prefetch+2)
	r.nothingComes(c)
	r.leave(c, prefetch)
	r.eventually(queue, 50-prefetch)
}

func testTwoConsumers(r *rig) {
	const n = 3000
	queue := r.queue()
	var mu sync.Mutex
	seen := make(map[string]int)
	var total, busy atomic.Int64
	whole := r.Context()
	ctx, cancel := context.WithCancel(whole)
	defer cancel()
	var group sync.WaitGroup
	for range 2 {
		c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), Prefetch: 20})
		group.Go(func() {
			mine := 0
			for batch, err := range c.Batches(ctx) {
				if err != nil {
					if !errors.Is(err, context.Canceled) {
						r.Error(err)
					}
					break
				}
				mu.Lock()
				for _, d := range batch.Deliveries {
					seen[string(d.Body)]++
				}
				mu.Unlock()
				mine += len(batch.Deliveries)
				if err := batch.Ack(); err != nil {
					r.Error(err)
				}
				if total.Add(int64(len(batch.Deliveries))) >= n {
					cancel()
				}
			}
			if mine > 0 {
				busy.Add(1)
			}
			if err := c.Close(whole); err != nil {
				r.Error(err)
			}
		})
	}
	r.send(queue, numbered(n)...)
	group.Wait()
	if len(seen) != n || total.Load() != n || busy.Load() != 2 {
		r.Errorf("%d different messages in %d deliveries to %d consumers, expected %d to both", len(seen), total.Load(), busy.Load(), n)
	}
	r.eventually(queue, 0)
}

func testExclusive(r *rig) {
	queue := r.queue()
	alone := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), Exclusive: true})
	for _, wish := range []bool{true, false} {
		_, err := r.client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue), Exclusive: wish})
		r.brokerError(err, 403)
		r.says(err, queue, "ACCESS_REFUSED")
	}
	r.send(queue, numbered(1)...)
	r.receive(alone, 1, (*thump.Batch).Ack)
	r.noError(alone.Close(r.Context()))
	shared := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue)})
	_, err := r.client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue), Exclusive: true})
	r.brokerError(err, 403)
	r.noError(shared.Close(r.Context()))
}

func testAutoAck(r *rig) {
	const n = 5000
	queue := r.queue()
	r.send(queue, numbered(n)...)
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), AutoAck: true})
	r.inOrder(r.receive(c, n, func(b *thump.Batch) error {
		for _, settle := range []func() error{b.Ack, b.Reject, b.Requeue, b.Release, b.Deliveries[0].Ack, b.Deliveries[0].Reject, b.Deliveries[0].Requeue, b.Deliveries[0].Release} {
			if err := settle(); !errors.Is(err, thump.ErrAutoAck) {
				r.Errorf("settling: %v, expected ErrAutoAck", err)
			}
		}
		return nil
	}), 1)
	r.noError(c.Close(r.Context()))
	r.eventually(queue, 0)
}

// testReceiveContext gives up waiting, which is not the end of the consumer.
func testReceiveContext(r *rig) {
	place := r.place()
	c := r.consumer(thump.ConsumerConfig{From: r.to(place)})
	r.nothingComes(c)
	for _, err := range c.Batches(r.within(50 * time.Millisecond)) {
		if !errors.Is(err, context.DeadlineExceeded) {
			r.Errorf("Batches yields %v, expected the end of its context", err)
		}
	}
	if c.Err() != nil {
		r.Errorf("the consumer has ended: %v", c.Err())
	}
	r.send(place, numbered(10)...)
	r.inOrder(r.receive(c, 10, (*thump.Batch).Ack), 1)
	r.noError(c.Close(r.Context()))
}

func testBreakAndGoOn(r *rig) {
	const n = 100
	place := r.place()
	r.send(place, numbered(n)...)
	c := r.consumer(thump.ConsumerConfig{From: r.to(place), MaxBatch: 10})
	next := 1
	for next <= n {
		for batch, err := range c.Batches(r.Context()) {
			r.noError(err)
			r.inOrder(batch.Deliveries, next)
			next += len(batch.Deliveries)
			r.noError(batch.Ack())
			break
		}
	}
	r.noError(c.Close(r.Context()))
	r.consumed(place, n)
}

// testCloseEndsLoop closes a consumer whose loop is busy: the loop ends by
// itself, and every message was either handled or is in the queue, in its place.
func testCloseEndsLoop(r *rig) {
	const n = 5000
	queue := r.queue()
	r.send(queue, numbered(n)...)
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), Prefetch: 1000, MaxBatch: 50})
	handled := make(chan int, 1)
	begun := make(chan struct{})
	ctx := r.Context()
	go func() {
		count := 0
		for batch, err := range c.Batches(ctx) {
			if err != nil {
				r.Errorf("the loop ended with %v", err)
				break
			}
			if count == 0 {
				close(begun)
			}
			count += len(batch.Deliveries)
			time.Sleep(2 * time.Millisecond)
			if err := batch.Ack(); err != nil {
				r.Error(err)
			}
		}
		handled <- count
	}()
	<-begun
	r.noError(c.Close(ctx))
	var count int
	select {
	case count = <-handled:
	case <-time.After(time.Second):
		r.Fatal("Close has returned and the loop goes on")
	}
	if count == 0 || count >= n {
		r.Errorf("%d of %d handled, expected some", count, n)
	}
	left := r.take(queue, n-count)
	if r.engine.kind == thump.Quorum { // it gives them back in another order
		slices.SortFunc(left, func(a, b thump.Delivery) int {
			return cmp.Or(cmp.Compare(len(a.Body), len(b.Body)), bytes.Compare(a.Body, b.Body))
		})
	}
	r.inOrder(left, count+1)
}

func testUnsettledComeBack(r *rig) {
	queue := r.queue()
	r.send(queue, numbered(10)...)
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue)})
	got := r.receive(c, 10, nil)
	for _, i := range []int{0, 4, 9} {
		r.noError(got[i].Ack())
	}
	r.leave(c, 7)
	again := r.take(queue, 7)
	for i, want := range []string{"2", "3", "4", "6", "7", "8", "9"} {
		if string(again[i].Body) != want || !again[i].Redelivered {
			r.Errorf("got message %s, redelivered %v, expected %s, redelivered", again[i].Body, again[i].Redelivered, want)
		}
	}
}

func testConsumerAfterClose(r *rig) {
	place := r.place()
	r.send(place, numbered(1)...)
	c := r.consumer(thump.ConsumerConfig{From: r.to(place)})
	got := r.receive(c, 1, nil)
	select {
	case <-c.Done():
		r.Errorf("Done is closed: %v", c.Err())
	default:
	}
	for range 2 {
		if r.engine.can&settles != 0 {
			r.left(c, 1)
		} else {
			r.noError(c.Close(r.Context()))
		}
	}
	<-c.Done()
	if !errors.Is(c.Err(), thump.ErrClosed) {
		r.Errorf("Err after Close is %v, expected ErrClosed", c.Err())
	}
	if _, err := c.Receive(r.Context()); !errors.Is(err, thump.ErrClosed) {
		r.Errorf("Receive after Close: %v, expected ErrClosed", err)
	}
	for _, err := range c.Batches(r.Context()) {
		r.Errorf("Batches yields after Close (%v)", err)
	}
	if err := got[0].Ack(); r.engine.can&settles != 0 && (!errors.Is(err, thump.ErrClosed) || !errors.Is(err, thump.ErrStale)) {
		r.Errorf("Ack after Close: %v, expected ErrStale and ErrClosed", err)
	}
	r.take(place, 1)
}

func testConsumeMissing(r *rig) {
	missing := unique("missing")
	_, err := r.client.Consumer(r.Context(), thump.ConsumerConfig{From: r.to(missing)})
	r.notFound(err, missing)
}

// notFound expects err to say that the place is not there.
func (r *rig) notFound(err error, place string) {
	r.Helper()
	code := uint16(404)
	if r.engine.streams() {
		code = 2 // of the stream protocol
	}
	r.brokerError(err, code)
	r.says(err, strings.Trim(strconv.Quote(place), `"`))
	if !thump.IsNotFound(err) {
		r.Errorf("IsNotFound is false for %v", err)
	}
}

func testQueueDeletedUnderConsumer(r *rig) {
	queue := r.queue()
	r.send(queue, numbered(3)...)
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue)})
	got := r.receive(c, 3, nil)
	if _, err := r.client.DeleteQueue(r.Context(), queue, thump.DeleteOptions{}); err != nil {
		r.Error(err)
	}
	for range 2 { // and stays so
		_, err := c.Receive(r.Context())
		r.brokerError(err, 404) // it has looked for the queue again
		r.says(err, "cancelled", queue, "3 deliveries")
	}
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		r.Error("Done is open after the consumer has ended")
	}
	r.brokerError(c.Err(), 404)
	for _, settle := range []func() error{got[0].Ack, got[1].Reject, got[2].Requeue, got[2].Release} {
		if err := settle(); !errors.Is(err, thump.ErrStale) {
			r.Errorf("settling after the broker cancelled: %v, expected ErrStale", err)
		}
	}
	r.noError(c.Close(r.Context()))
}

func testConsumerConnectionLost(r *rig) {
	queue := r.queue()
	r.send(queue, numbered(20)...)
	client, cut := r.dialCut()
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Queue(queue)})
	r.noError(err)
	got := r.receive(c, 20, nil)
	cut.all()
	_, err = c.Receive(r.Context())
	r.says(err, queue, "20 deliveries")
	<-c.Done()
	if c.Err() == nil {
		r.Error("Err is nil after Done")
	}
	if err := got[0].Ack(); !errors.Is(err, thump.ErrStale) {
		r.Errorf("acking on a lost connection: %v, expected ErrStale", err)
	}
	if err := c.Close(r.Context()); err != nil {
		r.Errorf("Close of a consumer that has ended and said so: %v", err)
	}
	for _, d := range r.take(queue, 20) {
		if !d.Redelivered {
			r.Errorf("message %s was delivered before, and is not redelivered", d.Body)
		}
	}
}

func testGet(r *rig) {
	queue := r.queue()
	if _, ok, err := r.client.Get(r.Context(), queue); ok || err != nil {
		r.Errorf("from an empty queue: %v, %v", ok, err)
	}
	r.send(queue, thump.Message{Body: everyByte(300_000)}, thump.Message{}, thump.Message{Body: []byte("3")})
	for i, size := range []int{300_000, 0, 1} {
		d, ok, err := r.client.Get(r.Context(), queue)
		if !ok || err != nil || len(d.Body) != size || d.RoutingKey != queue || d.Redelivered {
			r.Errorf("message %d: %d bytes from %q, redelivered %v, ok %v, error %v", i, len(d.Body), d.RoutingKey, d.Redelivered, ok, err)
		}
		if err := d.Ack(); !errors.Is(err, thump.ErrSettled) {
			r.Errorf("acking what Get took: %v, expected ErrSettled", err)
		}
	}
	if _, ok, err := r.client.Get(r.Context(), queue); ok || err != nil {
		r.Errorf("from an empty queue: %v, %v", ok, err)
	}
	_, _, err := r.client.Get(r.Context(), queue+"-missing")
	r.brokerError(err, 404)
}

func testGetProperties(r *rig) {
	queue := r.queue()
	want := everyProperty()
	want.Headers = everyHeader()
	r.send(queue, thump.Message{Body: fmt.Append(nil, 1), Properties: &want})
	d, ok, err := r.client.Get(r.Context(), queue)
	if !ok || err != nil {
		r.Fatal(ok, err)
	}
	got, err := d.Properties()
	r.noError(err)
	r.sameProperties(got, want)
}

// testGetCutShort gets with contexts that end at any moment: a message was handed
// out, or it is in the queue.
func testGetCutShort(r *rig) {
	const n, gets = 1000, 500
	var arguments thump.Table
	if r.engine.kind == thump.Quorum && r.atLeast("4.0") { // gets that were cut short count as deliveries
		arguments = thump.Table{{Key: "x-delivery-limit", Value: -1}}
	}
	queue := r.queue(arguments...)
	r.send(queue, numbered(n)...)
	r.eventually(queue, n)
	start := time.Now()
	d, ok, err := r.client.Get(r.Context(), queue)
	if !ok || err != nil {
		r.Fatal(ok, err)
	}
	took := time.Since(start)
	got := map[string]bool{string(d.Body): true}
	for i := range gets {
		ctx, cancel := context.WithTimeout(r.T.Context(), took*time.Duration(i)/(gets/2))
		d, ok, err := r.client.Get(ctx, queue)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			r.Fatal(err)
		}
		if !ok {
			continue
		}
		if got[string(d.Body)] {
			r.Errorf("message %s was handed out twice", d.Body)
		}
		got[string(d.Body)] = true
	}
	r.Logf("%d of %d gets were in time", len(got), gets)
	r.eventually(queue, n-len(got))
	for _, d := range r.take(queue, n-len(got)) {
		if got[string(d.Body)] {
			r.Errorf("message %s was handed out, and is in the queue", d.Body)
		}
	}
}

// testGetUnacked settles what it got in every way, or not at all.
func testGetUnacked(r *rig) {
	queue := r.queue()
	r.send(queue, numbered(4)...)
	r.eventually(queue, 4)
	get := func(client *thump.Client) thump.Delivery {
		d, ok, err := client.GetUnacked(r.Context(), queue)
		r.noError(err)
		if !ok {
			r.Fatal("the queue is empty")
		}
		return d
	}
	first, second, third := get(r.client), get(r.client), get(r.client)
	r.noError(first.Ack())
	r.noError(second.Reject())
	r.noError(third.Requeue())
	for _, d := range []*thump.Delivery{&first, &second, &third} {
		if err := d.Ack(); !errors.Is(err, thump.ErrSettled) {
			r.Errorf("settled again: %v", err)
		}
	}
	r.eventually(queue, 2)
	// What is not settled goes back when the client is closed.
	client := r.dial(urls(r.broker.URL))
	fourth := get(client)
	r.noError(client.Close(r.Context()))
	if err := fourth.Ack(); !errors.Is(err, thump.ErrClosed) {
		r.Errorf("settled after the client was closed: %v", err)
	}
	r.eventually(queue, 2)
	r.take(queue, 2)
	if _, ok, err := r.client.GetUnacked(r.Context(), queue); ok || err != nil {
		r.Errorf("from an empty queue: %v, %v", ok, err)
	}
}
