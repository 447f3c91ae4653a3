package conformance

import (
	"fmt"
	"time"

	"github.com/thumpmq/thump"
)

// A stream's consumer that ends by itself.
func untilCases() []conformanceCase {
	return []conformanceCase{
		{"until/between-two-times", offsets, testUntilBetween},
		{"until/nothing-in-between", offsets, testUntilNothing},
		{"until/the-future", offsets, testUntilFuture},
		{"until/empty-stream", offsets, testUntilEmpty},
		{"until/behind-stored-offsets", offsets, testUntilTracked},
		{"until/resumes", offsets, testUntilResumes},
		{"until/many-partitions", partitions, testUntilPartitions},
	}
}

// until is a consumer that ends; nil, with an error that says which, where the
// broker is too old for it.
func (r *rig) until(place string, o thump.StreamConsuming) *thump.Consumer {
	r.Helper()
	c, err := r.client.Consumer(r.Context(), thump.ConsumerConfig{From: r.to(place), Stream: o})
	if r.lacks("3.11", err) {
		return nil
	}
	r.noError(err)
	return c
}

func testUntilBetween(r *rig) {
	stream, stored := r.threeTimes()
	for _, want := range []struct {
		start       thump.Start
		until       time.Time
		first, last int
	}{
		{thump.FromFirst(), stored[0], 1, 10},
		{thump.FromFirst(), stored[1].Add(time.Millisecond), 1, 20},
		{thump.FromFirst(), stored[2], 1, 30},
		{thump.FromTime(stored[1]), stored[1], 11, 20},
		{thump.FromTime(stored[0].Add(time.Millisecond)), stored[2].Add(-time.Millisecond), 11, 20},
		{thump.FromTime(stored[1]), stored[2], 11, 30},
		{thump.FromTime(stored[1]), stored[2].Add(time.Millisecond), 11, 30},
		{thump.FromOffset(15), stored[1], 16, 20},
		{thump.FromLast(13), stored[1], 18, 20},
		{thump.FromLastChunk(), stored[2], 21, 30},
	} {
		c := r.until(stream, thump.StreamConsuming{Start: want.start, Until: want.until})
		if c == nil {
			return
		}
		got := r.ends(c)
		if len(got) != want.last-want.first+1 {
			r.Errorf("from %v until %v: got %s, expected %d to %d", want.start, want.until, bodies(got), want.first, want.last)
			continue
		}
		r.inOrder(got, want.first)
	}
}

// testUntilNothing asks for what is not there: it ends at once.
func testUntilNothing(r *rig) {
	stream, stored := r.threeTimes()
	for _, o := range []thump.StreamConsuming{
		{Until: stored[0].Add(-time.Hour)},
		{Until: stored[0].Add(-time.Millisecond)},
		{Start: thump.FromTime(stored[0].Add(time.Millisecond)), Until: stored[1].Add(-time.Millisecond)},
		{Start: thump.FromTime(stored[2]), Until: stored[0]},
		{Start: thump.FromTime(stored[2].Add(time.Millisecond)), Until: stored[2].Add(2 * time.Millisecond)},
		{Start: thump.FromTime(time.Now().Add(time.Hour)), Until: stored[2]},
		{Start: thump.FromOffset(25), Until: stored[1]},
		{Start: thump.FromOffset(1000), Until: stored[2]},
		{Start: thump.FromLast(1), Until: stored[1]},
		{Start: thump.FromLastChunk(), Until: stored[1]},
		{Start: thump.FromNext(), Until: stored[2]},
	} {
		c := r.until(stream, o)
		if c == nil {
			return
		}
		if got := r.ends(c); len(got) != 0 {
			r.Errorf("from %v until %v: got %s, expected nothing", o.Start, o.Until, bodies(got))
		}
	}
}

// testUntilFuture goes on until the time has come, also when nothing comes any
// more.
func testUntilFuture(r *rig) {
	for _, start := range []thump.Start{thump.FromFirst(), thump.FromNext()} {
		// The second ten have to be stored before the time: where that came too
		// soon, once more with a later one.
		for wait := time.Second; !r.untilFuture(start, wait); wait *= 4 {
			if wait > patience {
				r.Fatalf("from %v: publishing took longer than %v", start, wait)
			}
		}
	}
}

// untilFuture reports whether the second ten were there in time.
func (r *rig) untilFuture(start thump.Start, wait time.Duration) bool {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 10)
	until := time.Now().Add(wait)
	c := r.until(stream, thump.StreamConsuming{Start: start, Until: until})
	if c == nil {
		return true
	}
	r.chunks(stream, 11, 10)
	inTime := time.Now().Before(until)
	got := r.ends(c)
	if ended := time.Since(until); ended < 0 || ended > 30*time.Second {
		r.Errorf("from %v: it ended %v after its time", start, ended)
	}
	if !inTime {
		return false
	}
	first := 1
	if start == thump.FromNext() {
		first = 11
	}
	if len(got) != 21-first {
		r.Errorf("from %v: got %s, expected %d to 20", start, bodies(got), first)
	}
	r.inOrder(got, first)
	return true
}

func testUntilEmpty(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	for _, start := range []thump.Start{thump.FromFirst(), thump.FromLastChunk(), thump.FromNext(), thump.FromOffset(5), thump.FromTime(time.Now()), thump.FromLast(5)} {
		c := r.until(stream, thump.StreamConsuming{Start: start, Until: time.Now()})
		if c == nil {
			return
		}
		if got := r.ends(c); len(got) != 0 {
			r.Errorf("from %v of an empty stream: got %s", start, bodies(got))
		}
	}
}

// testUntilTracked has nothing but stored offsets at the end of the stream,
// which are entries of it and no messages.
func testUntilTracked(r *rig) {
	stream := r.stream(thump.StreamSpec{})
	r.chunks(stream, 1, 10)
	for i := range 20 {
		c := r.consuming(stream, thump.StreamConsuming{Name: fmt.Sprint("reader ", i)})
		r.receive(c, 10, (*thump.Batch).Ack)
		r.noError(c.Close(r.Context()))
	}
	c := r.until(stream, thump.StreamConsuming{Until: time.Now().Add(time.Millisecond)})
	if c == nil {
		return
	}
	r.inOrder(r.ends(c), 1)
}

// testUntilResumes goes on behind a stored offset, also where that is behind
// the end.
func testUntilResumes(r *rig) {
	stream, stored := r.threeTimes()
	for _, want := range []struct {
		until       time.Time
		first, last int
	}{
		{stored[0], 1, 10}, {stored[2], 11, 30}, {stored[2], 31, 30}, {stored[0], 31, 30},
	} {
		c := r.until(stream, thump.StreamConsuming{Name: "reader", Until: want.until})
		if c == nil {
			return
		}
		got := r.ends(c)
		if len(got) != want.last-want.first+1 {
			r.Errorf("until %v: got %s, expected %d to %d", want.until, bodies(got), want.first, want.last)
		}
		r.inOrder(got, want.first)
	}
}

// testUntilPartitions ends when all partitions have come to the end, of which
// one has no message at all.
func testUntilPartitions(r *rig) {
	super := r.superStream(3)
	r.send(super, keyed(200)...)
	until := time.Now().Add(100 * time.Millisecond)
	time.Sleep(200 * time.Millisecond)
	r.send(super, keyed(100)...)
	c := r.until(super, thump.StreamConsuming{Until: until})
	if c == nil {
		return
	}
	r.inKeyOrder(r.ends(c), 200)

	super = r.superStream(3)
	r.send(super, numbered(10)...) // one key, one partition
	r.inOrder(r.ends(r.until(super, thump.StreamConsuming{Until: time.Now().Add(time.Millisecond)})), 1)
}
