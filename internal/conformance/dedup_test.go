package conformance

import (
	"errors"
	"fmt"
	"strings"

	"github.com/thumpmq/thump"
)

// Deduplication: what is published again under the same name and ids is stored
// once.
func dedupCases() []conformanceCase {
	return []conformanceCase{
		{"dedup/again", offsets, testDedupAgain},
		{"dedup/again-with-more-behind", offsets, testDedupOverlap},
		{"dedup/after-a-lost-connection", offsets, testDedupConnectionLost},
		{"dedup/comes-back", offsets, testDedupComesBack},
		{"dedup/ids-must-rise", offsets, testDedupRising},
		{"dedup/ids-with-gaps", offsets, testDedupGaps},
		{"dedup/goes-on-after-a-restart", offsets, testDedupRestart},
		{"dedup/names-are-apart", offsets, testDedupNames},
		{"dedup/without-a-name", offsets, testDedupNone},
		{"dedup/super-stream", partitions, testDedupSuper},
	}
}

// withIDs are numbered messages, with their numbers as publishing ids.
func withIDs(first, last int) []thump.Message {
	msgs := numberedFrom(first, last-first+1)
	for i := range msgs {
		msgs[i].PublishingID = uint64(first + i)
	}
	return msgs
}

// named publishes as a publisher of that name, which has to know that the
// stream's last id is known.
func (r *rig) named(stream, name string, way thump.StreamPublishing, known uint64, msgs ...thump.Message) {
	r.Helper()
	way.Name = name
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Stream(stream), Stream: way, OnOutcomes: l.note})
	if got := p.LastPublishingID(); got != known {
		r.Errorf("a new publisher knows the publishing id %d, expected %d", got, known)
	}
	for i := range msgs {
		msgs[i].Ref = uint64(i + 1)
	}
	r.publish(p, msgs...)
	r.flush(p)
	want := max(known, msgs[len(msgs)-1].PublishingID)
	if got := p.LastPublishingID(); got != want {
		r.Errorf("the last publishing id is %d, expected %d", got, want)
	}
	r.noError(p.Close(r.Context()))
	l.check(r, len(msgs), always(thump.Confirmed))
}

// testDedupAgain publishes the same again, in batches of the same and of other
// sizes.
func testDedupAgain(r *rig) {
	const n = 1000
	for _, first := range []thump.StreamPublishing{{SubEntry: 1}, {SubEntry: 100}, {SubEntry: 500, Compression: thump.LZ4}} {
		stream := r.stream(thump.StreamSpec{})
		r.named(stream, "publisher", first, 0, withIDs(1, n)...)
		for _, again := range []thump.StreamPublishing{{SubEntry: 1}, {SubEntry: 100}, {SubEntry: 77}, {SubEntry: 65535, Compression: thump.Zstd}} {
			r.named(stream, "publisher", again, n, withIDs(1, n)...)
		}
		r.inOrder(r.take(stream, n), 1)
	}
}

// testDedupOverlap begins with what the stream has and goes on with what it has
// not: no batch may hold both.
func testDedupOverlap(r *rig) {
	for _, way := range []thump.StreamPublishing{{SubEntry: 1}, {SubEntry: 100}, {SubEntry: 65535, Compression: thump.Snappy}} {
		stream := r.stream(thump.StreamSpec{})
		known := uint64(0)
		for _, last := range []int{150, 151, 333, 1000} {
			r.named(stream, "publisher", way, known, withIDs(1, last)...)
			known = uint64(last)
		}
		r.named(stream, "publisher", way, known, withIDs(990, 1234)...)
		r.inOrder(r.take(stream, 1234), 1)
	}
}

// testDedupConnectionLost is what deduplication is for: what was in flight is
// unknown, all of it is published again, and everything is stored once.
func testDedupConnectionLost(r *rig) {
	const n = 50_000
	stream := r.stream(thump.StreamSpec{})
	all := withIDs(1, n)
	for _, way := range []thump.StreamPublishing{{Name: "publisher"}, {Name: "publisher", SubEntry: 500}, {Name: "publisher", SubEntry: 33}} {
		client, cut := r.dialCut()
		p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Stream(stream), Window: 5000, Stream: way})
		r.noError(err)
		r.publish(p, all[:n/2]...)
		cut.deaf()
		ctx, ended := r.Context(), make(chan error, 1)
		go func() {
			_, err := p.Publish(ctx, all[n/2:]...)
			ended <- err
		}()
		cut.whileInFlight(p)
		r.notSent(<-ended)
		if e := r.outcomeError(p.Close(r.Context())); e.Unknown == 0 {
			r.Errorf("got %+v, expected messages to be unknown", e)
		}
	}
	p := r.publishing(stream, thump.StreamPublishing{Name: "publisher"})
	r.publish(p, all...)
	r.noError(p.Close(r.Context()))
	r.inOrder(r.take(stream, n), 1)
}

// testDedupComesBack cuts the connections of a publisher again and again while it publishes:
// it comes back by itself. With a name everything is stored once, in order. Without one, what
// is stored twice was sent again, and its outcome says so.
func testDedupComesBack(r *rig) {
	const n, cuts = 300_000, 30
	for _, way := range []thump.StreamPublishing{
		{Name: "publisher"}, {Name: "publisher", SubEntry: 100}, {Name: "publisher", Compression: thump.LZ4}, {SubEntry: 100}, {},
	} {
		stream := r.stream(thump.StreamSpec{})
		cut := &repeatedCutter{}
		cfg := r.config()
		cfg.DialContext = cut.DialContext
		client := r.dial(cfg)
		l := newLedger()
		p, err := client.Publisher(r.Context(), thump.PublisherConfig{To: thump.Stream(stream), Stream: way, OnOutcomes: l.note})
		r.noError(err)
		msgs := numbered(n)
		for first := 0; first < n; first += n / cuts {
			r.publish(p, msgs[first:first+n/cuts]...)
			cut.all()
		}
		r.noError(p.Close(r.Context()))
		l.check(r, n, always(thump.Confirmed))
		r.send(stream, thump.Message{Body: []byte("end")})
		stored := r.storedTo(stream, "end")
		twice := 0
		for ref := uint64(1); ref <= n; ref++ {
			times, resent := stored[fmt.Sprint(ref)], l.outcomes[ref][0].Resent
			if times == 0 || times > 1 && !resent || resent && way.Name != "" {
				r.Fatalf("%+v: message %d is stored %d times, sent again: %v", way, ref, times, resent)
			}
			if times > 1 {
				twice++
			}
		}
		r.Logf("%+v: %d messages are stored twice", way, twice)
	}
}

// storedTo reads a stream up to the message with that body, and returns how often each of
// those before it is there. Each comes for the first time in the order of their numbers.
func (r *rig) storedTo(stream, last string) map[string]int {
	r.Helper()
	stored := make(map[string]int)
	c := r.from(stream, thump.FromFirst())
	for batch, err := range c.Batches(r.Context()) {
		r.noError(err)
		for i := range batch.Deliveries {
			body := string(batch.Deliveries[i].Body)
			if body == last {
				r.noError(c.Close(r.Context()))
				return stored
			}
			if stored[body]++; stored[body] == 1 && body != fmt.Sprint(len(stored)) {
				r.Fatalf("message %s comes after %d others", body, len(stored)-1)
			}
		}
	}
	r.Fatal("the stream has ended")
	return nil
}

// testDedupRising publishes ids that do not rise: RabbitMQ would confirm and drop
// the message, so it is refused.
func testDedupRising(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.Stream(stream), OnOutcomes: l.note, Stream: thump.StreamPublishing{Name: "publisher"}})
	r.publish(p, thump.Message{Ref: 1, Body: []byte("1"), PublishingID: 10})
	for _, id := range []uint64{10, 9, 1} {
		n, err := p.Publish(r.Context(), thump.Message{Ref: 100, PublishingID: id})
		if n != 0 {
			r.Errorf("the publishing id %d was accepted behind 10", id)
		}
		r.says(err, fmt.Sprintf("publishing id %d ", id), "10")
	}
	n, err := p.Publish(r.Context(),
		thump.Message{Ref: 2, Body: []byte("2"), PublishingID: 11},
		thump.Message{Ref: 3, Body: []byte("3")}, // counts on
		thump.Message{Ref: 100, PublishingID: 12})
	if n != 2 {
		r.Errorf("%d messages accepted, expected the 2 before one whose id is taken", n)
	}
	r.says(err, "publishing id 12 ")
	r.publish(p, thump.Message{Ref: 4, Body: []byte("4"), PublishingID: 1 << 62}, thump.Message{Ref: 5, Body: []byte("5")})
	if got := p.LastPublishingID(); got != 1<<62+1 {
		r.Errorf("the last publishing id is %d", got)
	}
	r.noError(p.Close(r.Context()))
	l.check(r, 5, always(thump.Confirmed))
	r.inOrder(r.take(stream, 5), 1)
}

func testDedupGaps(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	msgs := numbered(500)
	for i := range msgs {
		msgs[i].PublishingID = uint64(i*i + 7)
	}
	last := msgs[len(msgs)-1].PublishingID
	r.named(stream, "publisher", thump.StreamPublishing{}, 0, msgs...)
	r.named(stream, "publisher", thump.StreamPublishing{SubEntry: 3}, last, msgs...)
	r.named(stream, "publisher", thump.StreamPublishing{}, last, thump.Message{Body: []byte("501"), PublishingID: last + 1})
	r.inOrder(r.take(stream, 501), 1)
}

// testDedupRestart is a program that counts by itself, and asks where it was.
func testDedupRestart(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	next := 1
	for range 5 {
		p := r.publishing(stream, thump.StreamPublishing{Name: "publisher"})
		if got := p.LastPublishingID(); got != uint64(next-1) {
			r.Fatalf("the last publishing id is %d, expected %d", got, next-1)
		}
		r.publish(p, numberedFrom(next, 100)...) // without ids: they count on
		next += 100
		r.noError(p.Close(r.Context()))
		if got := p.LastPublishingID(); got != uint64(next-1) {
			r.Errorf("after Close the last publishing id is %d, expected %d", got, next-1)
		}
	}
	r.inOrder(r.take(stream, 500), 1)
}

// testDedupNames has two names in one stream, and one name in two streams.
func testDedupNames(r *rig) {
	one, two := r.stream(thump.StreamSpec{}), r.stream(thump.StreamSpec{})
	long := strings.Repeat("é", 127) + "x" // 255 bytes
	r.named(one, "first", thump.StreamPublishing{}, 0, withIDs(1, 10)...)
	r.named(one, long, thump.StreamPublishing{}, 0, withIDs(1, 10)...)
	r.named(two, "first", thump.StreamPublishing{}, 0, withIDs(1, 10)...)
	r.named(one, long, thump.StreamPublishing{}, 10, withIDs(1, 10)...)
	r.take(one, 20)
	r.take(two, 10)

	// A name is one publisher's at a time on a connection; RabbitMQ does not
	// notice another connection's, and knows the highest id of both.
	p, q := r.publishing(two, thump.StreamPublishing{Name: "first"}), r.publishing(two, thump.StreamPublishing{Name: "first"})
	r.publish(p, thump.Message{PublishingID: 20})
	r.flush(p)
	r.publish(q, thump.Message{PublishingID: 15}) // confirmed, and not stored
	r.flush(q)
	r.noError(p.Close(r.Context()))
	r.noError(q.Close(r.Context()))
	r.take(two, 11)
}

// testDedupNone publishes the same twice without a name: it is stored twice.
func testDedupNone(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	for range 2 {
		p := r.publishing(stream, thump.StreamPublishing{})
		r.publish(p, numbered(10)...)
		r.noError(p.Close(r.Context()))
	}
	r.take(stream, 20)
	p := r.publishing(stream, thump.StreamPublishing{})
	if n, err := p.Publish(r.Context(), thump.Message{PublishingID: 1}); n != 0 || err == nil {
		r.Errorf("a publishing id without a name was accepted: %d, %v", n, err)
	}
	r.noError(p.Close(r.Context()))
	queue := r.publisher(thump.PublisherConfig{To: thump.Exchange("amq.fanout", "")})
	if got := queue.LastPublishingID(); got != 0 {
		r.Errorf("the publishing id of an exchange's publisher is %d", got)
	}
	r.noError(queue.Close(r.Context()))
}

// testDedupSuper publishes the same to a super stream again. Ids rise in each
// partition.
func testDedupSuper(r *rig) {
	const n = 3000
	super := r.superStream(3)
	msgs := keyed(n)
	for i := range msgs {
		msgs[i].PublishingID = uint64(i + 1)
	}
	for _, way := range []thump.StreamPublishing{{}, {SubEntry: 500}, {SubEntry: 17}} {
		way.Name = "publisher"
		p := r.publisher(thump.PublisherConfig{To: thump.SuperStream(super), Stream: way})
		r.publish(p, msgs...)
		r.noError(p.Close(r.Context()))
		if got := p.Counts(); got.Confirmed != n {
			r.Errorf("got %+v, expected %d confirmed", got, n)
		}
	}
	c := r.consumer(thump.ConsumerConfig{From: thump.SuperStream(super)})
	r.inKeyOrder(r.receive(c, n, nil), n)
	r.nothingComes(c)
	if err := c.StoreOffset(r.Context()); err == nil || errors.Is(err, thump.ErrClosed) {
		r.Errorf("storing an offset without a name: %v", err)
	}
	r.noError(c.Close(r.Context()))
}
