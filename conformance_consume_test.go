package thump_test

import (
	"context"
	"errors"
	"fmt"
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
		{"consume/close-drains-a-running-loop", settles, testCloseDrains},
		{"consume/unsettled-come-back", settles, testUnsettledComeBack},
		{"consume/after-close", 0, testConsumerAfterClose},
		{"consume/missing", 0, testConsumeMissing},
		{"consume/queue-deleted", deletes, testQueueDeletedUnderConsumer},
		{"consume/connection-lost", settles, testConsumerConnectionLost},
		{"get", gets, testGet},
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
	r.noError(c.Close(r.Context()))
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
		for _, settle := range []func() error{b.Ack, b.Nack, b.Requeue, b.Deliveries[0].Ack, b.Deliveries[0].Nack, b.Deliveries[0].Requeue} {
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

// testCloseDrains closes a consumer whose loop is busy: the loop ends by
// itself, and every message was either handled or is in the queue.
func testCloseDrains(r *rig) {
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
	r.inOrder(left, count+1)
	for i := range left {
		if left[i].Redelivered && r.engine.kind == thump.Quorum {
			r.Errorf("message %s is redelivered, and nobody had it", left[i].Body)
			break
		}
	}
}

func testUnsettledComeBack(r *rig) {
	queue := r.queue()
	r.send(queue, numbered(10)...)
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue)})
	got := r.receive(c, 10, nil)
	for _, i := range []int{0, 4, 9} {
		r.noError(got[i].Ack())
	}
	r.noError(c.Close(r.Context()))
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
	r.noError(c.Close(r.Context()))
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
	if err := got[0].Ack(); r.engine.can&settles != 0 && !errors.Is(err, thump.ErrClosed) {
		r.Errorf("Ack after Close: %v, expected ErrClosed", err)
	}
	r.noError(c.Close(r.Context()))
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
		r.brokerError(err, 0)
		r.says(err, "cancelled", queue, "3 deliveries")
	}
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		r.Error("Done is open after the consumer has ended")
	}
	r.brokerError(c.Err(), 0)
	_ = got[0].Ack() // means nothing any more, and must do no harm
	_ = c.Close(r.Context())
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
	if err := got[0].Ack(); err == nil {
		r.Error("acked on a lost connection")
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
	r.send(queue, thump.Message{Body: fmt.Append(nil, 1), Properties: want})
	d, ok, err := r.client.Get(r.Context(), queue)
	if !ok || err != nil {
		r.Fatal(ok, err)
	}
	got, err := d.Properties()
	r.noError(err)
	r.sameProperties(got, want)
}
