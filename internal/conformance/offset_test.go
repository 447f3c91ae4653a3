package conformance

import (
	"errors"
	"time"

	"github.com/thumpmq/thump"
)

// Offsets of consumers that the broker stores, and what acks mean to a stream.
func offsetCases() []conformanceCase {
	return []conformanceCase{
		{"offset/stored-by-count", offsets, testStoreByCount},
		{"offset/stored-by-time", offsets, testStoreByTime},
		{"offset/stored-at-close", offsets, testStoreAtClose},
		{"offset/stored-by-hand", offsets, testStoreManual},
		{"offset/resume", offsets, testResume},
		{"offset/resume-within-a-batch", offsets, testResumeWithin},
		{"offset/oldest-unacked-decides", offsets, testOldestUnacked},
		{"offset/auto-ack", offsets, testOffsetAutoAck},
		{"offset/nothing-acked", offsets, testNothingAcked},
		{"offset/not-stored-for-nobody", offsets, testOffsetNobody},
	}
}

// neverStore leaves storing to the end.
func neverStore(name string) thump.StreamConsuming {
	return thump.StreamConsuming{Name: name, StoreEvery: 1 << 30, StoreInterval: time.Hour}
}

// stored waits until an offset is stored under a name.
func (r *rig) stored(stream, name string, want uint64) {
	r.Helper()
	var offset uint64
	var found bool
	for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(20 * time.Millisecond) {
		var err error
		offset, found, err = r.client.QueryOffset(r.Context(), stream, name)
		r.noError(err)
		if found && offset == want {
			return
		}
	}
	r.Fatalf("the offset of %q is %d, %v, expected %d", name, offset, found, want)
}

// notStored expects that nothing is stored under a name, for a moment.
func (r *rig) notStored(stream, name string) {
	r.Helper()
	time.Sleep(100 * time.Millisecond)
	if offset, found, err := r.client.QueryOffset(r.Context(), stream, name); found || err != nil {
		r.Fatalf("the offset of %q is %d, %v, expected none", name, offset, err)
	}
}

// tens makes a stream with n chunks of 10 numbered messages, and a consumer of
// one batch for each.
func (r *rig) tens(n int, o thump.StreamConsuming) (stream string, c *thump.Consumer, batches []*thump.Batch) {
	r.Helper()
	stream = r.stream(thump.StreamSpec{})
	for i := range n {
		r.chunks(stream, 10*i+1, 10)
	}
	c = r.consuming(stream, o)
	for i := range n {
		batch, err := c.Receive(r.Context())
		r.noError(err)
		if len(batch.Deliveries) != 10 {
			r.Fatalf("a batch of %d messages, and the chunk has 10", len(batch.Deliveries))
		}
		r.inOrder(batch.Deliveries, 10*i+1)
		batches = append(batches, batch)
	}
	return stream, c, batches
}

func testStoreByCount(r *rig) {
	o := neverStore("reader")
	o.StoreEvery = 25
	stream, c, b := r.tens(6, o)
	r.noError(b[0].Ack())
	r.noError(b[1].Ack())
	r.notStored(stream, "reader") // 20
	r.noError(b[2].Ack())
	r.stored(stream, "reader", 29)
	r.noError(b[3].Ack())
	r.noError(b[4].Ack())
	time.Sleep(100 * time.Millisecond)
	r.stored(stream, "reader", 29) // 20 more
	r.noError(b[5].Ack())
	r.stored(stream, "reader", 59)
	r.noError(c.Close(r.Context()))
}

func testStoreByTime(r *rig) {
	o := neverStore("reader")
	o.StoreInterval = 50 * time.Millisecond
	stream, c, b := r.tens(3, o)
	r.notStored(stream, "reader")
	r.noError(b[0].Ack())
	r.stored(stream, "reader", 9)
	r.noError(b[1].Ack())
	r.noError(b[2].Ack())
	r.stored(stream, "reader", 29)
	// Without an ack nothing is stored again: it would be an entry in the stream.
	if r.atLeast("3.11") {
		before, err := r.client.InspectStream(r.Context(), stream)
		r.noError(err)
		time.Sleep(300 * time.Millisecond)
		after, err := r.client.InspectStream(r.Context(), stream)
		r.noError(err)
		if before.LastChunk != after.LastChunk || !after.Known {
			r.Errorf("nothing was acked, and the stream went from %+v to %+v", before, after)
		}
	}
	r.noError(c.Close(r.Context()))
}

func testStoreAtClose(r *rig) {
	stream, c, b := r.tens(3, neverStore("reader"))
	r.noError(b[0].Ack())
	r.noError(b[1].Ack())
	r.notStored(stream, "reader")
	r.noError(b[2].Release())
	r.noError(c.Close(r.Context()))
	if offset, found, err := r.client.QueryOffset(r.Context(), stream, "reader"); offset != 19 || !found || err != nil {
		r.Errorf("after Close the offset is %d, %v, %v, expected 19", offset, found, err)
	}
	// The client's Close does the same.
	client := r.dial(r.config())
	c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Stream(stream), Stream: neverStore("another")})
	r.noError(err)
	r.receive(c, 30, (*thump.Batch).Ack)
	r.noError(client.Close(r.Context()))
	r.stored(stream, "another", 29)
}

func testStoreManual(r *rig) {
	stream, c, b := r.tens(4, thump.StreamConsuming{Name: "reader", ManualStore: true, StoreEvery: 1, StoreInterval: time.Millisecond})
	r.noError(c.StoreOffset(r.Context())) // nothing is acked
	r.noError(b[0].Ack())
	r.noError(b[1].Ack())
	r.notStored(stream, "reader")
	r.noError(c.StoreOffset(r.Context()))
	if offset, found, err := r.client.QueryOffset(r.Context(), stream, "reader"); offset != 19 || !found || err != nil {
		r.Errorf("after StoreOffset it is %d, %v, %v, expected 19", offset, found, err)
	}
	r.noError(c.StoreOffset(r.Context()))
	r.noError(b[2].Ack())
	r.noError(b[3].Release())
	r.noError(c.Close(r.Context()))
	r.stored(stream, "reader", 19)
	c = r.consuming(stream, thump.StreamConsuming{Name: "reader", ManualStore: true})
	r.inOrder(r.receive(c, 20, (*thump.Batch).Ack), 21)
	r.noError(c.Close(r.Context()))
	if err := c.StoreOffset(r.Context()); !errors.Is(err, thump.ErrClosed) {
		r.Errorf("storing an offset after Close: %v, expected ErrClosed", err)
	}
}

// testResume goes on behind what is stored, whatever Start says.
func testResume(r *rig) {
	stream, c, b := r.tens(3, neverStore("reader"))
	r.noError(b[0].Ack())
	r.leave(c, 20)
	for _, start := range []thump.Start{thump.FromFirst(), thump.FromNext(), thump.FromOffset(25)} {
		o := neverStore("reader")
		o.Start = start
		c = r.consuming(stream, o)
		got := r.receive(c, 20, (*thump.Batch).Release)
		r.inOrder(got, 11)
		r.offsetsFrom(got, 10)
		r.noError(c.Close(r.Context()))
	}
	c = r.consuming(stream, neverStore("reader"))
	r.receive(c, 20, (*thump.Batch).Ack)
	r.noError(c.Close(r.Context()))
	c = r.consuming(stream, neverStore("reader"))
	r.nothingComes(c) // not the last one again
	r.chunks(stream, 31, 5)
	r.inOrder(r.receive(c, 5, (*thump.Batch).Ack), 31)
	r.noError(c.Close(r.Context()))
	// Another name begins where it says.
	o := neverStore("another")
	o.Start = thump.FromOffset(3)
	c = r.consuming(stream, o)
	got := r.receive(c, 32, (*thump.Batch).Release)
	r.inOrder(got, 4)
	if last := got[31].Offset; last < 35 || last > 40 { // the stored offsets are entries too
		r.Errorf("message 35 has the offset %d", last)
	}
	r.noError(c.Close(r.Context()))
	r.notStored(stream, "another")
}

// testResumeWithin stores an offset within a chunk, an entry and a batch, the
// very first message's among them.
func testResumeWithin(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 100)
	next := 1
	for _, size := range []int{1, 1, 5, 30, 62, 1} {
		c := r.consumer(thump.ConsumerConfig{From: thump.Stream(stream), MaxBatch: size, Stream: neverStore("reader")})
		batch, err := c.Receive(r.Context())
		r.noError(err)
		if len(batch.Deliveries) != size {
			r.Fatalf("a batch of %d, expected %d", len(batch.Deliveries), size)
		}
		r.inOrder(batch.Deliveries, next)
		next += size
		r.noError(batch.Ack())
		r.noError(c.Close(r.Context()))
		r.stored(stream, "reader", uint64(next-2))
	}
}

// testOldestUnacked acks out of order: what is stored never goes over the oldest
// delivery that is not acked.
func testOldestUnacked(r *rig) {
	o := neverStore("reader")
	o.StoreEvery = 1
	stream, c, b := r.tens(5, o)
	r.noError(b[1].Ack())
	r.noError(b[2].Ack())
	for i := 1; i < 10; i++ { // one by one, not in order; the first is missing
		r.noError(b[0].Deliveries[i*7%10].Ack())
	}
	r.notStored(stream, "reader")
	if err := b[0].Deliveries[7].Ack(); !errors.Is(err, thump.ErrSettled) {
		r.Errorf("acking a delivery twice: %v, expected ErrSettled", err)
	}
	r.noError(b[0].Deliveries[0].Ack())
	r.stored(stream, "reader", 29)
	r.noError(b[4].Ack())
	r.noError(b[3].Deliveries[1].Ack())
	r.noError(b[3].Deliveries[0].Ack())
	r.noError(b[3].Deliveries[3].Ack())
	r.stored(stream, "reader", 31)
	r.noError(b[3].Ack()) // the rest of it
	r.stored(stream, "reader", 49)
	if err := b[3].Ack(); !errors.Is(err, thump.ErrSettled) {
		r.Errorf("acking a batch twice: %v, expected ErrSettled", err)
	}
	r.noError(c.Close(r.Context()))
	r.stored(stream, "reader", 49)
}

// testOffsetAutoAck counts a batch as handled when the next is asked for.
func testOffsetAutoAck(r *rig) {
	o := neverStore("reader")
	o.StoreEvery = 1
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 10, 10, 10)
	c := r.consumer(thump.ConsumerConfig{From: thump.Stream(stream), AutoAck: true, Stream: o})
	for i := range 3 {
		batch, err := c.Receive(r.Context())
		r.noError(err)
		r.inOrder(batch.Deliveries, 10*i+1)
		for _, settle := range []func() error{batch.Ack, batch.Reject, batch.Release, batch.Deliveries[0].Ack} {
			if err := settle(); !errors.Is(err, thump.ErrAutoAck) {
				r.Errorf("settling: %v, expected ErrAutoAck", err)
			}
		}
		if i == 0 {
			r.notStored(stream, "reader")
		} else {
			r.stored(stream, "reader", uint64(10*i-1))
		}
	}
	r.noError(c.Close(r.Context()))
	r.stored(stream, "reader", 19) // the last batch may not have been handled
}

func testNothingAcked(r *rig) {
	stream, c, _ := r.tens(3, thump.StreamConsuming{Name: "reader", StoreEvery: 1, StoreInterval: 10 * time.Millisecond})
	r.leave(c, 30)
	r.notStored(stream, "reader")
	c = r.consuming(stream, neverStore("reader"))
	r.inOrder(r.receive(c, 30, (*thump.Batch).Release), 1) // again
	r.noError(c.Close(r.Context()))
}

// testOffsetNobody has consumers without a name, and questions for what is not
// there.
func testOffsetNobody(r *rig) {
	stream, c, b := r.tens(2, thump.StreamConsuming{})
	r.noError(b[0].Ack()) // allowed, and without consequence
	if err := b[0].Ack(); !errors.Is(err, thump.ErrSettled) {
		r.Errorf("acking a batch twice: %v, expected ErrSettled", err)
	}
	r.noError(b[1].Deliveries[3].Ack())
	r.says(c.StoreOffset(r.Context()), stream, "Name")
	r.noError(c.Close(r.Context()))
	if _, found, err := r.client.QueryOffset(r.Context(), stream, "nobody"); found || err != nil {
		r.Errorf("the offset of nobody: %v, %v", found, err)
	}
	missing := unique("missing")
	_, _, err := r.client.QueryOffset(r.Context(), missing, "nobody")
	r.notFound(err, missing)
	queue := r.consumer(thump.ConsumerConfig{From: thump.Queue(r.classicQueue())})
	r.says(queue.StoreOffset(r.Context()), "stream")
	r.noError(queue.Close(r.Context()))
}
