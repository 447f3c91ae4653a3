package amqpconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// countedBuffer returns a read buffer that holds n numbered bodies of four
// bytes.
func countedBuffer(n, first int) *readBuffer {
	b := newReadBuffer(4 * n)
	for i := range n {
		copy(b.bytes[4*i:], fmt.Sprintf("%04d", first+i))
	}
	return b
}

// body is the i-th body in a buffer.
func (b *readBuffer) body(i int) []byte { return b.bytes[4*i : 4*i+4] }

// fill puts one delivery for each of the n bodies of buf into in, and gives up
// the reader's reference.
func fill(in *Inbox, buf *readBuffer, n int) {
	for i := range n {
		in.arriving.add(&Delivery{Body: buf.body(i)}, buf)
	}
	in.put()
	buf.release()
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
		if one.refs.Load() != int32(step.one) || two.refs.Load() != int32(step.two) {
			t.Errorf("after a take of %d: %d and %d references, want %d and %d",
				step.n, one.refs.Load(), two.refs.Load(), step.one, step.two)
		}
	}
	if in.bytes != 0 || in.waiting() != 0 {
		t.Errorf("%d deliveries and %d bytes are left", in.waiting(), in.bytes)
	}
	d.Release()
	d.Release() // nothing is released twice
	if two.refs.Load() != 0 {
		t.Errorf("%d references are left", two.refs.Load())
	}
}

// TestInboxBuffersReturn puts and takes at random, and poisons every buffer as
// soon as it is back in the pool: a body that is read must not be poisoned, and
// in the end all must be.
func TestInboxBuffersReturn(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 2))
		in := newInbox("c")
		var buffers []*readBuffer
		poison := func() {
			for _, b := range buffers {
				switch refs := b.refs.Load(); {
				case refs == 0:
					clear(b.bytes)
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
		in.end(io.EOF)
		for in.Take(t.Context(), &d, 7) == nil {
			taken += len(d.List)
		}
		if taken != put {
			t.Fatalf("seed %d: %d put, %d taken", seed, put, taken)
		}
		for i, b := range buffers {
			if b.refs.Load() != 0 {
				t.Fatalf("seed %d: buffer %d has %d references", seed, i, b.refs.Load())
			}
		}
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
		{"drained", func(_ *testing.T, in *Inbox) { in.drain() }, 2},
		{"ended", func(_ *testing.T, in *Inbox) { in.end(io.EOF) }, 1},
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

func TestInboxEnd(t *testing.T) {
	in := newInbox("c")
	in.arriving.add(&Delivery{Body: []byte("last")}, nil)
	in.put()
	in.end(io.EOF)
	in.end(io.ErrUnexpectedEOF) // the first counts

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

// TestInboxEndedIsBounded: a broker that does not stop delivering fills no memory.
func TestInboxEndedIsBounded(t *testing.T) {
	in := newInbox("c")
	in.end(io.EOF)
	for range 100 {
		in.arriving.add(&Delivery{Body: make([]byte, inboxRoom/4)}, nil)
		in.put()
	}
	if in.bytes > 2*inboxRoom {
		t.Errorf("%d bytes wait", in.bytes)
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
		// What is there is given out, whatever ctx says.
		in.arriving.add(&Delivery{}, nil)
		in.put()
		if err := in.Take(ctx, &d, 1); err != nil || len(d.List) != 1 {
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
