package amqpconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/transport"
)

// countedBuffer returns a read buffer that holds n numbered bodies of four
// bytes.
func countedBuffer(n, first int) *transport.Buffer {
	b := transport.NewBuffer(4 * n)
	for i := range n {
		copy(b.Bytes[4*i:], fmt.Sprintf("%04d", first+i))
	}
	return b
}

// bufferBody is the i-th body in a buffer.
func bufferBody(b *transport.Buffer, i int) []byte { return b.Bytes[4*i : 4*i+4] }

// fill puts one delivery for each of the n bodies of buf into in, and gives up
// the reader's reference.
func fill(in *Inbox, buf *transport.Buffer, n int) {
	for i := range n {
		in.arriving.add(&Delivery{Body: bufferBody(buf, i)}, buf)
	}
	in.put()
	buf.Release()
}

// checkBodies makes sure that the bodies of d count on from first.
func checkBodies(t *testing.T, d *Deliveries, first, n int) {
	t.Helper()
	if len(d.List) != n {
		t.Fatalf("%d deliveries, want %d", len(d.List), n)
	}
	for i := range d.List {
		if got, want := string(d.List[i].Body), fmt.Sprintf("%04d", first+i); got != want {
			t.Fatalf("delivery %d is %q, want %q", i, got, want)
		}
	}
}

func TestInboxTake(t *testing.T) {
	in := newInbox("c")
	one, two := countedBuffer(3, 0), countedBuffer(4, 3)
	fill(in, one, 3)
	fill(in, two, 4)
	own := Delivery{Body: []byte("0007")}
	in.arriving.add(&own, nil)
	in.put()
	if in.waiting() != 8 {
		t.Errorf("%d wait, want 8", in.waiting())
	}

	var d Deliveries
	for _, step := range []struct{ limit, first, n, one, two int }{
		{2, 0, 2, 2, 1},   // a part of the first run: shared with what waits
		{3, 2, 3, 1, 2},   // its rest, and a part of the second
		{1, 5, 1, 0, 2},   // within the second
		{100, 6, 2, 0, 1}, // the rest, and one that owns its memory
	} {
		if err := in.Take(t.Context(), &d, step.limit); err != nil {
			t.Fatal(err)
		}
		checkBodies(t, &d, step.first, step.n)
		if one.Refs() != step.one || two.Refs() != step.two {
			t.Errorf("after a take of %d: %d and %d references, want %d and %d",
				step.n, one.Refs(), two.Refs(), step.one, step.two)
		}
	}
	if in.Bytes != 0 || in.waiting() != 0 {
		t.Errorf("%d deliveries and %d bytes are left", in.waiting(), in.Bytes)
	}
	d.Release()
	d.Release() // nothing is released twice
	if two.Refs() != 0 {
		t.Errorf("%d references are left", two.Refs())
	}
}

// TestInboxBuffersReturn puts and takes at random, and poisons every buffer as
// soon as it is back in the pool: a body that is read must not be poisoned, and
// in the end all must be.
func TestInboxBuffersReturn(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 2))
		in := newInbox("c")
		var buffers []*transport.Buffer
		poison := func() {
			for _, b := range buffers {
				switch refs := b.Refs(); {
				case refs == 0:
					clear(b.Bytes)
				case refs < 0:
					t.Fatalf("seed %d: a buffer was released %d times too often", seed, -refs)
				}
			}
		}
		var d Deliveries
		put, taken := 0, 0
		for range 200 {
			if random.IntN(2) == 0 {
				n := 1 + random.IntN(9)
				b := countedBuffer(n, put)
				buffers = append(buffers, b)
				fill(in, b, n)
				put += n
			}
			poison()
			checkBodies(t, &d, taken-len(d.List), len(d.List))
			if random.IntN(2) == 0 && in.waiting() > 0 {
				if err := in.Take(t.Context(), &d, 1+random.IntN(12)); err != nil {
					t.Fatal(err)
				}
				taken += len(d.List)
			}
		}
		d.Release()
		in.End(io.EOF)
		for in.Take(t.Context(), &d, 7) == nil {
			taken += len(d.List)
		}
		if taken != put {
			t.Fatalf("seed %d: %d put, %d taken", seed, put, taken)
		}
		for i, b := range buffers {
			if b.Refs() != 0 {
				t.Fatalf("seed %d: buffer %d has %d references", seed, i, b.Refs())
			}
		}
	}
}

// TestInboxCountsBuffers: what waits counts with all of the read buffer that it is in,
// once, and for as long as it keeps that.
func TestInboxCountsBuffers(t *testing.T) {
	const size = 160_000
	buf := transport.NewBuffer(size)
	in := newInbox("c")
	put := func(from, bytes int) {
		in.arriving.add(&Delivery{Body: buf.Bytes[from : from+bytes]}, buf)
		in.put()
	}
	check := func(waiting, held int) {
		t.Helper()
		if want := waiting*deliveryOverhead + held; in.waiting() != waiting || in.Bytes != want {
			t.Errorf("%d wait and count as %d bytes, want %d and %d", in.waiting(), in.Bytes, waiting, want)
		}
	}
	put(0, size/leastPart)
	check(1, size)
	put(20_000, size/leastPart) // another read, the same buffer
	check(2, size)
	in.arriving.add(&Delivery{Body: make([]byte, 100_000), Properties: make([]byte, 1000)}, nil)
	in.put()
	check(3, size+101_000)

	var d Deliveries
	for _, held := range []int{size + 101_000, 101_000, 0} {
		if err := in.Take(t.Context(), &d, 1); err != nil {
			t.Fatal(err)
		}
		check(in.waiting(), held)
	}
	d.Release()
	if buf.Refs() != 1 {
		t.Errorf("%d references are left, not the reader's alone", buf.Refs())
	}
}

// TestInboxCountsNames: texts that deliveries do not share are memory too.
func TestInboxCountsNames(t *testing.T) {
	in := newInbox("c")
	for _, key := range []string{"one", "one", "three"} {
		d := Delivery{}
		d.Exchange, d.RoutingKey = in.names(amqpproto.DeliverView{Exchange: []byte("exchange"), RoutingKey: []byte(key)})
		in.arriving.add(&d, nil)
		in.put()
	}
	if want := 3*deliveryOverhead + len("exchangeonethree"); in.Bytes != want {
		t.Errorf("they count as %d bytes, want %d", in.Bytes, want)
	}
}

// TestInboxCopiesOut: deliveries that are a small part of a read buffer do not keep it,
// and stay as they are when the buffer is read into again.
func TestInboxCopiesOut(t *testing.T) {
	in := newInbox("c")
	buf := transport.NewBuffer(160_000)
	fits := buf.Bytes[:160_000/leastPart-1]
	for i := range fits {
		fits[i] = byte(i)
	}
	want := slices.Clone(fits)
	in.arriving.add(&Delivery{Body: fits[:100], Properties: fits[100:200]}, buf)
	in.arriving.add(&Delivery{Properties: fits[200:200]}, buf)
	in.arriving.add(&Delivery{Body: fits[200:]}, buf)
	in.put()
	if buf.Refs() != 1 {
		t.Errorf("%d references to the buffer, not the reader's alone", buf.Refs())
	}
	clear(buf.Bytes)
	var d Deliveries
	if err := in.Take(t.Context(), &d, 10); err != nil {
		t.Fatal(err)
	}
	got := slices.Concat(d.List[0].Body, d.List[0].Properties, d.List[2].Body)
	if !bytes.Equal(got, want) || d.List[1].Body != nil || d.List[1].Properties == nil {
		t.Errorf("%d bytes, want %d; %v", len(got), len(want), d.List[1])
	}
	_ = append(d.List[0].Body, 'x')
	if d.List[0].Properties[0] != want[100] {
		t.Error("appending to a body writes over what follows it")
	}
	if in.Bytes != 0 {
		t.Errorf("%d bytes are left", in.Bytes)
	}
}

// TestInboxLimit: a full inbox holds up the reader, until there is room, it
// drains, or it has ended.
func TestInboxLimit(t *testing.T) {
	large := Delivery{Body: make([]byte, inboxRoom+1)}
	small := Delivery{Body: []byte("small")}
	for _, test := range []struct {
		name    string
		let     func(*testing.T, *Inbox)
		waiting int // afterwards
	}{
		{"taken", func(t *testing.T, in *Inbox) {
			var d Deliveries
			if err := in.Take(t.Context(), &d, 1); err != nil {
				t.Error(err)
			}
		}, 1},
		{"drained", func(_ *testing.T, in *Inbox) { in.Drain() }, 1},
		{"ended", func(_ *testing.T, in *Inbox) { in.End(io.EOF) }, 2},
		{"ended, and what is there is dropped", func(_ *testing.T, in *Inbox) { in.DropRest(); in.End(io.EOF) }, 1},
		{"shut", func(_ *testing.T, in *Inbox) { in.Shut(io.EOF) }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newInbox("c")
				in.arriving.add(&large, nil)
				in.put()
				done := false
				go func() {
					in.arriving.add(&small, nil)
					in.put()
					done = true
				}()
				synctest.Wait()
				if done || in.waiting() != 1 {
					t.Fatalf("the reader went on, %d wait", in.waiting())
				}
				test.let(t, in)
				synctest.Wait()
				if !done || in.waiting() != test.waiting {
					t.Errorf("done %v, %d wait, want %d", done, in.waiting(), test.waiting)
				}
			})
		})
	}
}

// TestInboxEndWhileFull: whoever takes faster than the reader goes on gets the rest too.
func TestInboxEndWhileFull(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			in := newInbox("c")
			in.arriving.add(&Delivery{Body: make([]byte, inboxRoom+1)}, nil)
			in.put()
			go func() {
				in.arriving.add(&Delivery{Body: []byte("rest")}, nil)
				in.put()
			}()
			synctest.Wait()
			in.End(io.EOF)
			var d Deliveries
			for taken := range 2 {
				if err := in.Take(t.Context(), &d, 1); err != nil {
					t.Fatalf("after %d deliveries: %v", taken, err)
				}
				select {
				case <-in.Done():
					if taken == 0 {
						t.Fatal("it is done before the rest is taken")
					}
				default:
				}
			}
			<-in.Done()
			if err := in.Take(t.Context(), &d, 1); !errors.Is(err, io.EOF) {
				t.Errorf("got %v, want EOF", err)
			}
		})
	}
}

func TestInboxEnd(t *testing.T) {
	in := newInbox("c")
	in.arriving.add(&Delivery{Body: []byte("last")}, nil)
	in.put()
	in.End(io.EOF)
	in.End(io.ErrUnexpectedEOF) // the first counts

	late := countedBuffer(1, 0) // it was read before whoever ended the inbox did so
	fill(in, late, 1)
	var d Deliveries
	if err := in.Take(t.Context(), &d, 10); err != nil || len(d.List) != 2 {
		t.Errorf("took %d, %v, want both", len(d.List), err)
	}
	for range 2 {
		if err := in.Take(t.Context(), &d, 10); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want EOF", err)
		}
	}
}

// TestInboxEndedIsBounded: a broker that does not stop delivering fills no memory, and
// the reader does not wait.
func TestInboxEndedIsBounded(t *testing.T) {
	for name, end := range map[string]func(*Inbox){
		"ended": func(in *Inbox) { in.End(io.EOF) }, "drains": func(in *Inbox) { in.Drain() }, "shut": func(in *Inbox) { in.Shut(io.EOF) },
	} {
		in := newInbox("c")
		end(in)
		for range 100 {
			in.arriving.add(&Delivery{Body: make([]byte, inboxRoom/4)}, nil)
			in.put()
		}
		if in.Bytes > 2*inboxRoom {
			t.Errorf("%s: %d bytes wait", name, in.Bytes)
		}
	}
}

func TestInboxTakeGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInbox("c")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		defer in.Watch(ctx)()
		var d Deliveries
		if err := in.Take(ctx, &d, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		// What is there is for a context that has not ended.
		in.arriving.add(&Delivery{}, nil)
		in.put()
		if err := in.Take(ctx, &d, 1); !errors.Is(err, context.DeadlineExceeded) || len(d.List) != 0 {
			t.Errorf("took %d, %v", len(d.List), err)
		}
		if err := in.Take(t.Context(), &d, 1); err != nil || len(d.List) != 1 {
			t.Errorf("took %d, %v", len(d.List), err)
		}
	})
}

// TestInboxLetsGo: memory that deliveries own is not kept alive by the room that
// is used again.
func TestInboxLetsGo(t *testing.T) {
	in := newInbox("c")
	add := func(n int) {
		for range n {
			in.arriving.add(&Delivery{Body: make([]byte, 10)}, nil)
		}
		in.put()
	}
	add(1)
	add(5) // appended behind the first
	var d Deliveries
	for _, limit := range []int{2, 2, 10} {
		if err := in.Take(t.Context(), &d, limit); err != nil {
			t.Fatal(err)
		}
	}
	d.Release()
	for name, list := range map[string][]Delivery{"taken": d.List, "pending": in.pending.List, "arriving": in.arriving.List} {
		for i, kept := range list[:cap(list)] {
			if kept.Body != nil {
				t.Errorf("%s keeps body %d", name, i)
			}
		}
	}
}

// TestInboxLetsBuffersGo: nor are buffers that were handed on.
func TestInboxLetsBuffersGo(t *testing.T) {
	in := newInbox("c")
	var d Deliveries
	number := 0
	put := func() {
		fill(in, countedBuffer(2, number), 2)
		number += 2
	}
	take := func(limit int) {
		if err := in.Take(t.Context(), &d, limit); err != nil {
			t.Fatal(err)
		}
		d.LetGo()
	}
	for range 3 {
		put()
	}
	take(5) // the first run that is left is shared
	put()   // and moves up
	put()
	take(1)
	for name, runs := range map[string][]run{"taken": d.runs, "arriving": in.arriving.runs, "pending": in.pending.runs[len(in.pending.runs):]} {
		for i, kept := range runs[:cap(runs)] {
			if kept.buf != nil {
				t.Errorf("%s keeps the buffer of run %d", name, i)
			}
		}
	}
	for i, kept := range in.pending.runs[:in.firstRun] {
		if kept.buf != nil {
			t.Errorf("pending keeps the buffer of run %d, which was taken", i)
		}
	}
	take(10)
	for i, kept := range in.pending.runs[:cap(in.pending.runs)] {
		if kept.buf != nil {
			t.Errorf("pending keeps the buffer of run %d after all were taken", i)
		}
	}
}
