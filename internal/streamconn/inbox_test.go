package streamconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// bareConn is a connection without a socket, for what is queued on it.
func bareConn() *Conn {
	return &Conn{server: Server{FrameMax: 1 << 20}}
}

// bareArrivals are n chunks of size bytes each, in one buffer, numbered from
// first. The reader's reference to the buffer is given up.
func bareArrivals(s *Subscription, first, n, size int) ([]Arrival, *transport.Buffer) {
	buf := transport.NewBuffer(n * size)
	var list []Arrival
	for i := range n {
		buf.Retain()
		list = append(list, Arrival{
			Subscription: s, buf: buf,
			Chunk: streamproto.Chunk{FirstOffset: uint64(first + i), Data: buf.Bytes[i*size : (i+1)*size]},
		})
	}
	buf.Release()
	return list, buf
}

// checkArrivals makes sure that arrivals count on from first.
func checkArrivals(t *testing.T, list []Arrival, first, n int) {
	t.Helper()
	if len(list) != n {
		t.Fatalf("%d chunks, want %d", len(list), n)
	}
	for i := range list {
		if got := list[i].Chunk.FirstOffset; got != uint64(first+i) {
			t.Fatalf("chunk %d is that at %d, want %d", i, got, first+i)
		}
	}
}

// creditText reads the Credit frames that wait to be written: "0:3 1:2".
func creditText(t *testing.T, c *Conn) string {
	t.Helper()
	text := ""
	for rest := c.Out; len(rest) > 0; {
		f, n, err := streamproto.ParseFrame(rest, streamproto.Limits{})
		if err != nil || n == 0 || n > len(rest) {
			t.Fatal("no frame:", n, err)
		}
		credit, err := streamproto.ParseCredit(f)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("%d:%d ", credit.SubscriptionID, credit.Credit)
		rest = rest[n:]
	}
	c.Out = c.Out[:0]
	return text
}

func TestInboxTake(t *testing.T) {
	in, s := NewInbox(), &Subscription{conn: bareConn()}
	one, bufOne := bareArrivals(s, 0, 3, 10)
	two, bufTwo := bareArrivals(s, 3, 2, 10)
	in.put(one)
	in.put(two)
	taken, err := in.Take(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkArrivals(t, taken, 0, 5)
	if bufOne.Refs() != 3 || bufTwo.Refs() != 2 || in.Bytes != 0 || len(in.pending) != 0 {
		t.Errorf("%d and %d references, and %d chunks of %d bytes are left", bufOne.Refs(), bufTwo.Refs(), len(in.pending), in.Bytes)
	}
	taken[0].Release()
	taken[0].Release() // once more does not count
	taken[4].Release()
	if bufOne.Refs() != 2 || bufTwo.Refs() != 1 {
		t.Errorf("%d and %d references after a release of each", bufOne.Refs(), bufTwo.Refs())
	}
	for i := range taken {
		taken[i].Release()
	}
	if bufOne.Refs() != 0 || bufTwo.Refs() != 0 {
		t.Errorf("%d and %d references after all were released", bufOne.Refs(), bufTwo.Refs())
	}
	more, _ := bareArrivals(s, 5, 1, 10)
	in.put(more)
	if taken, err = in.Take(t.Context(), taken); err != nil {
		t.Fatal(err)
	}
	checkArrivals(t, taken, 5, 1)
}

// TestInboxCredit: each subscription gets credit for its own chunks, on its own
// connection, and none once it has ended.
func TestInboxCredit(t *testing.T) {
	in, here, there := NewInbox(), bareConn(), bareConn()
	one, two := &Subscription{conn: here, id: 1}, &Subscription{conn: here, id: 2}
	three, over := &Subscription{conn: there, id: 1}, &Subscription{conn: here, id: 4, err: transport.ErrClosed}
	for _, step := range []struct {
		s *Subscription
		n int
	}{{one, 2}, {two, 1}, {three, 5}, {over, 3}, {one, 1}} {
		list, _ := bareArrivals(step.s, 0, step.n, 1)
		in.put(list)
	}
	if _, err := in.Take(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got, want := creditText(t, here), "1:2 2:1 1:1 "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := creditText(t, there), "1:5 "; got != want {
		t.Errorf("on the other connection: got %q, want %q", got, want)
	}
}

// TestInboxEnds: what has come can be taken, then the reason comes, which is the
// first one.
func TestInboxEnds(t *testing.T) {
	in, s := NewInbox(), &Subscription{conn: bareConn()}
	list, _ := bareArrivals(s, 0, 2, 1)
	in.put(list)
	if in.Err() != nil {
		t.Error("it has ended:", in.Err())
	}
	in.End(io.EOF)
	in.End(io.ErrClosedPipe)
	if !errors.Is(in.Err(), io.EOF) {
		t.Errorf("it ended with %v", in.Err())
	}
	select {
	case <-in.Done():
		t.Error("it is done, and chunks are there")
	default:
	}
	late, _ := bareArrivals(s, 2, 1, 1)
	in.put(late) // of another connection, perhaps
	taken, err := in.Take(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkArrivals(t, taken, 0, 3)
	if taken, err = in.Take(t.Context(), taken); !errors.Is(err, io.EOF) || len(taken) != 0 {
		t.Errorf("got %d chunks, %v", len(taken), err)
	}
	<-in.Done()
}

// TestInboxDrops: what has come is not taken after the end, where it is dropped: from
// the beginning on, or since the inbox was shut.
func TestInboxDrops(t *testing.T) {
	for _, shut := range []bool{false, true} {
		in, s := NewInbox(), &Subscription{conn: bareConn()}
		list, _ := bareArrivals(s, 0, 2, 1)
		in.put(list)
		if shut {
			in.Shut(io.EOF)
		} else {
			in.DropRest()
			in.End(io.EOF)
		}
		<-in.Done()
		late, _ := bareArrivals(s, 2, 1, 1)
		in.put(late)
		if taken, err := in.Take(t.Context(), nil); !errors.Is(err, io.EOF) || len(taken) != 0 {
			t.Errorf("shut %v: got %d chunks, %v", shut, len(taken), err)
		}
		in.Discard()
	}
}

// TestInboxContext: the end of the context ends a wait, and lets nothing be taken with
// it; nothing else.
func TestInboxContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, s := NewInbox(), &Subscription{conn: bareConn()}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		stop := in.Watch(ctx)
		defer stop()
		begin := time.Now()
		if _, err := in.Take(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
		list, _ := bareArrivals(s, 0, 1, 1)
		in.put(list)
		if taken, err := in.Take(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || len(taken) != 0 {
			t.Errorf("after its end: %d chunks, %v", len(taken), err)
		}
		if taken, err := in.Take(t.Context(), nil); err != nil || len(taken) != 1 {
			t.Errorf("what is there: %d chunks, %v", len(taken), err)
		}
	})
}

// TestInboxBound: the one who puts waits while there is too much, of bytes or of
// empty chunks, until the consumer takes, or the inbox ends.
func TestInboxBound(t *testing.T) {
	for _, size := range []int{0, 1 << 20} {
		for _, test := range []struct {
			name string
			free func(t *testing.T, in *Inbox)
			want int // puts that get through in the end, at least
		}{
			{"take", func(t *testing.T, in *Inbox) {
				if _, err := in.Take(t.Context(), nil); err != nil {
					t.Error(err)
				}
			}, 2},
			{"shut", func(_ *testing.T, in *Inbox) { in.Shut(io.EOF) }, 100},
			{"end", func(_ *testing.T, in *Inbox) { in.End(io.EOF) }, 100},
		} {
			if size == 0 && test.name != "take" {
				continue // it takes long to fill it with nothing
			}
			t.Run(fmt.Sprint(test.name, " ", size), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					in, s := NewInbox(), &Subscription{conn: bareConn()}
					perPut := 1
					if size == 0 {
						perPut = 4096 // of nothing: what they cost is themselves
					}
					put := 0
					go func() {
						for range 100 {
							list, _ := bareArrivals(s, 0, perPut, size)
							in.put(list)
							put++
						}
					}()
					synctest.Wait()
					if most := inboxRoom/(perPut*(size+arrivalOverhead)) + 2; put > most || put == 0 {
						t.Errorf("%d puts got through, want at most %d", put, most)
					}
					before := put
					test.free(t, in)
					synctest.Wait()
					if put-before < test.want && put < 100 {
						t.Errorf("%d puts got through, and no more than %d afterwards", before, put-before)
					}
					in.End(io.EOF)
					synctest.Wait()
				})
			})
		}
	}
}

// TestInboxCountsBuffers: a chunk keeps all of the buffer that it is in, and so that is what
// it counts as, once for all chunks of a buffer, of one read or of several.
func TestInboxCountsBuffers(t *testing.T) {
	const size, puts = 1 << 20, 5
	in, s, other := NewInbox(), &Subscription{conn: bareConn()}, &Subscription{conn: bareConn()}
	for round := range 2 {
		mine, theirs := transport.NewBuffer(size), transport.NewBuffer(size)
		for range puts {
			for s, buf := range map[*Subscription]*transport.Buffer{s: mine, other: theirs} {
				buf.Retain()
				in.put([]Arrival{{Subscription: s, buf: buf, Chunk: streamproto.Chunk{Data: buf.Bytes[:1:1]}}})
			}
		}
		if want := 2*size + 2*puts*arrivalOverhead; in.Bytes != want {
			t.Errorf("round %d: %d bytes are counted, want %d", round, in.Bytes, want)
		}
		if _, err := in.Take(t.Context(), nil); err != nil || in.Bytes != 0 || in.buffers[:1][0] != nil {
			t.Errorf("round %d: %v, %d bytes are counted after all was taken", round, err, in.Bytes)
		}
	}
}

// TestInboxEndedAndFull: what comes after the end, while too much is there, is
// given back.
func TestInboxEndedAndFull(t *testing.T) {
	in, s := NewInbox(), &Subscription{conn: bareConn()}
	full, _ := bareArrivals(s, 0, 2, inboxRoom)
	in.put(full)
	in.End(io.EOF)
	late, buf := bareArrivals(s, 2, 3, 10)
	in.put(late)
	if buf.Refs() != 0 {
		t.Errorf("%d references are kept", buf.Refs())
	}
	taken, err := in.Take(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkArrivals(t, taken, 0, 2)
}

// TestInboxLetsGo: memory is not kept alive by the room that is used again.
func TestInboxLetsGo(t *testing.T) {
	in, s := NewInbox(), &Subscription{conn: bareConn()}
	var taken []Arrival
	for _, n := range []int{6, 1, 3, 1} {
		list, _ := bareArrivals(s, 0, n, 10)
		in.put(list)
		var err error
		if taken, err = in.Take(t.Context(), taken); err != nil {
			t.Fatal(err)
		}
		for i := range taken {
			taken[i].Release()
		}
	}
	for name, list := range map[string][]Arrival{"taken": taken, "pending": in.pending} {
		for i, kept := range list[:cap(list)] {
			if kept.Chunk.Data != nil || kept.buf != nil {
				t.Errorf("%s keeps chunk %d", name, i)
			}
		}
	}
}

// TestInboxShared: several connections put, and everything comes, of each in its
// order.
func TestInboxShared(t *testing.T) {
	const readers, chunks = 4, 2000
	in := NewInbox()
	var putting sync.WaitGroup
	for range readers {
		s := &Subscription{conn: bareConn()}
		putting.Go(func() {
			for i := 0; i < chunks; i += 5 {
				list, _ := bareArrivals(s, i, 5, 100)
				in.put(list)
			}
		})
	}
	next := map[*Subscription]uint64{}
	var taken []Arrival
	for got := 0; got < readers*chunks; got += len(taken) {
		var err error
		if taken, err = in.Take(t.Context(), taken); err != nil {
			t.Fatal(err)
		}
		for i := range taken {
			s := taken[i].Subscription
			if taken[i].Chunk.FirstOffset != next[s] {
				t.Fatalf("chunk %d came instead of %d", taken[i].Chunk.FirstOffset, next[s])
			}
			next[s]++
			taken[i].Release()
		}
	}
	putting.Wait()
}
