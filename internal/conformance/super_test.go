package conformance

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/thumpmq/thump"
)

// Super streams: which partition a message goes to, and that all are read.
func superCases() []conformanceCase {
	return []conformanceCase{
		{"super/by-hash", partitions, testSuperHash},
		{"super/by-key", partitions, testSuperByKey},
		{"super/partitions-are-a-set", partitions, testPartitionsAreASet},
		{"super/inspected", partitions, testSuperInspected},
		{"super/by-key-bound-later", partitions, testBoundLater},
		{"super/by-key-bound-twice", partitions, testBoundTwice},
		{"super/order-within-a-key", partitions, testSuperOrder},
		{"super/start-and-stored-offsets", partitions, testSuperOffsets},
		{"super/partition-deleted-while-publishing", partitions, testPartitionDeleted},
		{"super/partition-deleted-under-a-consumer", partitions, testPartitionDeletedUnder},
		{"super/compressed-within-the-window", partitions, testCompressedWindow},
	}
}

const keys = 20

// keyed are n messages whose routing keys take turns; body and Ref are the
// number.
func keyed(n int) []thump.Message { return keyedFrom(1, n) }

// keyedFrom are n messages of keyed, from number first on.
func keyedFrom(first, n int) []thump.Message {
	msgs := numberedFrom(first, n)
	for i := range msgs {
		msgs[i].RoutingKey = fmt.Sprint("key-", (first+i-1)%keys)
	}
	return msgs
}

// inKeyOrder expects deliveries of all of keyed(n), those of each key in order.
func (r *rig) inKeyOrder(got []thump.Delivery, n int) {
	r.Helper()
	if len(got) != n {
		r.Fatalf("%d deliveries, expected %d", len(got), n)
	}
	next := make([]int, keys)
	for i := range next {
		next[i] = i + 1
	}
	for i := range got {
		number, err := strconv.Atoi(string(got[i].Body))
		r.noError(err)
		key := (number - 1) % keys
		if number != next[key] {
			r.Fatalf("message %d came when %d was the next of its key", number, next[key])
		}
		next[key] += keys
	}
}

// contents are the bodies in each partition of a super stream, in order.
func (r *rig) contents(super string, n int) map[string][]string {
	r.Helper()
	c := r.consumer(thump.ConsumerConfig{From: thump.SuperStream(super)})
	got := make(map[string][]string)
	for left := n; left > 0; {
		batch, err := c.Receive(r.Context())
		r.noError(err)
		for i := range batch.Deliveries {
			got[batch.Stream] = append(got[batch.Stream], string(batch.Deliveries[i].Body))
		}
		left -= len(batch.Deliveries)
	}
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
	return got
}

// testSuperHash compares with where the official Go client's tests have these
// keys: MurmurHash3 with the seed 104729, modulo the partitions.
func testSuperHash(r *rig) {
	super := r.superStream(3)
	names, err := r.client.Partitions(r.Context(), super)
	r.noError(err)
	if want := []string{super + "-0", super + "-1", super + "-2"}; !slices.Equal(names, want) {
		r.Fatalf("the partitions are %v, expected %v", names, want)
	}
	where := map[string]int{
		"hello1": 1, "hello2": 0, "hello3": 1, "hello4": 2, "hello5": 0, "hello6": 2,
		"hello7": 0, "hello8": 1, "hello9": 0, "hello10": 2, "hello88": 1,
	}
	p := r.publisher(thump.PublisherConfig{To: thump.SuperStream(super)})
	for key := range where {
		r.publish(p, thump.Message{RoutingKey: key, Body: []byte(key)})
	}
	r.noError(p.Close(r.Context()))
	for stream, got := range r.contents(super, len(where)) {
		for _, key := range got {
			if want := names[where[key]]; stream != want {
				r.Errorf("key %s went to %s, expected %s", key, stream, want)
			}
		}
	}
}

// testSuperByKey lets the bindings decide. A key that nothing is bound with is
// like a message that no queue wants.
func testSuperByKey(r *rig) {
	super := r.superStream(3)
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{
		To: thump.SuperStream(super), OnOutcomes: l.note, Stream: thump.StreamPublishing{RouteByKey: true},
	})
	msgs := numbered(100)
	for i := range msgs {
		msgs[i].RoutingKey = fmt.Sprint(i % 5) // three of which are bound
	}
	r.publish(p, msgs...)
	e := r.outcomeError(p.Flush(r.Context()))
	if e.Returned != 40 || e.Published != 100 || e.Rejected+e.Unknown != 0 || e.Err != nil {
		r.Errorf("got %+v, expected 40 of 100 returned", e)
	}
	r.says(e, super, "312", "NO_ROUTE")
	if got := p.Counts(); got.Returned != 40 || got.Confirmed != 60 || got.InFlight != 0 {
		r.Errorf("got %+v, expected 40 returned", got)
	}
	r.flush(p) // told once
	r.publish(p, thump.Message{Ref: 101, RoutingKey: "1", Body: []byte("101")})
	r.noError(p.Close(r.Context()))
	l.check(r, 101, func(ref uint64) thump.Status {
		if ref <= 100 && (ref-1)%5 > 2 {
			return thump.Returned
		}
		return thump.Confirmed
	})
	for stream, got := range r.contents(super, 61) {
		partition := strings.TrimPrefix(stream, super+"-")
		for _, body := range got {
			number, _ := strconv.Atoi(body)
			if want := fmt.Sprint((number - 1) % 5); number <= 100 && want != partition {
				r.Errorf("message %d with the key %s is in partition %s", number, want, partition)
			}
		}
	}
}

// testSuperOrder sends much with keys that are spread over the partitions.
func testSuperOrder(r *rig) {
	const n = 30_000
	super := r.superStream(5)
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.SuperStream(super), Window: 1000, OnOutcomes: l.note})
	c := r.consumer(thump.ConsumerConfig{From: thump.SuperStream(super)})
	sent := make(chan error, 1)
	ctx := r.Context()
	go func() {
		for chunk := range slices.Chunk(keyed(n), 77) {
			if _, err := p.Publish(ctx, chunk...); err != nil {
				sent <- err
				return
			}
		}
		sent <- p.Close(ctx)
	}()
	r.inKeyOrder(r.receive(c, n, (*thump.Batch).Ack), n)
	r.noError(<-sent)
	r.noError(c.Close(ctx))
	l.check(r, n, always(thump.Confirmed))
	got := r.contents(super, n)
	if len(got) != 5 {
		r.Errorf("%d keys are in %d of 5 partitions", keys, len(got))
	}
}

// testSuperOffsets stores where a consumer is in each partition.
func testSuperOffsets(r *rig) {
	const n = 600
	super := r.superStream(3)
	r.send(super, keyed(n)...)
	cfg := thump.ConsumerConfig{From: thump.SuperStream(super), MaxBatch: 10, Stream: thump.StreamConsuming{Name: "reader"}}
	c := r.consumer(cfg)
	var got []thump.Delivery
	for len(got) < 300 {
		batch, err := c.Receive(r.Context())
		r.noError(err)
		for i := range batch.Deliveries {
			got = append(got, batch.Deliveries[i].Clone())
		}
		r.noError(batch.Ack())
	}
	r.noError(c.Close(r.Context()))
	names, err := r.client.Partitions(r.Context(), super)
	r.noError(err)
	handled := 0
	for _, name := range names {
		offset, found, err := r.client.QueryOffset(r.Context(), name, "reader")
		r.noError(err)
		if found {
			handled += int(offset) + 1
		}
	}
	if handled != len(got) {
		r.Errorf("the stored offsets say that %d messages were handled, expected %d", handled, len(got))
	}
	c = r.consumer(cfg)
	got = append(got, r.receive(c, n-len(got), (*thump.Batch).Ack)...)
	r.nothingComes(c)
	r.noError(c.Close(r.Context()))
	r.inKeyOrder(got, n)

	c = r.consumer(thump.ConsumerConfig{From: thump.SuperStream(super), Stream: thump.StreamConsuming{Start: thump.FromNext()}})
	r.nothingComes(c)
	r.send(super, keyed(40)...)
	r.inKeyOrder(r.receive(c, 40, nil), 40)
	r.noError(c.Close(r.Context()))
}

// testPartitionDeleted takes one of the partitions away: the publisher ends, and
// says what is known.
func testPartitionDeleted(r *rig) {
	super := r.superStream(3)
	l := newLedger()
	p := r.publisher(thump.PublisherConfig{To: thump.SuperStream(super), Window: 1000, OnOutcomes: l.note})
	r.deletedWhile(p, l, keyedFrom, super+"-1", func() error { return r.client.DeleteStream(r.Context(), super+"-1") })
}

func testPartitionDeletedUnder(r *rig) {
	super := r.superStream(3)
	r.send(super, keyed(100)...)
	c := r.consumer(thump.ConsumerConfig{From: thump.SuperStream(super)})
	r.inKeyOrder(r.receive(c, 100, nil), 100)
	r.noError(r.client.DeleteStream(r.Context(), super+"-2"))
	_, err := c.Receive(r.Context())
	r.brokerError(err, 2) // it has looked whether it can come back
	r.says(err, super+"-2")
	select {
	case <-c.Done():
	case <-time.After(5 * time.Second):
		r.Error("Done is open after the consumer has ended")
	}
	r.noError(c.Close(r.Context()))
}

// testPartitionsAreASet binds partitions once more: they stay as many as there are
// streams, and everything is stored and read once.
func testPartitionsAreASet(r *rig) {
	const n = 1000
	super := r.superStream(2)
	want, err := r.client.Partitions(r.Context(), super)
	r.noError(err)
	for i, key := range []string{"more", "and-more", "and-still-more"} {
		r.bind(thump.Binding{Source: super, Queue: want[1-i%2], RoutingKey: key})
	}
	r.bind(thump.Binding{Source: super, Queue: want[1], RoutingKey: "ordered", Arguments: thump.Table{{Key: "x-stream-partition-order", Value: 7}}})
	got, err := r.client.Partitions(r.Context(), super)
	r.noError(err)
	if !slices.Equal(got, want) {
		r.Fatalf("bound several times, the partitions are %v, expected %v", got, want)
	}
	if r.atLeast("3.13") {
		r.noError(r.client.DeclareSuperStream(r.Context(), thump.SuperStreamSpec{StreamSpec: thump.StreamSpec{Name: super}, Partitions: 2}))
	}
	for _, o := range []thump.StreamPublishing{{Name: "publisher"}, {Name: "another", SubEntry: 1}} {
		l := newLedger()
		p := r.publisher(thump.PublisherConfig{To: thump.SuperStream(super), OnOutcomes: l.note, Stream: o})
		r.publish(p, keyed(n)...)
		r.noError(p.Close(r.Context()))
		l.check(r, n, always(thump.Confirmed))
	}
	// contents makes sure that no more comes.
	times := make(map[string]int)
	for _, bodies := range r.contents(super, 2*n) {
		for _, body := range bodies {
			times[body]++
		}
	}
	for i := range n {
		if body := fmt.Sprint(i + 1); times[body] != 2 {
			r.Fatalf("message %s came %d times from two publishers, expected 2", body, times[body])
		}
	}
}

// testSuperInspected describes a super stream: the binding keys are known that the names tell, and of
// which each is the only one of its partition.
func testSuperInspected(r *rig) {
	super := r.superStream(4)
	inspect := func(want ...thump.Partition) {
		r.Helper()
		got, err := r.client.InspectSuperStream(r.Context(), super)
		r.noError(err)
		if got.Name != super || !slices.Equal(got.Partitions, want) {
			r.Fatalf("got %+v, expected %+v", got, want)
		}
	}
	all := make([]thump.Partition, 4)
	for i := range all {
		all[i] = thump.Partition{Name: fmt.Sprint(super, "-", i), BindingKey: fmt.Sprint(i), Known: true}
	}
	inspect(all...)
	r.bind(thump.Binding{Source: super, Queue: all[1].Name, RoutingKey: "more"})
	r.bind(thump.Binding{Source: super, Queue: all[2].Name, RoutingKey: "3"}) // and so the key 3 leads to two
	unnamed := r.stream(thump.StreamSpec{Name: unique("unnamed")})
	r.bind(thump.Binding{Source: super, Queue: unnamed, RoutingKey: "4", Arguments: thump.Table{{Key: "x-stream-partition-order", Value: 4}}})
	for i := 1; i < 4; i++ {
		all[i].BindingKey, all[i].Known = "", false
	}
	inspect(append(all, thump.Partition{Name: unnamed})...)
	_, err := r.client.InspectSuperStream(r.Context(), super+"-none")
	if !thump.IsNotFound(err) {
		r.Errorf("one that does not exist: %v", err)
	}
}

// testBoundLater publishes with a key that is bound only after that: the broker is
// asked again.
func testBoundLater(r *rig) {
	super := r.superStream(2)
	p := r.publisher(thump.PublisherConfig{To: thump.SuperStream(super), Stream: thump.StreamPublishing{RouteByKey: true}})
	send := func() (returned bool) {
		r.publish(p, thump.Message{RoutingKey: "later", Body: []byte("hello")})
		err := p.Flush(r.Context())
		if err == nil {
			return false
		}
		if e := r.outcomeError(err); e.Returned != 1 || e.Err != nil {
			r.Fatalf("got %+v, expected it returned", e)
		}
		return true
	}
	if !send() {
		r.Fatal("a message whose key is not bound was not returned")
	}
	r.bind(thump.Binding{Source: super, Queue: super + "-1", RoutingKey: "later"})
	for start := time.Now(); send(); time.Sleep(50 * time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			r.Fatal("the key stays unknown to the publisher after it was bound")
		}
	}
	r.noError(p.Close(r.Context()))
	if got := r.contents(super, 1); len(got[super+"-1"]) != 1 {
		r.Errorf("got %v, expected one message in partition 1", got)
	}
}

// testBoundTwice has a key of two partitions: a message has one outcome, so it is
// refused before it leaves, and the publisher goes on.
func testBoundTwice(r *rig) {
	super := r.superStream(2)
	for _, partition := range []string{super + "-0", super + "-1"} {
		r.bind(thump.Binding{Source: super, Queue: partition, RoutingKey: "both"})
	}
	p := r.publisher(thump.PublisherConfig{To: thump.SuperStream(super), Stream: thump.StreamPublishing{RouteByKey: true}})
	n, err := p.Publish(r.Context(), thump.Message{RoutingKey: "0", Body: []byte("one")}, thump.Message{RoutingKey: "both", Body: []byte("two")})
	r.says(err, `"both"`, "2 partitions")
	if n != 1 {
		r.Errorf("accepted %d messages, expected 1", n)
	}
	r.noError(p.Close(r.Context()))
	r.contents(super, 1)
}

// testCompressedWindow publishes compressed batches to several partitions at once: while one
// compresses, the others go on, and together they keep within the window.
func testCompressedWindow(r *rig) {
	const window, publishers, n = 1000, 6, 5_000
	p := r.publisher(thump.PublisherConfig{To: r.to(r.place()), Window: window, Stream: thump.StreamPublishing{SubEntry: 50, Compression: thump.Gzip}})
	var publishing sync.WaitGroup
	for i := range publishers {
		publishing.Go(func() {
			msgs := numbered(n)
			for j := range msgs {
				msgs[j].RoutingKey = fmt.Sprint("key-", i)
			}
			if accepted, err := p.Publish(r.Context(), msgs...); err != nil || accepted != n {
				r.Errorf("%d messages were accepted: %v", accepted, err)
			}
		})
	}
	over := make(chan struct{})
	most := uint64(0)
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				most = max(most, p.Counts().InFlight)
			}
		}
	})
	publishing.Wait()
	close(over)
	watching.Wait()
	r.noError(p.Close(r.Context()))
	if got := p.Counts(); most > window || got.Confirmed != publishers*n {
		r.Errorf("%d messages were in flight at once, and the window is %d: %+v", most, window, got)
	}
}
