package thump_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// feed is a script that delivers frames to the first subscription as credit for
// them comes, by halves of it as RabbitMQ does, and goes on as an orderly broker.
func feed(frames ...[]byte) func(*fakebroker.StreamSession) {
	return func(s *fakebroker.StreamSession) {
		s.Login()
		if s.Feed(s.OpenSubscription(), true, frames...) {
			s.Serve(nil)
		}
	}
}

// packed is messages as they are in a batch, compressed.
func packed(t *testing.T, codec compress.Codec, bodies ...string) (data []byte, size int) {
	t.Helper()
	var raw []byte
	for _, body := range bodies {
		raw = streamproto.AppendBatchedData(raw, []byte(body))
	}
	data, err := compress.Compress(nil, codec, raw)
	if err != nil {
		t.Fatal(err)
	}
	return data, len(raw)
}

// badChunk is the frame of a chunk at offset 4 that change has changed.
func badChunk(change func(c *streamproto.Chunk)) []byte {
	c := fakebroker.Chunk(0, 4)
	change(c)
	return fakebroker.Deliver(c)
}

// with is a change of badChunk that adds a batch as AddCompressed does, and a
// message behind it which nobody may get.
func with(compression uint8, count, size int, data []byte) func(*streamproto.Chunk) {
	return func(c *streamproto.Chunk) {
		fakebroker.AddCompressed(c, compression, count, size, data)
		fakebroker.AddEntry(c, "never")
	}
}

// TestFaultChunks has a chunk come that is not what it says, between two good
// ones. The consumer must hand out what came before it and nothing of what comes
// after, say which chunk and what is wrong, stay ended, and not believe any size.
func TestFaultChunks(t *testing.T) {
	plain, size := packed(t, compress.None, "a", "b")
	gz, _ := packed(t, compress.Gzip, "a", "b")
	lz, _ := packed(t, compress.LZ4, "a", "b")
	snap, _ := packed(t, compress.Snappy, "a", "b")
	zstd, _ := packed(t, compress.Zstd, "a", "b")
	bomb, _ := packed(t, compress.Gzip, strings.Repeat("x", 8<<20))
	entry := func(c *streamproto.Chunk) { fakebroker.AddEntry(c, "never") }
	for _, test := range []struct {
		name string
		bad  []byte
		want string
	}{
		{"a wrong CRC", badChunk(func(c *streamproto.Chunk) { entry(c); c.CRC = 1 }), "its CRC-32 is"},
		{"an entry more than there is", badChunk(func(c *streamproto.Chunk) { entry(c); c.Entries++ }), "an entry is cut short"},
		{"an entry less than there is", badChunk(func(c *streamproto.Chunk) { entry(c); entry(c); c.Entries-- }), "bytes are left behind its entries"},
		{"a message more than there is", badChunk(func(c *streamproto.Chunk) { entry(c); c.Records++ }), "it says that it has 2 messages, and its entries that they have 1"},
		{"no entries, and a message", badChunk(func(c *streamproto.Chunk) { c.Records = 1 }), "it says that it has 1 messages"},
		{"an entry of 2 GiB", badChunk(func(c *streamproto.Chunk) { entry(c); copy(c.Data, "\x7f\xff\xff\xff") }), "an entry is cut short"},
		{"a batch of 4 GiB", badChunk(func(c *streamproto.Chunk) { fakebroker.AddBatch(c, "x"); copy(c.Data[7:], "\xff\xff\xff\xff") }), "an entry is cut short"},
		{"a batch of more messages than it has", badChunk(with(0, 3, size, plain)), "a batch is shorter than its 1 more messages"},
		{"a batch of 65535 messages that has 2", badChunk(with(0, 65535, size, plain)), "a batch is shorter than its 65533 more"},
		{"a batch of fewer messages than it has", badChunk(with(0, 1, size, plain)), "a batch is 10 bytes longer than its messages"},
		{"a batch cut short", badChunk(with(0, 2, size, plain[:len(plain)-1])), "a batch is shorter than its 1 more messages"},
		{"garbage for gzip", badChunk(with(1, 2, size, []byte("garbage, garbage"))), "a batch of 2 messages: compress: gzip"},
		{"garbage for snappy", badChunk(with(2, 2, size, []byte("garbage, garbage"))), "a batch of 2 messages: compress: snappy"},
		{"garbage for lz4", badChunk(with(3, 2, size, []byte("garbage, garbage"))), "a batch of 2 messages: compress: lz4"},
		{"garbage for zstd", badChunk(with(4, 2, size, []byte("garbage, garbage"))), "a batch of 2 messages: compress: zstd"},
		{"gzip cut short", badChunk(with(1, 2, size, gz[:len(gz)-9])), "gzip"},
		{"gzip without its checksum", badChunk(with(1, 2, size, gz[:len(gz)-8])), "gzip"},
		{"snappy cut short", badChunk(with(2, 2, size, snap[:len(snap)-1])), "snappy"},
		{"lz4 cut short", badChunk(with(3, 2, size, lz[:len(lz)-9])), "lz4"},
		{"zstd cut short", badChunk(with(4, 2, size, zstd[:len(zstd)-1])), "zstd"},
		{"nothing, compressed", badChunk(with(1, 2, size, nil)), "gzip"},
		{"an unknown compression", badChunk(with(5, 2, size, plain)), "compression 5 is unknown"},
		{"the last compression", badChunk(with(7, 2, size, plain)), "compression 7 is unknown"},
		{"a byte less than comes out", badChunk(with(1, 2, size-1, gz)), "gzip: 19 bytes should come out, but there are more"},
		{"a byte more than comes out", badChunk(with(1, 2, size+1, gz)), "gzip: 21 bytes should come out, but there are 20"},
		{"64 MiB that are not there", badChunk(with(4, 2, 64<<20, zstd)), "67108864 bytes should come out"},
		{"more than 64 MiB", badChunk(with(1, 2, 64<<20+1, gz)), "67108865 bytes, more than the 67108864 that are accepted"},
		{"4 GiB", badChunk(with(3, 2, 1<<32-1, lz)), "4294967295 bytes, more than"},
		{"a bomb", badChunk(with(1, 1, 100, bomb)), "100 bytes should come out, but there are more"},
		{"compressed, and of more messages than it has", badChunk(with(1, 3, size, gz)), "a batch is shorter than its 1 more messages"},
		{"compressed, and of fewer messages", badChunk(with(1, 1, size, gz)), "a batch is 10 bytes longer"},
		{"a message that is none", badChunk(func(c *streamproto.Chunk) {
			c.Data, c.Entries, c.Records = []byte("\x00\x00\x00\x02hi"), 1, 1
		}), "the message at offset 4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkAllocated(t, 12<<20, func() { badChunkEnds(t, test.bad, test.want) })
		})
	}
}

// checkAllocated runs f and makes sure that the whole program allocates at most
// limit bytes meanwhile.
func checkAllocated(t *testing.T, limit uint64, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > limit {
		t.Errorf("%d bytes were allocated, more than %d", got, limit)
	}
}

func badChunkEnds(t *testing.T, bad []byte, want string) {
	good := fakebroker.Deliver(fakebroker.Chunk(0, 0, "0", "1", "2", "3"))
	client := faultStreamClient(t, feed(good, bad, fakebroker.Deliver(fakebroker.Chunk(0, 10, "never"))))
	con, err := client.Consumer(t.Context(), thump.ConsumerConfig{From: thump.Stream("events")})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for batch, err := range con.Batches(t.Context()) {
		if err != nil {
			if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `stream "events", the chunk at offset 4`) {
				t.Errorf("got %v, want %q", err, want)
			}
			break
		}
		for _, d := range batch.Deliveries {
			got = append(got, string(d.Body))
		}
	}
	for range 3 {
		if batch, err := con.Receive(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("afterwards: %v, %v", batch, err)
		}
	}
	// Entries before the fault may have been handed out, and nothing else.
	if text := strings.Join(got, ""); text != "0123" {
		t.Errorf("got %q", got)
	}
	<-con.Done()
	if err := con.Err(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("it ended with %v", err)
	}
	if err := con.Close(t.Context()); err != nil {
		t.Error("close:", err)
	}
}

// randomChunk adds entries and batches of messages that count on from next, and
// returns what the next is.
func randomChunk(t *testing.T, random *rand.Rand, c *streamproto.Chunk, next int) int {
	t.Helper()
	body := func() string {
		next++
		return fmt.Sprint(next-1, " ", strings.Repeat("x", random.IntN(300)))
	}
	for range random.IntN(12) {
		if random.IntN(2) == 0 {
			fakebroker.AddEntry(c, body())
			continue
		}
		var bodies []string
		for range 1 + random.IntN(40) {
			bodies = append(bodies, body())
		}
		if codec := compress.Codec(random.IntN(5)); codec != compress.None {
			data, size := packed(t, codec, bodies...)
			fakebroker.AddCompressed(c, uint8(codec), len(bodies), size, data)
		} else {
			fakebroker.AddBatch(c, bodies...)
		}
	}
	return next
}

// TestFaultStreamRandomChunks delivers chunks with entries and batches of every
// kind, with gaps between their offsets and tracking chunks, to consumers with
// every size of batch, that begin somewhere in the first chunk, and keep batches
// or not. Each message must come once, in order, with its offset, and its body be
// right until the next batch is asked for.
func TestFaultStreamRandomChunks(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 19))
		var frames [][]byte
		var offsets []uint64 // of message number i
		next, offset := 0, uint64(random.IntN(1000))
		for range 30 {
			offset += random.Uint64N(3) * random.Uint64N(1000)
			c := fakebroker.Chunk(0, offset)
			before := next
			if next = randomChunk(t, random, c, next); random.IntN(8) == 0 {
				c, next = fakebroker.Chunk(0, offset), before
				c.Type, c.Entries, c.Records, c.Data = streamproto.ChunkTrackingDelta, 1, 1, []byte("\x00\x00\x00\x01t")
			}
			for i := range next - before {
				offsets = append(offsets, offset+uint64(i))
			}
			frames = append(frames, fakebroker.Deliver(c))
			offset += uint64(c.Records)
		}
		skip := random.IntN(20)
		cfg := thump.ConsumerConfig{
			From: thump.Stream("events"), MaxBatch: 1 + random.IntN(60), AutoAck: random.IntN(2) == 0,
			Stream: thump.StreamConsuming{Start: thump.FromOffset(offsets[skip]), Credit: 2 + random.IntN(10)},
		}
		client := faultStreamClient(t, feed(frames...)) // outside of a bubble, because of zstd
		con, err := client.Consumer(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for i := skip; i < next; {
			batch, err := con.Receive(t.Context())
			if err != nil || len(batch.Deliveries) == 0 || len(batch.Deliveries) > cfg.MaxBatch {
				t.Fatalf("seed %d, message %d: %d deliveries, %v", seed, i, len(batch.Deliveries), err)
			}
			for _, d := range batch.Deliveries {
				if number, _, _ := strings.Cut(string(d.Body), " "); number != fmt.Sprint(i) || d.Offset != offsets[i] {
					t.Fatalf("seed %d: got message %.20q at %d, want %d at %d", seed, d.Body, d.Offset, i, offsets[i])
				}
				i++
			}
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestFaultStreamBodies: the bodies of a batch stay as they are while more comes,
// compressed or not, until the next batch is asked for; Clones stay longer.
func TestFaultStreamBodies(t *testing.T) {
	var frames [][]byte
	for i := range 40 {
		c := fakebroker.Chunk(0, uint64(10*i))
		for j := range 2 {
			bodies := []string{}
			for k := range 5 {
				bodies = append(bodies, strings.Repeat(fmt.Sprint(10*i+5*j+k, " "), 2000))
			}
			codec := []compress.Codec{compress.None, compress.Gzip, compress.LZ4}[(i+j)%3]
			data, size := packed(t, codec, bodies...)
			fakebroker.AddCompressed(c, uint8(codec), len(bodies), size, data)
		}
		frames = append(frames, fakebroker.Deliver(c))
	}
	for _, maxBatch := range []int{1, 3, 7, 10, 1000} {
		synctest.Test(t, func(t *testing.T) {
			client := faultStreamClient(t, feed(frames...))
			con, err := client.Consumer(t.Context(), thump.ConsumerConfig{
				From: thump.Stream("events"), MaxBatch: maxBatch, Stream: thump.StreamConsuming{Credit: 3},
			})
			if err != nil {
				t.Fatal(err)
			}
			var clones []thump.Delivery
			for len(clones) < 400 {
				batch, err := con.Receive(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // whatever there is credit for has come
				for _, d := range batch.Deliveries {
					clones = append(clones, d.Clone())
				}
			}
			for i, d := range clones {
				if want := strings.Repeat(fmt.Sprint(i, " "), 2000); string(d.Body) != want || d.Offset != uint64(i) {
					t.Fatalf("max batch %d: message %d at %d is %.20q", maxBatch, i, d.Offset, d.Body)
				}
			}
			if err := con.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := con.Receive(t.Context()); !errors.Is(err, thump.ErrClosed) {
				t.Errorf("receive after close: %v", err)
			}
		})
	}
}
