package conformance

import (
	"fmt"
	"sync/atomic"

	"github.com/thumpmq/thump"
)

// What is handed out is the caller's.
func keptCases() []conformanceCase {
	return []conformanceCase{
		{"kept/from-batches", 0, func(r *rig) { testKept(r, keepBatches) }},
		{"kept/from-receive", 0, func(r *rig) { testKept(r, keepReceived) }},
		{"kept/compressed", offsets, testKeptCompressed},
		{"kept/compressed", partitions, testKeptCompressed},
		{"kept/clones-with-reused-buffers", 0, testClonesKept},
	}
}

// keptText is a body of some length that tells which message it is.
func keptText(i int) string { return fmt.Sprintf("message %d %*d", i, i%300, i) }

// kept is one delivery in every way that it can be kept.
type kept struct {
	body    []byte
	value   thump.Delivery
	pointer *thump.Delivery
}

func keep(b *thump.Batch) (all []kept) {
	for i := range b.Deliveries {
		all = append(all, kept{b.Deliveries[i].Body, b.Deliveries[i], &b.Deliveries[i]})
	}
	return all
}

func keepBatches(r *rig, c *thump.Consumer, n int) (all []kept, slices [][]thump.Delivery) {
	for batch, err := range c.Batches(r.Context()) {
		r.noError(err)
		all, slices = append(all, keep(batch)...), append(slices, batch.Deliveries)
		r.noError(batch.Ack())
		if len(all) >= n {
			break
		}
	}
	return all, slices
}

func keepReceived(r *rig, c *thump.Consumer, n int) (all []kept, slices [][]thump.Delivery) {
	for len(all) < n {
		batch, err := c.Receive(r.Context())
		r.noError(err)
		all, slices = append(all, keep(batch)...), append(slices, batch.Deliveries)
		r.noError(batch.Ack())
	}
	return all, slices
}

type keeper func(*rig, *thump.Consumer, int) ([]kept, [][]thump.Delivery)

// testKept keeps 20,000 deliveries of various sizes, as values, as pointers, as
// slices and as bodies, while the consumer goes on. None may become another.
func testKept(r *rig, take keeper) { keepAll(r, thump.PublisherConfig{}, take) }

func testKeptCompressed(r *rig) {
	for _, codec := range []thump.Compression{thump.NoCompression, thump.Gzip, thump.LZ4} {
		keepAll(r, thump.PublisherConfig{Stream: thump.StreamPublishing{SubEntry: 100, Compression: codec}}, keepBatches)
	}
}

func keepAll(r *rig, cfg thump.PublisherConfig, take keeper) {
	r.Helper()
	const n, more = 20_000, 20_000
	place := r.place()
	cfg.To = r.to(place)
	p := r.publisher(cfg)
	for i := 0; i < n+more; i += 1000 {
		msgs := make([]thump.Message, 1000)
		for j := range msgs {
			msgs[j] = thump.Message{Body: []byte(keptText(i + j)), RoutingKey: r.routing(place, i+j)}
			msgs[j].Properties = &thump.Properties{MessageID: fmt.Sprint(i + j)}
		}
		r.publish(p, msgs...)
	}
	r.noError(p.Close(r.Context()))

	c := r.consumer(thump.ConsumerConfig{From: r.to(place)})
	all, slices := take(r, c, n)
	_, _ = take(r, c, n+more-len(all))
	r.noError(c.Close(r.Context()))

	wrong := new(atomic.Int64)
	for _, k := range all {
		properties, err := k.value.Properties()
		r.noError(err)
		var i int
		if _, err := fmt.Sscan(properties.MessageID, &i); err != nil {
			wrong.Add(1)
			continue
		}
		if text := keptText(i); string(k.body) != text || string(k.value.Body) != text || string(k.pointer.Body) != text {
			wrong.Add(1)
		}
	}
	seen := 0
	for _, s := range slices {
		for i := range s {
			if string(s[i].Body) != string(all[seen].body) {
				wrong.Add(1)
			}
			seen++
		}
	}
	if wrong.Load() > 0 || seen != len(all) {
		r.Errorf("%d of %d kept deliveries became others; %d in slices", wrong.Load(), len(all), seen)
	}
}

// routing is a routing key that gets message i to a place.
func (r *rig) routing(place string, i int) string {
	switch {
	case r.engine.can&partitions != 0:
		return fmt.Sprint(i)
	case r.engine.streams():
		return ""
	default:
		return place
	}
}

// testClonesKept: with ReuseBuffers, a Clone is what stays.
func testClonesKept(r *rig) {
	const n = 20_000
	place := r.place()
	msgs := make([]thump.Message, n)
	for i := range msgs {
		msgs[i] = thump.Message{Body: []byte(keptText(i)), RoutingKey: r.routing(place, i)}
		msgs[i].Properties = &thump.Properties{MessageID: fmt.Sprint(i)}
	}
	r.send(place, msgs...)
	c := r.consumer(thump.ConsumerConfig{From: r.to(place), ReuseBuffers: true})
	for _, d := range r.receive(c, n, (*thump.Batch).Ack) {
		properties, err := d.Properties()
		r.noError(err)
		var i int
		_, err = fmt.Sscan(properties.MessageID, &i)
		r.noError(err)
		if string(d.Body) != keptText(i) {
			r.Fatalf("message %d is %.60q", i, d.Body)
		}
	}
	r.noError(c.Close(r.Context()))
}
