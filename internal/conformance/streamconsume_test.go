package conformance

import (
	"strings"
	"time"

	"github.com/thumpmq/thump"
)

// How consuming from a stream differs from consuming from a queue, offsets
// apart.
func streamConsumeCases() []conformanceCase {
	return []conformanceCase{
		{"stream-consume/nack-and-requeue", offsets, testStreamNack},
		{"stream-consume/body-valid-until-the-next-batch", offsets, testStreamBodyLifetime},
		{"stream-consume/close-ends-a-running-loop-a-running-loop", offsets, testStreamCloseEndsLoop},
		{"stream-consume/refused", offsets, testConsumingRefused},
	}
}

// testStreamNack refuses deliveries, which is an error, and changes nothing.
func testStreamNack(r *rig) {
	for _, name := range []string{"", "reader"} {
		stream, c, b := r.tens(2, neverStore(name))
		for _, settle := range []func() error{b[0].Reject, b[0].Requeue, b[1].Deliveries[0].Reject, b[1].Deliveries[0].Requeue} {
			r.says(settle(), "stream keeps its messages")
		}
		r.noError(b[0].Ack())
		r.noError(b[1].Deliveries[0].Ack())
		r.noError(b[1].Ack())
		r.noError(c.Close(r.Context()))
		if name != "" {
			r.stored(stream, name, 19)
		}
		r.take(stream, 20)
	}
}

// testStreamBodyLifetime keeps a clone of each batch, from chunks of all kinds,
// and looks whether later ones overwrite it.
func testStreamBodyLifetime(r *rig) {
	const n = 3000
	for _, name := range []string{"", "reader"} { // batches that are acked, and that need not be
		stream := r.stream(thump.StreamSpec{})
		next := 1
		for next <= n {
			for _, way := range []thump.StreamPublishing{{}, {SubEntry: 500}, {Compression: thump.Zstd}, {Compression: thump.Gzip, SubEntry: 10}} {
				p := r.publishing(stream, way)
				r.publish(p, numberedFrom(next, 100)...)
				next += 100
				r.noError(p.Close(r.Context()))
			}
		}
		c := r.consumer(thump.ConsumerConfig{From: thump.Stream(stream), MaxBatch: 64, Stream: neverStore(name)})
		var kept []thump.Delivery
		for first := 1; first < next; {
			batch, err := c.Receive(r.Context())
			r.noError(err)
			r.inOrder(batch.Deliveries, first)
			if n := len(batch.Deliveries); n > 1 { // one alone would be the whole batch
				kept = append(kept, batch.Deliveries[n-1].Clone())
			}
			first += len(batch.Deliveries)
		}
		for i := range kept {
			r.inOrder(kept[i:i+1], int(kept[i].Offset)+1)
			r.noError(kept[i].Ack()) // long after its batch
		}
		if name == "" {
			r.noError(c.Close(r.Context()))
		} else {
			r.leave(c, next-1-len(kept))
		}
		r.notStored(stream, "reader") // no batch was acked as a whole
	}
}

// testStreamCloseEndsLoop closes a consumer whose loop is busy: the loop ends by
// itself, and a consumer of the same name goes on exactly behind it.
func testStreamCloseEndsLoop(r *rig) {
	const n = 20_000
	stream := r.stream(thump.StreamSpec{})
	p := r.publishing(stream, thump.StreamPublishing{SubEntry: 100})
	r.publish(p, numbered(n)...)
	r.noError(p.Close(r.Context()))
	handled := 0
	for round := 0; handled < n; round++ {
		o := neverStore("reader")
		o.Credit = 2
		c := r.consumer(thump.ConsumerConfig{From: thump.Stream(stream), MaxBatch: 50, Stream: o})
		begun, done := make(chan struct{}), make(chan struct{})
		ctx := r.Context()
		go func() {
			defer close(done)
			first := true
			for batch, err := range c.Batches(ctx) {
				if err != nil {
					r.Errorf("the loop ended with %v", err)
					return
				}
				r.inOrder(batch.Deliveries, handled+1)
				handled += len(batch.Deliveries)
				if err := batch.Ack(); err != nil {
					r.Error(err)
				}
				if first {
					first = false
					close(begun)
				}
			}
		}()
		<-begun
		r.noError(c.Close(ctx))
		select {
		case <-done:
		case <-time.After(time.Second):
			r.Fatal("Close has returned and the loop goes on")
		}
		r.stored(stream, "reader", uint64(handled-1))
	}
}

// testConsumingRefused has consumers that make no sense.
func testConsumingRefused(r *rig) {
	name := r.stream(thump.StreamSpec{})
	stream := thump.Stream(name)
	keep := func(*thump.Delivery) bool { return true }
	of := func(o thump.StreamConsuming) thump.ConsumerConfig {
		return thump.ConsumerConfig{From: stream, Stream: o}
	}
	for _, c := range []struct {
		cfg   thump.ConsumerConfig
		words []string
	}{
		{thump.ConsumerConfig{From: stream, Prefetch: 10}, []string{"Prefetch", "Credit"}},
		{thump.ConsumerConfig{From: stream, Exclusive: true}, []string{"Exclusive"}},
		{thump.ConsumerConfig{From: stream, Tag: "tag"}, []string{"Tag"}},
		{thump.ConsumerConfig{From: stream, Arguments: thump.Table{{Key: "x-stream-offset", Value: "first"}}}, []string{"Arguments"}},
		{thump.ConsumerConfig{From: stream, MaxBatch: -1}, []string{"MaxBatch"}},
		{thump.ConsumerConfig{From: thump.Stream("")}, []string{"From", "name"}},
		{thump.ConsumerConfig{From: thump.Queue("q"), Stream: thump.StreamConsuming{Name: "reader"}}, []string{"no stream"}},
		{of(thump.StreamConsuming{Credit: 1}), []string{"Credit", "1", "2"}},
		{of(thump.StreamConsuming{Credit: 1001}), []string{"Credit", "1001"}},
		{of(thump.StreamConsuming{StoreEvery: -1}), []string{"StoreEvery"}},
		{of(thump.StreamConsuming{StoreInterval: time.Microsecond}), []string{"StoreInterval"}},
		{of(thump.StreamConsuming{Name: strings.Repeat("n", 256)}), []string{"Name", "256"}},
		{of(thump.StreamConsuming{SingleActive: true}), []string{"SingleActive", "Name"}},
		{of(thump.StreamConsuming{Filters: []string{"red"}}), []string{"Filters", "Keep"}},
		{of(thump.StreamConsuming{Keep: keep}), []string{"Filters", "Keep"}},
		{of(thump.StreamConsuming{MatchUnfiltered: true}), []string{"MatchUnfiltered", "Filters"}},
		{of(thump.StreamConsuming{Filters: []string{"red"}, Keep: keep, Until: time.Now()}), []string{"Until", "Filters"}},
	} {
		_, err := r.client.Consumer(r.Context(), c.cfg)
		r.says(err, c.words...)
	}
	c := r.consuming(name, thump.StreamConsuming{Credit: 1000})
	r.noError(c.Close(r.Context()))
}
