package conformance

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/thumpmq/thump"
)

// How a stream's messages travel: by themselves, in sub-entry batches, and those
// compressed.
func batchCases() []conformanceCase {
	return []conformanceCase{
		{"batch/sizes-and-compressions", offsets, testBatchSizes},
		{"batch/65535-in-one", offsets, testLargestBatch},
		{"batch/mixed-in-one-stream", offsets, testBatchesMixed},
		{"batch/properties", offsets, testBatchProperties},
		{"batch/bytes-on-the-wire", offsets, testBatchBytes},
		{"batch/body-that-fills-a-frame", offsets, testFrameLimit},
		{"batch/body-that-does-not-compress", offsets, testIncompressible},
		{"batch/large-bodies-in-flight", offsets, testLargeInFlight},
		{"batch/small-frames", offsets, testSmallStreamFrames},
		{"batch/publishing-refused", offsets, testPublishingRefused},
	}
}

// compressions are all of them.
func compressions() []thump.Compression {
	return []thump.Compression{thump.NoCompression, thump.Gzip, thump.Snappy, thump.LZ4, thump.Zstd}
}

// ways are ways to publish to a stream: batches of every kind.
func ways() []thump.StreamPublishing {
	list := []thump.StreamPublishing{{SubEntry: 1}}
	for _, size := range []int{2, 500, 65535} {
		for _, c := range compressions() {
			list = append(list, thump.StreamPublishing{SubEntry: size, Compression: c})
		}
	}
	return list
}

func testBatchSizes(r *rig) {
	const n = 3001
	for _, way := range ways() {
		stream := r.stream(thump.StreamSpec{})
		l := newLedger()
		p := r.publisher(thump.PublisherConfig{To: thump.Stream(stream), Stream: way, OnOutcomes: l.note})
		r.publish(p, numbered(n)...)
		r.noError(p.Close(r.Context()))
		l.check(r, n, always(thump.Confirmed))
		got := r.take(stream, n)
		r.inOrder(got, 1)
		r.offsetsFrom(got, 0)
	}
}

// testLargestBatch fills batches of the most messages that one can have.
func testLargestBatch(r *rig) {
	const n = 2*65535 + 1
	for _, c := range []thump.Compression{thump.NoCompression, thump.LZ4} {
		stream := r.stream(thump.StreamSpec{})
		p := r.publishing(stream, thump.StreamPublishing{SubEntry: 65535, Compression: c})
		msgs := make([]thump.Message, n)
		msgs[0].Body, msgs[n-1].Body = []byte("the first"), []byte("the last")
		r.publish(p, msgs...)
		r.noError(p.Close(r.Context()))
		got := r.take(stream, n)
		r.offsetsFrom(got, 0)
		if string(got[0].Body) != "the first" || string(got[n-1].Body) != "the last" || len(got[n/2].Body) != 0 {
			r.Errorf("%v: got %q, %q and %q", c, got[0].Body, got[n/2].Body, got[n-1].Body)
		}
	}
}

// testBatchesMixed has publishers of every kind take turns on one stream.
func testBatchesMixed(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	var publishers []*thump.Publisher
	for _, way := range ways() {
		publishers = append(publishers, r.publishing(stream, way))
	}
	next := 0
	for _, size := range []int{1, 13, 200} {
		for _, p := range publishers {
			msgs := numberedFrom(next+1, size)
			msgs[0].Properties = &thump.Properties{MessageID: "the first of its batch"}
			r.publish(p, msgs...)
			r.flush(p)
			next += size
		}
	}
	got := r.take(stream, next)
	r.inOrder(got, 1)
	r.offsetsFrom(got, 0)
	marked := 0
	for i := range got {
		properties, err := got[i].Properties()
		r.noError(err)
		if properties.MessageID != "" {
			marked++
		}
	}
	if want := 3 * len(publishers); marked != want {
		r.Errorf("%d messages have an id, expected %d", marked, want)
	}
}

// testBatchProperties sends messages with and without properties in the same
// batches.
func testBatchProperties(r *rig) {
	for _, c := range compressions() {
		stream := r.stream(thump.StreamSpec{})
		p := r.publishing(stream, thump.StreamPublishing{SubEntry: 10, Compression: c})
		want := everyProperty()
		want.Headers = scalarHeaders()
		msgs := numbered(40)
		for i := range msgs {
			if i%3 == 0 {
				msgs[i].Properties = &want
			}
		}
		r.publish(p, msgs...)
		r.noError(p.Close(r.Context()))
		got := r.take(stream, 40)
		r.inOrder(got, 1)
		for i := range got {
			properties, err := got[i].Properties()
			r.noError(err)
			if i%3 == 0 {
				r.sameProperties(properties, want)
			} else {
				r.sameProperties(properties, thump.Properties{})
			}
		}
	}
}

// testBatchBytes compares what Bytes says with what there is to know of it.
func testBatchBytes(r *rig) {
	const n, size = 1000, 1000
	msgs := make([]thump.Message, n)
	for i := range msgs {
		msgs[i].Body = []byte(strings.Repeat("x", size))
	}
	for _, way := range ways() {
		stream := r.stream(thump.StreamSpec{})
		p := r.publishing(stream, way)
		r.publish(p, msgs...)
		r.noError(p.Close(r.Context()))
		body, wire := p.Stats().BodyBytes, p.Stats().WireBytes
		small := way.Compression != thump.NoCompression
		if body != n*size || small && wire > body/5 || !small && (wire <= body || wire > body*11/10) {
			r.Errorf("%+v: %d bytes of bodies, %d on the wire", way, body, wire)
		}
	}
}

// testFrameLimit sends a body that just fits a frame, and one that does not: it
// is refused before anything of it is sent, and the others are not affected.
func testFrameLimit(r *rig) {
	for _, c := range []struct {
		way   thump.StreamPublishing
		limit int
	}{
		{thump.StreamPublishing{SubEntry: 1}, largestBody},
		{thump.StreamPublishing{SubEntry: 500}, largestBatched},
	} {
		stream := r.stream(thump.StreamSpec{})
		l := newLedger()
		p := r.publisher(thump.PublisherConfig{To: thump.Stream(stream), Stream: c.way, OnOutcomes: l.note})
		sizes := []int{0, 100_000, c.limit - 1, c.limit, c.limit, 1, c.limit, 0}
		var msgs []thump.Message
		for i, size := range sizes {
			msgs = append(msgs, thump.Message{Ref: uint64(i + 1), Body: everyByte(size)})
		}
		tooLarge := thump.Message{Ref: 100, Body: everyByte(c.limit + 1)}
		for i := range msgs {
			n, err := p.Publish(r.Context(), msgs[i], tooLarge, msgs[0])
			if n != 1 {
				r.Errorf("%d messages accepted, expected the one before the one that is too large", n)
			}
			r.says(err, stream, fmt.Sprint(frameMost))
		}
		r.noError(p.Close(r.Context()))
		l.check(r, len(msgs), always(thump.Confirmed))
		for i, d := range r.take(stream, len(sizes)) {
			if !bytes.Equal(d.Body, everyByte(sizes[i])) {
				r.Errorf("a body of %d bytes came back as %d bytes, or others", sizes[i], len(d.Body))
			}
		}
	}
}

// testIncompressible sends large bodies that get no smaller by compression.
func testIncompressible(r *rig) {
	body := make([]byte, 900_000)
	_, _ = rand.Read(body) // never fails
	for _, c := range compressions()[1:] {
		stream := r.stream(thump.StreamSpec{})
		p := r.publishing(stream, thump.StreamPublishing{Compression: c})
		var msgs []thump.Message
		for i := range 20 {
			msgs = append(msgs, thump.Message{Body: body[i*40_000:]})
		}
		r.publish(p, msgs...)
		// One that can't be sure to fit is refused.
		n, err := p.Publish(r.Context(), thump.Message{Body: make([]byte, frameMost)})
		if n != 0 {
			r.Errorf("%v: a body as large as a frame was accepted", c)
		}
		r.says(err, fmt.Sprint(frameMost))
		r.noError(p.Close(r.Context()))
		for i, d := range r.take(stream, len(msgs)) {
			if !bytes.Equal(d.Body, msgs[i].Body) {
				r.Errorf("%v: a body of %d bytes came back as %d bytes, or others", c, len(msgs[i].Body), len(d.Body))
			}
		}
	}
}

// testLargeInFlight has bodies in flight that come to much more than any buffer.
func testLargeInFlight(r *rig) {
	const n = 40
	body := everyByte(900_000)
	for _, way := range []thump.StreamPublishing{{}, {SubEntry: 500}, {Compression: thump.Snappy}} {
		stream := r.stream(thump.StreamSpec{})
		p := r.publishing(stream, way)
		c := r.consuming(stream, thump.StreamConsuming{Credit: 2})
		msgs := make([]thump.Message, n)
		for i := range msgs {
			msgs[i].Body = body[i:]
		}
		r.publish(p, msgs...)
		r.noError(p.Close(r.Context()))
		for i, d := range r.receive(c, n, nil) {
			if !bytes.Equal(d.Body, body[i:]) {
				r.Errorf("a body of %d bytes came back as %d bytes, or others", len(body)-i, len(d.Body))
			}
		}
		r.noError(c.Close(r.Context()))
	}
}

// testSmallStreamFrames agrees with the broker on small frames. Chunks are not
// bound by them.
func testSmallStreamFrames(r *rig) {
	const small = 4096
	client := r.dial(urls(r.broker.StreamURL + "?frame_max=4096"))
	for _, way := range ways() {
		stream := r.stream(thump.StreamSpec{})
		p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Stream(stream), Stream: way})
		r.noError(err)
		c, err := client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Stream(stream)})
		r.noError(err)
		r.publish(p, numbered(3000)...)
		limit := small - aroundEntry
		switch {
		case way.Compression != thump.NoCompression:
			limit = small / 4
		case way.SubEntry > 1:
			limit = small - aroundBatch
		}
		r.publish(p, thump.Message{Body: everyByte(limit)})
		_, err = p.Publish(r.Context(), thump.Message{Body: everyByte(small - aroundEntry + 1)})
		r.says(err, "4096")
		r.noError(p.Close(r.Context()))
		got := r.receive(c, 3001, nil)
		r.inOrder(got[:3000], 1)
		if !bytes.Equal(got[3000].Body, everyByte(limit)) {
			r.Errorf("%+v: a body of %d bytes came back as %d bytes, or others", way, limit, len(got[3000].Body))
		}
		r.noError(c.Close(r.Context()))
	}
	r.noError(client.Close(r.Context()))
}

// testPublishingRefused has publishers that make no sense.
func testPublishingRefused(r *rig) {
	stream := thump.Stream(r.stream(thump.StreamSpec{}))
	for _, c := range []struct {
		cfg   thump.PublisherConfig
		words []string
	}{
		{thump.PublisherConfig{To: stream, NoConfirms: true}, []string{"NoConfirms"}},
		{thump.PublisherConfig{To: stream, DropUnroutable: true}, []string{"DropUnroutable"}},
		{thump.PublisherConfig{To: stream, Window: 1<<20 + 1}, []string{"Window", "1048577"}},
		{thump.PublisherConfig{To: stream, Stream: thump.StreamPublishing{SubEntry: 65536}}, []string{"SubEntry", "65536", "65535"}},
		{thump.PublisherConfig{To: stream, Stream: thump.StreamPublishing{SubEntry: -1}}, []string{"SubEntry", "-1"}},
		{thump.PublisherConfig{To: stream, Stream: thump.StreamPublishing{SubEntry: 1, Compression: thump.Gzip}}, []string{"Compression", "SubEntry is 1"}},
		{thump.PublisherConfig{To: stream, Stream: thump.StreamPublishing{Compression: 5}}, []string{"Compression", "5"}},
		{thump.PublisherConfig{To: stream, Stream: thump.StreamPublishing{Filtered: true, SubEntry: 2}}, []string{"Filtered", "sub-entries"}},
		{thump.PublisherConfig{To: stream, Stream: thump.StreamPublishing{Filtered: true, Compression: thump.Zstd}}, []string{"Filtered", "compression"}},
		{thump.PublisherConfig{To: stream, Stream: thump.StreamPublishing{Name: strings.Repeat("n", 256)}}, []string{"Name", "256", "255"}},
		{thump.PublisherConfig{To: stream, Stream: thump.StreamPublishing{RouteByKey: true}}, []string{"RouteByKey", "super streams"}},
		{thump.PublisherConfig{To: thump.Queue("q"), Stream: thump.StreamPublishing{SubEntry: 2}}, []string{"no stream"}},
		{thump.PublisherConfig{To: thump.Stream("")}, []string{"To", "name"}},
	} {
		_, err := r.client.Publisher(r.Context(), c.cfg)
		r.says(err, c.words...)
	}
	if _, err := thump.ParseCompression("brotli"); err == nil {
		r.Error("brotli is no compression of the protocol")
	}
}
