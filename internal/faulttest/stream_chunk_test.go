package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
func packed(t *testing.T, codec compress.Codec, bodies ...string) (data []byte, size uint32) {
	t.Helper()
	var raw []byte
	for _, body := range bodies {
		raw = streamproto.AppendBatchedData(raw, []byte(body))
	}
	data, err := compress.Compress(nil, codec, raw)
	if err != nil {
		t.Fatal(err)
	}
	return data, uint32(len(raw))
}

// badChunk is the frame of a chunk at offset 4 that change has changed.
func badChunk(change func(c *streamproto.Chunk)) []byte {
	c := fakebroker.Chunk(0, 4)
	change(c)
	return fakebroker.Deliver(c)
}

// TestFaultChunks has a chunk come that is not what it says, between two good
// ones: nothing after it can be trusted. The consumer must hand out what came before
// it and nothing of what comes after, say which chunk and what is wrong, stay ended,
// and not believe any size.
func TestFaultChunks(t *testing.T) {
	entry := func(c *streamproto.Chunk) { fakebroker.AddEntry(c, "never") }
	for _, test := range []struct {
		name string
		bad  []byte
		want string
	}{
		{"a wrong CRC", badChunk(func(c *streamproto.Chunk) { entry(c); c.CRC = 1 }), "its CRC-32 is"},
		{"an entry more than there is", badChunk(func(c *streamproto.Chunk) { entry(c); c.Entries++ }), "an entry is cut short"},
		{"an entry less than there is", badChunk(func(c *streamproto.Chunk) { entry(c); entry(c); c.Entries-- }), "bytes follow its entries"},
		{"a message more than there is", badChunk(func(c *streamproto.Chunk) { entry(c); c.Records++ }), "its header says 2 messages, its entries have 1"},
		{"no entries, and a message", badChunk(func(c *streamproto.Chunk) { c.Records = 1 }), "its header says 1 messages"},
		{"an entry of 2 GiB", badChunk(func(c *streamproto.Chunk) { entry(c); copy(c.Data, "\x7f\xff\xff\xff") }), "an entry is cut short"},
		{"a batch of 4 GiB", badChunk(func(c *streamproto.Chunk) { fakebroker.AddBatch(c, "x"); copy(c.Data[7:], "\xff\xff\xff\xff") }), "an entry is cut short"},
	} {
		t.Run(test.name, func(t *testing.T) {
			fakebroker.CheckMemory(t, 12<<20, func() { badChunkEnds(t, test.bad, test.want) })
		})
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

// badBatch is a change of a chunk.
type badBatch struct {
	compression uint8
	count       int
	size        uint32
	data        []byte
}

func with(compression uint8, count int, size uint32, data []byte) badBatch {
	return badBatch{compression, count, size, data}
}

// TestUnopenedBatches has batches come that can't be opened, each between messages that
// are in order. It must come as it is, as one delivery with its mark and its last
// offset, and its neighbours too, whatever the size of batches; and a consumer that
// begins after it must not get it. No size is believed.
func TestUnopenedBatches(t *testing.T) {
	plain, size := packed(t, compress.None, "a", "b")
	gz, _ := packed(t, compress.Gzip, "a", "b")
	lz, _ := packed(t, compress.LZ4, "a", "b")
	snap, _ := packed(t, compress.Snappy, "a", "b")
	zstd, _ := packed(t, compress.Zstd, "a", "b")
	bomb, _ := packed(t, compress.Gzip, strings.Repeat("x", 8<<20))
	for _, test := range []struct {
		name string
		bad  badBatch
		want string
	}{
		{"a batch of more messages than it has", with(0, 3, size, plain), "it is shorter than its 1 more messages"},
		{"a batch of 65535 messages that has 2", with(0, 65535, size, plain), "it is shorter than its 65533 more"},
		{"a batch of fewer messages than it has", with(0, 1, size, plain), "it is 10 bytes longer than its messages"},
		{"a batch cut short", with(0, 2, size, plain[:len(plain)-1]), "it is shorter than its 1 more messages"},
		{"garbage for gzip", with(1, 2, size, []byte("garbage, garbage")), "a batch of 2 messages can't be opened: gzip"},
		{"garbage for snappy", with(2, 2, size, []byte("garbage, garbage")), "a batch of 2 messages can't be opened: snappy"},
		{"garbage for lz4", with(3, 2, size, []byte("garbage, garbage")), "a batch of 2 messages can't be opened: lz4"},
		{"garbage for zstd", with(4, 2, size, []byte("garbage, garbage")), "a batch of 2 messages can't be opened: zstd"},
		{"gzip cut short", with(1, 2, size, gz[:len(gz)-9]), "gzip"},
		{"gzip without its checksum", with(1, 2, size, gz[:len(gz)-8]), "gzip"},
		{"snappy cut short", with(2, 2, size, snap[:len(snap)-1]), "snappy"},
		{"lz4 cut short", with(3, 2, size, lz[:len(lz)-9]), "lz4"},
		{"zstd cut short", with(4, 2, size, zstd[:len(zstd)-1]), "zstd"},
		{"nothing, compressed", with(1, 2, size, nil), "gzip"},
		{"an unknown compression", with(5, 2, size, plain), "compression 5 is unknown"},
		{"the last compression", with(7, 2, size, plain), "compression 7 is unknown"},
		{"a byte less than comes out", with(1, 2, size-1, gz), "gzip: want 19 bytes uncompressed, got more"},
		{"a byte more than comes out", with(1, 2, size+1, gz), "gzip: want 21 bytes uncompressed, got 20"},
		{"64 MiB that are not there", with(4, 2, 64<<20, zstd), "want 67108864 bytes uncompressed"},
		{"more than 64 MiB", with(1, 2, 64<<20+1, gz), "67108865 bytes, more than the 67108864 that are accepted"},
		{"4 GiB", with(3, 2, 1<<32-1, lz), "4294967295 bytes, more than"},
		{"a bomb", with(1, 1, 100, bomb), "want 100 bytes uncompressed, got more"},
		{"compressed, and of more messages than it has", with(1, 3, size, gz), "it is shorter than its 1 more messages"},
		{"compressed, and of fewer messages", with(1, 1, size, gz), "it is 10 bytes longer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			// LZ4 takes some 12 MiB for each of the three, where its memory was not used before;
			// a size that is believed would be 64 MiB.
			fakebroker.CheckMemory(t, 60<<20, func() {
				for _, cfg := range []thump.ConsumerConfig{{}, {MaxBatch: 1}, {MaxBatch: 2, ReuseBuffers: true}} {
					unopenedBatch(t, test.bad, test.want, cfg)
				}
			})
		})
	}
}

func unopenedBatch(t *testing.T, bad badBatch, want string, cfg thump.ConsumerConfig) {
	gz, gzSize := packed(t, compress.Gzip, "3", "4")
	c := fakebroker.Chunk(0, 0, "0")
	fakebroker.AddBatch(c, "1", "2")
	fakebroker.AddCompressed(c, 1, 2, gzSize, gz)
	fakebroker.AddCompressed(c, bad.compression, bad.count, bad.size, bad.data)
	last := uint64(4 + bad.count)
	fakebroker.AddBatch(c, "x", "y")
	fakebroker.AddEntry(c, "z")
	end := fakebroker.Chunk(0, last+4, "end")

	for _, from := range []uint64{0, 4, last, last + 1} {
		cfg.From, cfg.Stream.Start = thump.Stream("events"), thump.FromOffset(from)
		client := faultStreamClient(t, feed(fakebroker.Deliver(c), fakebroker.Deliver(end)))
		con, err := client.Consumer(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for len(got) == 0 || got[len(got)-1] != fmt.Sprint(last+4, " data end") {
			batch, err := con.Receive(t.Context())
			if err != nil {
				t.Fatalf("after %q: %v", got, err)
			}
			for i := range batch.Deliveries {
				d := &batch.Deliveries[i]
				body := string(d.Body)
				if _, err := d.Properties(); d.Format == thump.FormatBatch {
					if body != string(bad.data) || err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("the batch came as %.60q, with %v, want %q", body, err, want)
					}
					body = "bad"
				} else if err != nil {
					t.Errorf("%q: %v", body, err)
				}
				got = append(got, fmt.Sprint(d.Offset, " ", d.Format, " ", body))
			}
			if err := batch.Ack(); err != nil {
				t.Error(err)
			}
		}
		all := []string{
			"0 data 0", "1 data 1", "2 data 2", "3 data 3", "4 data 4", fmt.Sprint(last, " unopened batch bad"),
			fmt.Sprint(last+1, " data x"), fmt.Sprint(last+2, " data y"), fmt.Sprint(last+3, " data z"), fmt.Sprint(last+4, " data end"),
		}
		if first := map[uint64]int{0: 0, 4: 4, last: 5, last + 1: 6}[from]; !slices.Equal(got, all[first:]) {
			t.Errorf("from %d, got %q, want %q", from, got, all[first:])
		}
		if err := con.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestLargestBatch has a compressed batch come that is about as large as is accepted.
// Its messages must come one by one too, and what is after it; one byte more can't be
// opened.
func TestLargestBatch(t *testing.T) {
	const most = 64 << 20
	first := strings.Repeat("x", 1000)
	for _, size := range []int{most - 1, most, most + 1} {
		_, used := packed(t, compress.None, first, strings.Repeat("y", 1000), "last")
		used -= 1000
		data, n := packed(t, compress.Zstd, first, strings.Repeat("y", size-int(used)), "last")
		if int(n) != size {
			t.Fatalf("the batch has %d bytes, want %d", n, size)
		}
		want := []int{1000, size - int(used), 4, 3, 3}
		if size > most {
			want = []int{len(data), 3, 3}
		}
		for _, cfg := range []thump.ConsumerConfig{
			{}, {MaxBatch: 1}, {ReuseBuffers: true}, {MaxBatch: 1, ReuseBuffers: true}, {MaxBatch: 2, ReuseBuffers: true},
		} {
			t.Run(fmt.Sprintf("%d/%d/%v", size-most, cfg.MaxBatch, cfg.ReuseBuffers), func(t *testing.T) {
				c := fakebroker.Chunk(0, 0)
				fakebroker.AddCompressed(c, uint8(compress.Zstd), 3, n, data)
				gz, gzSize := packed(t, compress.Gzip, "end", "end")
				fakebroker.AddCompressed(c, uint8(compress.Gzip), 2, gzSize, gz)
				con := streamConsumer(t, faultStreamClient(t, feed(fakebroker.Deliver(c))), cfg)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var got []int
				for len(got) < len(want) {
					batch, err := con.Receive(ctx)
					if err != nil {
						t.Fatalf("after %v: %v", got, err)
					}
					for _, d := range batch.Deliveries {
						got = append(got, len(d.Body))
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("got messages of %v bytes, want %v", got, want)
				}
				if err := con.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestUnwantedBatches: a consumer begins late in a chunk of large compressed batches.
// Those before are not opened, and take no memory.
func TestUnwantedBatches(t *testing.T) {
	data, size := packed(t, compress.Zstd, strings.Repeat("x", 32<<20))
	c := fakebroker.Chunk(0, 0)
	for range 10 {
		fakebroker.AddCompressed(c, uint8(compress.Zstd), 1, size, data)
	}
	fakebroker.AddBatch(c, "a", "b", "c")
	for _, reuse := range []bool{false, true} {
		fakebroker.CheckMemory(t, 20<<20, func() {
			con := streamConsumer(t, faultStreamClient(t, feed(fakebroker.Deliver(c))), thump.ConsumerConfig{
				ReuseBuffers: reuse, Stream: thump.StreamConsuming{Start: thump.FromOffset(11)},
			})
			batch, err := con.Receive(t.Context())
			if err != nil || len(batch.Deliveries) != 2 || batch.Deliveries[0].Offset != 11 || string(batch.Deliveries[0].Body) != "b" {
				t.Errorf("got %+v, %v", batch, err)
			}
			if err := con.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
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

// TestFaultStreamBodies: deliveries stay as they are while more comes, compressed or
// not; with ReuseBuffers, until the next batch is asked for, and their Clones longer.
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
	for i, maxBatch := range []int{1, 3, 7, 10, 1000, 1, 3, 7, 10, 1000} {
		reuse := i < 5
		synctest.Test(t, func(t *testing.T) {
			client := faultStreamClient(t, feed(frames...))
			con, err := client.Consumer(t.Context(), thump.ConsumerConfig{
				From: thump.Stream("events"), MaxBatch: maxBatch, ReuseBuffers: reuse, Stream: thump.StreamConsuming{Credit: 3},
			})
			if err != nil {
				t.Fatal(err)
			}
			var kept []*thump.Delivery
			for len(kept) < 400 {
				batch, err := con.Receive(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // whatever there is credit for has come
				for i := range batch.Deliveries {
					d := &batch.Deliveries[i]
					if reuse {
						d = new(d.Clone())
					}
					kept = append(kept, d)
				}
			}
			for i, d := range kept {
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
