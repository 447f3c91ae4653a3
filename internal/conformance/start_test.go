package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/thumpmq/thump"
)

// Where a stream's consumer begins.
func startCases() []conformanceCase {
	return []conformanceCase{
		{"start/first", offsets, testStartFirst},
		{"start/first-of-what-is-left", offsets, testStartTruncated},
		{"start/last-chunk", offsets, testStartLastChunk},
		{"start/next", offsets, testStartNext},
		{"start/offset-within-a-chunk", offsets, testStartOffset},
		{"start/offset-beyond-the-end", offsets, testStartBeyond},
		{"start/time", offsets, testStartTime},
		{"start/time-to-come", offsets, testStartTimeToCome},
		{"start/time-to-come-in-partitions", partitions, testStartTimeToCome},
		{"start/again", offsets, testStartAgain},
		{"start/again-in-partitions", partitions, testStartAgain},
		{"start/last-n", offsets, testStartLast},
		{"start/last-n-behind-stored-offsets", offsets, testStartLastTracked},
		{"start/empty-stream", offsets, testStartEmpty},
		{"start/many-consumers", offsets, testManyConsumers},
	}
}

func testStartFirst(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 100, 1, 7, 500)
	unsaid, first := r.from(stream, thump.Start{}), r.from(stream, thump.FromFirst())
	r.chunks(stream, 609, 2) // it goes on with what comes
	for _, c := range []*thump.Consumer{unsaid, first} {
		got := r.receive(c, 610, nil)
		r.inOrder(got, 1)
		r.offsetsFrom(got, 0)
		r.nothingComes(c)
		r.noError(c.Close(r.Context()))
	}
}

// testStartTruncated lets a stream lose its beginning.
func testStartTruncated(r *rig) {
	const segment, size = 500_000, 10_000
	stream := r.stream(thump.StreamSpec{MaxBytes: 2 * segment, SegmentBytes: segment})
	p := r.publishing(stream, thump.StreamPublishing{SubEntry: 1})
	published := 0
	first := func() uint64 { return r.firstFrom(stream, thump.FromFirst()).Offset }
	for start := time.Now(); published == 0 || first() == 0; {
		for range 100 {
			published++
			r.publish(p, thump.Message{Body: fmt.Appendf(make([]byte, 0, size), "%0*d", size, published)})
		}
		r.flush(p)
		if time.Since(start) > patience {
			r.Fatalf("%d bytes are in a stream of at most %d", published*size, 2*segment)
		}
	}
	r.noError(p.Close(r.Context()))
	oldest := first()
	if info, err := r.client.InspectStream(r.Context(), stream); err != nil || info.Known && info.FirstOffset != oldest {
		r.Errorf("the first offset is %d, InspectStream says %+v, %v", oldest, info, err)
	}
	// What is gone is no reason to stop: the next that is there comes.
	for _, start := range []thump.Start{thump.FromOffset(0), thump.FromOffset(oldest - 1), thump.FromTime(time.Now().Add(-time.Hour))} {
		d := r.firstFrom(stream, start)
		if want := fmt.Sprintf("%0*d", size, d.Offset+1); d.Offset != oldest || string(d.Body) != want {
			r.Errorf("from %v: message %.20q at offset %d, expected %d", start, d.Body, d.Offset, oldest)
		}
	}
}

// firstFrom is the first message of a consumer that begins there.
func (r *rig) firstFrom(stream string, start thump.Start) thump.Delivery {
	r.Helper()
	c := r.from(stream, start)
	batch, err := c.Receive(r.Context())
	r.noError(err)
	first := batch.Deliveries[0].Clone()
	r.noError(c.Close(r.Context()))
	return first
}

func testStartLastChunk(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 100, 20, 7)
	c := r.from(stream, thump.FromLastChunk())
	got := r.receive(c, 7, nil)
	r.inOrder(got, 121)
	r.offsetsFrom(got, 120)
	r.nothingComes(c)
	r.chunks(stream, 128, 3)
	r.inOrder(r.receive(c, 3, nil), 128)
	r.noError(c.Close(r.Context()))
}

func testStartNext(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 50)
	c := r.from(stream, thump.FromNext())
	r.nothingComes(c)
	r.chunks(stream, 51, 5)
	got := r.receive(c, 5, nil)
	r.inOrder(got, 51)
	r.offsetsFrom(got, 50)
	r.noError(c.Close(r.Context()))
}

// testStartOffset begins at offsets within and at the edges of chunks, entries
// and batches: the broker sends the whole chunk, the consumer drops what comes
// before.
func testStartOffset(r *rig) {
	for _, o := range []thump.StreamPublishing{
		{SubEntry: 1}, {SubEntry: 7}, {SubEntry: 500}, {SubEntry: 100, Compression: thump.Zstd},
	} {
		stream := r.stream(thump.StreamSpec{})
		p := r.publishing(stream, o)
		r.publish(p, numbered(300)[:100]...)
		r.flush(p)
		r.publish(p, numbered(300)[100:]...)
		r.noError(p.Close(r.Context()))
		for _, offset := range []uint64{0, 1, 57, 99, 100, 101, 250, 299} {
			c := r.from(stream, thump.FromOffset(offset))
			got := r.receive(c, 300-int(offset), nil)
			r.inOrder(got, int(offset)+1)
			r.offsetsFrom(got, offset)
			r.noError(c.Close(r.Context()))
		}
	}
}

// testStartBeyond begins behind the end of the stream: what is published before
// that offset does not come.
func testStartBeyond(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 10)
	end, beyond := r.from(stream, thump.FromOffset(10)), r.from(stream, thump.FromOffset(25))
	r.nothingComes(end)
	r.chunks(stream, 11, 3, 3)
	r.inOrder(r.receive(end, 6, nil), 11)
	r.nothingComes(beyond)
	r.chunks(stream, 17, 20)
	got := r.receive(beyond, 11, nil)
	r.inOrder(got, 26)
	r.offsetsFrom(got, 25)
	r.noError(end.Close(r.Context()))
	r.noError(beyond.Close(r.Context()))
}

// threeTimes publishes three groups of 10 messages with time between them, and
// returns when the broker stored each.
func (r *rig) threeTimes() (stream string, stored [3]time.Time) {
	r.Helper()
	stream = r.stream(thump.StreamSpec{})
	for i := range stored {
		r.chunks(stream, 10*i+1, 10)
		time.Sleep(20 * time.Millisecond)
	}
	c := r.from(stream, thump.FromFirst())
	for i := range stored {
		batch, err := c.Receive(r.Context())
		r.noError(err)
		r.inOrder(batch.Deliveries, 10*i+1)
		if batch.Stream != stream || time.Since(batch.StoredAt).Abs() > patience || i > 0 && !batch.StoredAt.After(stored[i-1]) {
			r.Fatalf("a batch of stream %q, stored at %v", batch.Stream, batch.StoredAt)
		}
		stored[i] = batch.StoredAt
	}
	r.noError(c.Close(r.Context()))
	return stream, stored
}

func testStartTime(r *rig) {
	stream, stored := r.threeTimes()
	for _, c := range []struct {
		at    time.Time
		first int
	}{
		{stored[0].Add(-time.Hour), 1},
		{stored[0], 1},
		{stored[0].Add(time.Millisecond), 11},
		{stored[1], 11},
		{stored[2], 21},
	} {
		con := r.from(stream, thump.FromTime(c.at))
		r.inOrder(r.receive(con, 31-c.first, nil), c.first)
		r.noError(con.Close(r.Context()))
	}
	// With nothing from then on, it is what comes next.
	for _, at := range []time.Time{stored[2].Add(time.Millisecond), time.Now().Add(time.Hour)} {
		con := r.from(stream, thump.FromTime(at))
		r.nothingComes(con)
		r.noError(con.Close(r.Context()))
	}
	con := r.from(stream, thump.FromTime(stored[2].Add(time.Millisecond)))
	r.chunks(stream, 31, 4)
	r.inOrder(r.receive(con, 4, nil), 31)
	r.noError(con.Close(r.Context()))
}

// testStartTimeToCome begins at a time that is still to come: what is stored before
// it does not come, also after a restart, and what is stored then does.
func testStartTimeToCome(r *rig) {
	place := r.place()
	r.send(place, keyed(40)...)
	cfg := thump.ConsumerConfig{From: r.to(place), Stream: thump.StreamConsuming{Start: thump.FromTime(time.Now().Add(time.Hour)), Name: "reader"}}
	for i := range 2 {
		c := r.consumer(cfg)
		r.send(place, keyedFrom(41+40*i, 40)...)
		r.nothingComes(c)
		r.noError(c.Close(r.Context()))
	}
	sent := 120
	for wait := time.Second; ; wait *= 2 { // until the machine is fast enough to be early
		at := time.Now().Add(wait)
		cfg.Stream.Start = thump.FromTime(at)
		c := r.consumer(cfg)
		r.send(place, keyedFrom(sent+1, 40)...)
		sent += 40
		if early := time.Now().Before(at); !early {
			r.noError(c.Close(r.Context()))
			cfg.Stream.Name = unique("reader")
			continue
		}
		time.Sleep(time.Until(at) + 50*time.Millisecond)
		r.send(place, keyedFrom(sent+1, 40)...)
		for _, d := range r.receive(c, 40, (*thump.Batch).Ack) {
			if number, err := strconv.Atoi(string(d.Body)); err != nil || number <= sent {
				r.Errorf("message %s came, which was stored before the time", d.Body)
			}
		}
		r.nothingComes(c)
		r.noError(c.Close(r.Context()))
		return
	}
}

// testStartAgain has two consumers of one Name and one Start, one after the other, while
// messages are stored before and after that Start, at random moments. Nothing but an ack
// moves the stored offset: the second gets all from the Start on but what the first has
// acked, and neither gets anything before the Start.
func testStartAgain(r *rig) {
	seed := rand.Uint64()
	r.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 5 {
		r.startAgain(random)
	}
}

func (r *rig) startAgain(random *rand.Rand) {
	const steps = 12
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	place := r.place()
	at := time.Now().Add(upTo(600 * time.Millisecond))
	cfg := thump.ConsumerConfig{From: r.to(place), MaxBatch: 1 + random.IntN(20), Stream: thump.StreamConsuming{
		Name: "reader", Start: thump.FromTime(at), StoreEvery: 1 + random.IntN(10), StoreInterval: time.Millisecond + upTo(20*time.Millisecond),
		SingleActive: r.atLeast("3.11") && random.IntN(2) == 0,
	}}
	sent := 0
	acked := make(map[string]bool)
	var first *thump.Consumer
	opened, closed := random.IntN(4), 6+random.IntN(4)
	for step := range steps {
		switch {
		case step == opened:
			first = r.consumer(cfg)
		case step == closed:
			r.noError(first.Close(r.Context()))
		case random.IntN(3) > 0:
			r.send(place, keyedFrom(sent+1, 20)...)
			sent += 20
		}
		pause := r.within(upTo(60 * time.Millisecond))
		if opened <= step && step < closed {
			r.ackSome(first, pause, random, acked)
		}
		<-pause.Done()
	}
	time.Sleep(time.Until(at) + 10*time.Millisecond)
	r.send(place, keyedFrom(sent+1, 20)...)
	sent += 20

	wanted := make(map[string]bool) // of the second
	missed := make(map[string]bool) // partitions where the first did not ack all
	all := r.consumer(thump.ConsumerConfig{From: r.to(place)})
	for read := 0; read < sent; {
		batch, err := all.Receive(r.Context())
		r.noError(err)
		read += len(batch.Deliveries)
		for _, d := range batch.Deliveries {
			if batch.StoredAt.UnixMilli() >= at.UnixMilli() {
				missed[batch.Stream] = missed[batch.Stream] || !acked[string(d.Body)]
				wanted[string(d.Body)] = missed[batch.Stream]
			} else if acked[string(d.Body)] {
				r.Errorf("message %s came, which was stored at %v, before %v", d.Body, batch.StoredAt, at)
			}
		}
	}
	r.noError(all.Close(r.Context()))
	maps.DeleteFunc(wanted, func(_ string, again bool) bool { return !again })
	second := r.consumer(cfg)
	for _, d := range r.receive(second, len(wanted), nil) {
		if !wanted[string(d.Body)] {
			r.Errorf("message %s came again, or from before the start", d.Body)
		}
	}
	r.nothingComes(second)
	second.Stop()
	_ = second.Close(r.within(time.Millisecond)) // it has acked nothing
}

// ackSome acks most of what comes until ctx ends, and releases the rest.
func (r *rig) ackSome(c *thump.Consumer, ctx context.Context, random *rand.Rand, acked map[string]bool) {
	for {
		batch, err := c.Receive(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		r.noError(err)
		for i := range batch.Deliveries {
			d := &batch.Deliveries[i]
			settle := (*thump.Delivery).Ack
			if random.IntN(100) == 0 {
				settle = (*thump.Delivery).Release
			} else {
				acked[string(d.Body)] = true
			}
			r.noError(settle(d))
		}
	}
}

// testStartLast asks for the last n messages, which is exact where a stream has
// no offsets stored in it.
func testStartLast(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 100, 50, 9)
	for _, n := range []int{0, 1, 8, 9, 10, 59, 60, 158, 159, 160, 1_000_000} {
		c, err := r.client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Stream(stream), Stream: thump.StreamConsuming{Start: thump.FromLast(uint64(n))}})
		if r.lacks("3.11", err) {
			return
		}
		r.noError(err)
		n = min(n, 159)
		got := r.receive(c, n, nil)
		r.inOrder(got, 160-n)
		r.offsetsFrom(got, uint64(159-n))
		r.nothingComes(c)
		r.noError(c.Close(r.Context()))
	}
	c := r.from(stream, thump.FromLast(0))
	r.chunks(stream, 160, 2)
	r.inOrder(r.receive(c, 2, nil), 160)
	r.noError(c.Close(r.Context()))
}

// testStartLastTracked has offsets of consumers, which are entries of the
// stream, at its end: FromLast may then bring a few less, and never more.
func testStartLastTracked(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 100)
	for i := range 3 {
		c := r.consuming(stream, thump.StreamConsuming{Name: fmt.Sprint("reader ", i)})
		r.receive(c, 100, (*thump.Batch).Ack)
		r.noError(c.Close(r.Context()))
	}
	c, err := r.client.Consumer(r.Context(), thump.ConsumerConfig{From: thump.Stream(stream), Stream: thump.StreamConsuming{Start: thump.FromLast(10)}})
	if r.lacks("3.11", err) {
		return
	}
	r.noError(err)
	batch, err := c.Receive(r.Context())
	r.noError(err)
	if n := len(batch.Deliveries); n > 10 || n < 10-3 {
		r.Errorf("the last 10 messages, with 3 stored offsets behind them, are %d", n)
	}
	r.inOrder(batch.Deliveries, 101-len(batch.Deliveries))
	r.noError(c.Close(r.Context()))
}

// testStartEmpty begins in a stream that never had a message.
func testStartEmpty(r *rig) {
	starts := []thump.Start{
		thump.FromFirst(), thump.FromLastChunk(), thump.FromNext(), thump.FromOffset(0), thump.FromTime(time.Now()),
	}
	if r.atLeast("3.11") {
		starts = append(starts, thump.FromLast(0), thump.FromLast(10))
	}
	stream := r.stream(thump.StreamSpec{})
	var consumers []*thump.Consumer
	for _, start := range starts {
		consumers = append(consumers, r.from(stream, start))
	}
	r.nothingComes(consumers[0])
	r.chunks(stream, 1, 5)
	for _, c := range consumers {
		r.inOrder(r.receive(c, 5, nil), 1)
		r.noError(c.Close(r.Context()))
	}
}

// testManyConsumers reads one stream from many places at once.
func testManyConsumers(r *rig) {
	const consumers, n = 20, 2000
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, n/2)
	var list []*thump.Consumer
	for i := range consumers {
		list = append(list, r.from(stream, thump.FromOffset(uint64(i*10))))
	}
	r.chunks(stream, n/2+1, n/4, n/4)
	for i, c := range list {
		r.inOrder(r.receive(c, n-i*10, nil), i*10+1)
		r.nothingComes(c)
		r.noError(c.Close(r.Context()))
	}
}
