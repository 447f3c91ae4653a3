package faulttest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// lookMost is of how many messages Keep may be asked after the end of its context.
const lookMost = 1024

// addEmpty adds a batch that says it has no messages.
func addEmpty(c *streamproto.Chunk) {
	at := len(c.Data)
	fakebroker.AddCompressed(c, 0, 1, 0, nil)
	c.Records--
	binary.BigEndian.PutUint16(c.Data[at+1:], 0)
}

// addMany adds a batch of n messages without a byte, which is not compressed.
func addMany(c *streamproto.Chunk, n int) {
	data := make([]byte, 4*n)
	fakebroker.AddCompressed(c, 0, n, uint32(len(data)), data)
}

// limitChunk is a chunk at a limit, and how many messages come of it.
type limitChunk struct {
	name     string
	fill     func(c *streamproto.Chunk)
	messages int
}

// limitChunks are chunks that are at, below and above each limit of what a chunk and a
// batch can hold, and of what is uncompressed at a time.
func limitChunks(t *testing.T) []limitChunk {
	const most, inflated = streamproto.BatchCountMax, 64 << 20
	zeros := func(size uint32) (data []byte) { // two messages, the first of no bytes
		_, around := packed(t, compress.None, "", strings.Repeat("\x00", 1000))
		data, got := packed(t, compress.Zstd, "", strings.Repeat("\x00", int(size-around)+1000))
		if got != size {
			t.Fatalf("a batch of %d bytes instead of %d", got, size)
		}
		return data
	}
	large, half, more, less := zeros(inflated), zeros(inflated/2), zeros(inflated/2+1), zeros(inflated/2-1)
	add := func(c *streamproto.Chunk, size uint32, data []byte) {
		fakebroker.AddCompressed(c, uint8(compress.Zstd), 2, size, data)
	}
	list := []limitChunk{
		{"nothing", func(*streamproto.Chunk) {}, 0},
		{"a batch of nothing", addEmpty, 0},
		{"two batches of nothing", func(c *streamproto.Chunk) { addEmpty(c); addEmpty(c) }, 0},
		{"a batch of nothing at the end", func(c *streamproto.Chunk) { addMany(c, 1); addEmpty(c) }, 1},
		{"as many batches of nothing as there can be", func(c *streamproto.Chunk) {
			for range most {
				addEmpty(c)
			}
		}, 0},
		{"twice a whole limit", func(c *streamproto.Chunk) { add(c, inflated, large); add(c, inflated, large) }, 4},
		{"a limit in two", func(c *streamproto.Chunk) { add(c, inflated/2, half); add(c, inflated/2, half); addMany(c, 1) }, 5},
		{"a byte less in two", func(c *streamproto.Chunk) { add(c, inflated/2, half); add(c, inflated/2-1, less); addMany(c, 1) }, 5},
		{"a byte more in two", func(c *streamproto.Chunk) { add(c, inflated/2, half); add(c, inflated/2+1, more); addMany(c, 1) }, 5},
		{"limits that are missed", func(c *streamproto.Chunk) { add(c, inflated-1, large); add(c, inflated-1, large); addEmpty(c) }, 2},
		{"a tracking chunk", func(c *streamproto.Chunk) { addMany(c, 3); c.Type = streamproto.ChunkTrackingDelta }, 0},
	}
	for _, n := range []int{1, most - 1, most} {
		list = append(list, limitChunk{fmt.Sprint(n, " entries"), func(c *streamproto.Chunk) {
			c.Entries, c.Records, c.Data = uint16(n), uint32(n), make([]byte, 4*n)
		}, n}, limitChunk{fmt.Sprint("a batch of ", n), func(c *streamproto.Chunk) { addMany(c, n) }, n})
	}
	return list
}

// TestFaultStreamProgress: whatever a chunk holds, the consumer gets through it, and to
// what comes after.
func TestFaultStreamProgress(t *testing.T) {
	for _, test := range limitChunks(t) {
		t.Run(test.name, func(t *testing.T) {
			c := fakebroker.Chunk(0, 0)
			test.fill(c)
			frames := [][]byte{fakebroker.Deliver(c), fakebroker.Deliver(fakebroker.Chunk(0, 1<<20, "end"))}
			for _, cfg := range []thump.ConsumerConfig{
				{},
				{MaxBatch: 1},
				{MaxBatch: 1 << 20},
				{ReuseBuffers: true},
				{MaxBatch: 1, ReuseBuffers: true},
				{MaxBatch: 1 << 20, ReuseBuffers: true},
				{Stream: thump.StreamConsuming{Start: thump.FromOffset(1<<20 - 1)}},
				{Stream: thump.StreamConsuming{Filters: []string{"any"}, Keep: func(d *thump.Delivery) bool { return string(d.Body) == "end" }}},
			} {
				want := test.messages + 1
				if cfg.Stream.Keep != nil || cfg.Stream.Start != thump.FromFirst() {
					want = 1
				}
				readToEnd(t, frames, cfg, want)
			}
		})
	}
}

// readToEnd expects so many messages, of which the last is "end".
func readToEnd(t *testing.T, frames [][]byte, cfg thump.ConsumerConfig, want int) {
	t.Helper()
	con := streamConsumer(t, faultStreamClient(t, feed(frames...)), cfg)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n := 0
	for last := ""; last != "end"; {
		batch, err := con.Receive(ctx)
		if err != nil {
			t.Fatalf("%+v: after %d messages: %v", cfg, n, err)
		}
		n += len(batch.Deliveries)
		last = string(batch.Deliveries[len(batch.Deliveries)-1].Body)
	}
	if n != want {
		t.Errorf("%+v: %d messages came, want %d", cfg, n, want)
	}
	if err := con.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// ends are how the receiving of a consumer can be ended while it goes on, and what it
// says then.
func ends() map[string]func(con *thump.Consumer, cancel func()) error {
	return map[string]func(con *thump.Consumer, cancel func()) error{
		"the context": func(_ *thump.Consumer, cancel func()) error { cancel(); return context.Canceled },
		"Stop":        func(con *thump.Consumer, _ func()) error { con.Stop(); return thump.ErrClosed },
	}
}

// TestFaultStreamKeepsNothing: a chunk has far more messages than are looked at in a
// moment, or ones that take long, and none is wanted. The end of the context and Stop
// are heard all the same, and Close comes to its end.
func TestFaultStreamKeepsNothing(t *testing.T) {
	bomb, _ := packed(t, compress.Zstd, strings.Repeat("\x00", 64<<20))
	for _, test := range []struct {
		name string
		fill func(c *streamproto.Chunk)
		most int // asked after the end
	}{
		{"entries", func(c *streamproto.Chunk) {
			c.Entries, c.Records, c.Data = 65535, 65535, make([]byte, 4*65535)
		}, lookMost},
		{"batches", func(c *streamproto.Chunk) { addMany(c, 65535); addMany(c, 65535) }, lookMost},
		{"batches that can't be opened", func(c *streamproto.Chunk) {
			for range 5 {
				fakebroker.AddCompressed(c, uint8(compress.Zstd), 1, 64<<20, bomb)
			}
		}, 1},
	} {
		for name, end := range ends() {
			t.Run(test.name+", "+name, func(t *testing.T) {
				c := fakebroker.Chunk(0, 0)
				test.fill(c)
				client := faultStreamClient(t, feed(fakebroker.Deliver(c)))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				asked := 0
				var con *thump.Consumer
				var want error
				con = streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{
					Filters: []string{"any"},
					Keep: func(*thump.Delivery) bool {
						if asked++; asked == 1 {
							want = end(con, cancel)
						}
						return false
					},
				}})
				batch, err := con.Receive(ctx)
				if want == nil || !errors.Is(err, want) {
					t.Errorf("got %+v, %v", batch, err)
				}
				if asked > test.most {
					t.Errorf("Keep was asked of %d messages, want at most %d", asked, test.most)
				}
				if err := con.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// pours are frames that a broker sends for ever, and nothing of them is wanted.
func pours() map[string][]byte {
	empty := fakebroker.Chunk(0, 0)
	batches := fakebroker.Chunk(0, 0)
	for range 1000 {
		addEmpty(batches)
	}
	tracking := fakebroker.Chunk(0, 0, "x")
	tracking.Type = streamproto.ChunkTrackingSnapshot
	before := fakebroker.Chunk(0, 0, "x", "y")
	addMany(before, 1000)
	return map[string][]byte{
		"empty chunks":             fakebroker.Deliver(empty),
		"batches of nothing":       fakebroker.Deliver(batches),
		"tracking chunks":          fakebroker.Deliver(tracking),
		"what is before the start": fakebroker.Deliver(before),
	}
}

// TestFaultStreamNothingPours: chunks come for ever, as fast as they are read, and
// nothing of them is wanted. The end of the context, Stop and Close are heard.
func TestFaultStreamNothingPours(t *testing.T) {
	for name, frame := range pours() {
		many := slices.Repeat(frame, 1+(64<<10)/len(frame))
		for end, f := range ends() {
			t.Run(name+", "+end, func(t *testing.T) {
				client := faultStreamClient(t, func(s *fakebroker.StreamSession) {
					s.Login()
					s.OpenSubscription()
					for s.Offer(many) {
					}
				})
				con := streamConsumer(t, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Start: thump.FromOffset(1 << 40)}})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				wanted := make(chan error, 1)
				time.AfterFunc(50*time.Millisecond, func() { wanted <- f(con, cancel) })
				received := make(chan error, 1)
				go func() {
					_, err := con.Receive(ctx)
					received <- err
				}()
				select {
				case err := <-received:
					if want := <-wanted; !errors.Is(err, want) {
						t.Errorf("got %v, want %v", err, want)
					}
				case <-time.After(20 * time.Second):
					t.Error("it is not heard")
				}
				closing, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				if err := con.Close(closing); !errors.Is(err, context.DeadlineExceeded) { // nobody answers
					t.Errorf("close: %v", err)
				}
			})
		}
	}
}
