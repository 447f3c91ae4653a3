package conformance

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/thumpmq/thump"
)

// Settling: ack, reject, requeue, release, of batches and of single deliveries.
func settleCases() []conformanceCase {
	return []conformanceCase{
		{"settle/batches-out-of-order", settles, testSettleOutOfOrder},
		{"settle/single-deliveries", settles, testSettleSingle},
		{"settle/mixed", settles | routes, testSettleMixed},
		{"settle/reject-dead-letters", settles | routes, testDeadLetter},
		{"settle/requeue", settles, testRequeue},
		{"settle/twice", settles, testSettleTwice},
	}
}

// batches makes a queue, fills it with 10*n numbered messages, and takes them as
// n batches of 10, none of them settled.
func (r *rig) batches(n int, arguments ...thump.Field) (string, *thump.Consumer, []*thump.Batch) {
	r.Helper()
	// A batch is what has arrived. Where the first ones are not full the consumer
	// was too quick: the next try, with another queue, gives the broker more time.
	for pause := 10 * time.Millisecond; pause < 10*time.Second; pause *= 2 {
		queue := r.queue(arguments...)
		r.send(queue, numbered(10*n)...)
		c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue), Prefetch: 10 * n, MaxBatch: 10})
		r.eventually(queue, 0)
		time.Sleep(pause)
		if list := r.fullBatches(c, n); list != nil {
			return queue, c, list
		}
		_ = c.Close(r.within(time.Millisecond)) // what it has goes back
	}
	r.Fatal("no full batch comes")
	return "", nil, nil
}

// fullBatches takes n batches; nil if one of them is not full.
func (r *rig) fullBatches(c *thump.Consumer, n int) []*thump.Batch {
	r.Helper()
	var list []*thump.Batch
	for range n {
		batch, err := c.Receive(r.Context())
		r.noError(err)
		if len(batch.Deliveries) != 10 {
			return nil
		}
		batch.Deliveries = slices.Clone(batch.Deliveries) // the bodies are not looked at again
		list = append(list, batch)
	}
	return list
}

// testSettleOutOfOrder settles the newest batch first: the ack of one must not
// settle those before it.
func testSettleOutOfOrder(r *rig) {
	queue, c, b := r.batches(5)
	r.noError(b[3].Ack())
	r.noError(b[1].Ack())
	r.noError(b[4].Ack())
	r.leave(c, 20)
	left := r.take(queue, 20)
	r.inOrder(left[:10], 1)
	r.inOrder(left[10:], 21)

	queue, c, b = r.batches(5)
	for _, i := range []int{2, 0, 1, 4, 3} {
		r.noError(b[i].Ack())
	}
	r.noError(c.Close(r.Context()))
	r.take(queue, 0)
}

// testSettleSingle settles deliveries one by one in an order of their own,
// across batches.
func testSettleSingle(r *rig) {
	queue, c, b := r.batches(3)
	for i := range 30 {
		at := i * 7 % 30
		if at == 11 || at == 28 {
			continue
		}
		r.noError(b[at/10].Deliveries[at%10].Ack())
	}
	r.leave(c, 2)
	left := r.take(queue, 2)
	r.inOrder(left[:1], 12)
	r.inOrder(left[1:], 29)
}

// testSettleMixed settles some of a batch singly and then the rest at once.
func testSettleMixed(r *rig) {
	dead := r.queue()
	queue, c, b := r.batches(3, thump.Field{Key: "x-dead-letter-exchange", Value: ""}, thump.Field{Key: "x-dead-letter-routing-key", Value: dead})
	r.noError(b[0].Deliveries[9].Reject()) // the last of its batch, then the rest
	r.noError(b[0].Ack())
	r.noError(b[1].Deliveries[0].Reject()) // the first
	r.noError(b[1].Deliveries[5].Ack())
	r.noError(b[1].Ack())
	r.noError(b[2].Deliveries[4].Ack())
	r.noError(b[2].Reject())
	r.noError(c.Close(r.Context()))
	r.take(queue, 0)
	var got []string
	for _, d := range r.take(dead, 11) {
		got = append(got, string(d.Body))
	}
	slices.Sort(got)
	if want := "10 11 21 22 23 24 26 27 28 29 30"; strings.Join(got, " ") != want {
		r.Errorf("got %v dead-lettered, expected %s", got, want)
	}
}

func testDeadLetter(r *rig) {
	dead, exchange := r.queue(), r.exchange(thump.ExchangeSpec{Kind: "fanout"})
	r.bind(thump.Binding{Source: exchange, Queue: dead})
	queue, c, b := r.batches(2, thump.Field{Key: "x-dead-letter-exchange", Value: exchange})
	r.noError(b[0].Reject())
	r.noError(b[1].Deliveries[0].Reject())
	r.noError(b[1].Ack())
	r.noError(c.Close(r.Context()))
	got := r.take(dead, 11)
	r.inOrder(got, 1)
	for i := range got {
		properties, err := got[i].Properties()
		r.noError(err)
		value, _ := properties.Headers.Get("x-death")
		deaths, _ := value.([]any)
		if len(deaths) != 1 {
			r.Fatalf("got x-death %#v", value)
		}
		death, _ := deaths[0].(thump.Table)
		from, _ := death.Get("queue")
		reason, _ := death.Get("reason")
		if from != queue || reason != "rejected" {
			r.Fatalf("got x-death %#v, expected rejected from %s", value, queue)
		}
	}
	// Where nobody wants the dead, they are dropped.
	queue, c, b = r.batches(1)
	r.noError(b[0].Reject())
	r.noError(c.Close(r.Context()))
	r.take(queue, 0)
}

func testRequeue(r *rig) {
	queue, c, b := r.batches(1)
	first := b[0]
	for i := range first.Deliveries {
		if first.Deliveries[i].Redelivered {
			r.Errorf("delivery %d is redelivered the first time", i)
		}
	}
	r.noError(first.Deliveries[2].Requeue())
	one := r.receive(c, 1, nil)
	r.inOrder(one, 3)
	r.noError(one[0].Ack())
	r.noError(first.Requeue())
	var got []string
	for _, d := range r.receive(c, 9, (*thump.Batch).Ack) {
		if !d.Redelivered {
			r.Errorf("message %s was requeued and is not redelivered", d.Body)
		}
		got = append(got, string(d.Body))
	}
	slices.Sort(got)
	if want := "[1 10 2 4 5 6 7 8 9]"; fmt.Sprint(got) != want {
		r.Errorf("got %v, expected %s", got, want)
	}
	r.noError(c.Close(r.Context()))
	r.take(queue, 0)
}

// testSettleTwice must never reach the broker: it would close the channel.
func testSettleTwice(r *rig) {
	queue, c, b := r.batches(3)
	r.noError(b[0].Deliveries[3].Ack())
	for _, again := range []func() error{b[0].Deliveries[3].Ack, b[0].Deliveries[3].Reject, b[0].Deliveries[3].Requeue, b[0].Deliveries[3].Release} {
		if err := again(); !errors.Is(err, thump.ErrSettled) {
			r.Errorf("settling a delivery again: %v, expected ErrSettled", err)
		}
	}
	r.noError(b[0].Ack())
	for _, again := range []func() error{b[0].Ack, b[0].Reject, b[0].Requeue, b[0].Release} {
		if err := again(); !errors.Is(err, thump.ErrSettled) {
			r.Errorf("settling a batch again: %v, expected ErrSettled", err)
		}
	}
	if err := b[0].Deliveries[4].Reject(); !errors.Is(err, thump.ErrSettled) {
		r.Errorf("settling a delivery of a settled batch: %v, expected ErrSettled", err)
	}
	for i := range 10 {
		r.noError(b[1].Deliveries[i].Ack())
	}
	r.noError(b[1].Ack()) // the rest of it, which is nothing
	r.noError(b[2].Ack())
	// The channel lives.
	r.send(queue, numbered(1)...)
	r.receive(c, 1, (*thump.Batch).Ack)
	r.noError(c.Close(r.Context()))
	r.take(queue, 0)
}
