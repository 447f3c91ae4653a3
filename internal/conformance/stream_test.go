package conformance

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/thumpmq/thump"
)

// What the cases of streams have in common.

// frameMost is the largest frame that RabbitMQ takes where nobody has configured
// it: stream.frame_max.
const frameMost = 1 << 20

// What PROTOCOL.adoc Publish and the AMQP 1.0 data section put around one body
// in one frame, in bytes: key, version, publisher id and the number of entries;
// publishing id and size; for a batch its header and the message's size; and the
// section's descriptor and size. The size of the frame itself is not counted.
const (
	aroundEntry = 2 + 2 + 1 + 4 + 8 + 4 + 8
	aroundBatch = 2 + 2 + 1 + 4 + 8 + 1 + 2 + 4 + 4 + 4 + 8

	largestBody    = frameMost - aroundEntry // as an entry
	largestBatched = frameMost - aroundBatch // as a batch of its own
)

// stream makes a stream, of a name of its own unless s has one, and deletes it
// in the end.
func (r *rig) stream(s thump.StreamSpec) string {
	r.Helper()
	if s.Name == "" {
		s.Name = unique("stream")
	}
	r.noError(r.client.DeclareStream(r.Context(), s))
	r.Cleanup(func() {
		ctx, cancel := parting()
		defer cancel()
		if err := r.client.DeleteStream(ctx, s.Name); err != nil && !errors.Is(err, thump.ErrClosed) {
			r.Errorf("cleaning up: %v", err)
		}
	})
	return s.Name
}

// superStream makes a super stream with partitions name-0, name-1 and so on,
// bound with "0", "1" and so on, and deletes it in the end. RabbitMQ before 3.13
// has no command for it; there it is what it is made of: an exchange and
// bindings, whose arguments say the order.
func (r *rig) superStream(partitions int) string {
	r.Helper()
	name := unique("super")
	if r.atLeast("3.13") {
		r.noError(r.client.DeclareSuperStream(r.Context(), thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: name}, Partitions: partitions}))
		r.Cleanup(func() {
			ctx, cancel := parting()
			defer cancel()
			if err := r.client.DeleteSuperStream(ctx, name); err != nil && !errors.Is(err, thump.ErrClosed) {
				r.Errorf("cleaning up: %v", err)
			}
		})
		return name
	}
	r.declareExchange(thump.ExchangeSpec{Name: name, Arguments: thump.Table{{Key: "x-super-stream", Value: true}}})
	for i := range partitions {
		stream := r.stream(thump.StreamSpec{Name: fmt.Sprint(name, "-", i)})
		r.bind(thump.Binding{
			Source: name, Queue: stream, RoutingKey: fmt.Sprint(i),
			Arguments: thump.Table{{Key: "x-stream-partition-order", Value: i}},
		})
	}
	return name
}

// atLeast reports whether the broker is of the version "3.13", say, or a later
// one.
func (r *rig) atLeast(version string) bool {
	r.Helper()
	number := func(v string) (n int) {
		var major, minor int
		if _, err := fmt.Sscanf(v, "%d.%d", &major, &minor); err != nil {
			r.Fatalf("version %q: %v", v, err)
		}
		return 1000*major + minor
	}
	return number(r.client.Server().Version) >= number(version)
}

// lacks reports whether the broker is older than version, and then expects err
// to name that version as the one that is needed, and the broker's own.
func (r *rig) lacks(version string, err error) bool {
	r.Helper()
	if r.atLeast(version) {
		return false
	}
	r.says(err, "needs RabbitMQ "+version, r.client.Server().Version)
	return true
}

// publishing is a publisher to a stream with those options.
func (r *rig) publishing(stream string, o thump.StreamPublishing) *thump.Publisher {
	r.Helper()
	return r.publisher(thump.PublisherConfig{To: thump.Stream(stream), Stream: o})
}

// consuming is a consumer of a stream with those options.
func (r *rig) consuming(stream string, o thump.StreamConsuming) *thump.Consumer {
	r.Helper()
	return r.consumer(thump.ConsumerConfig{From: thump.Stream(stream), Stream: o})
}

// from is a consumer of a stream that begins there.
func (r *rig) from(stream string, start thump.Start) *thump.Consumer {
	r.Helper()
	return r.consuming(stream, thump.StreamConsuming{Start: start})
}

// chunks publishes batches of these many numbered messages, each batch as a
// sub-entry batch, which is never spread over chunks, confirmed before the
// next begins. The numbers go on from first.
func (r *rig) chunks(stream string, first int, sizes ...int) {
	r.Helper()
	p := r.publishing(stream, thump.StreamPublishing{SubEntry: 500})
	for _, size := range sizes {
		r.publish(p, numberedFrom(first, size)...)
		r.flush(p)
		first += size
	}
	r.noError(p.Close(r.Context()))
}

// offsetsFrom expects deliveries of consecutive offsets.
func (r *rig) offsetsFrom(got []thump.Delivery, first uint64) {
	r.Helper()
	for i := range got {
		if got[i].Offset != first+uint64(i) {
			r.Fatalf("delivery %d has the offset %d, expected %d", i, got[i].Offset, first+uint64(i))
		}
	}
}

// ends takes what a consumer with an Until still brings, and expects the loop to
// end without an error; and that it stays so.
func (r *rig) ends(c *thump.Consumer) []thump.Delivery {
	r.Helper()
	var got []thump.Delivery
	for batch, err := range c.Batches(r.Context()) {
		r.noError(err)
		for i := range batch.Deliveries {
			got = append(got, batch.Deliveries[i].Clone())
		}
		r.noError(batch.Ack())
	}
	if _, err := c.Receive(r.Context()); !errors.Is(err, thump.ErrEnd) {
		r.Errorf("Receive at the end: %v, expected ErrEnd", err)
	}
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		r.Error("Done is open at the end")
	}
	if !errors.Is(c.Err(), thump.ErrEnd) {
		r.Errorf("Err at the end is %v, expected ErrEnd", c.Err())
	}
	r.noError(c.Close(r.Context()))
	return got
}

// bodies are the bodies of deliveries, with blanks between them.
func bodies(list []thump.Delivery) string {
	var words []string
	for i := range list {
		words = append(words, string(list[i].Body))
	}
	return strings.Join(words, " ")
}
