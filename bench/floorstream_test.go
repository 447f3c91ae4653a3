package main

import (
	"encoding/binary"
	"testing"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/streamproto"
)

// publishedBodies reads what encodeStream made, as a broker would, and checks
// every body, every id, and where the frames end.
func publishedBodies(t *testing.T, p publishes, want int) (bodies int) {
	t.Helper()
	check := newBodyCheck(want)
	entries, at := 0, 0
	for i, frame := range p.frames {
		f, n, err := streamproto.ParseFrame(p.bytes[at:], streamproto.Limits{Frame: floorStreamFrameMax})
		if err != nil {
			t.Fatal(err)
		}
		if at += n; at != frame.end {
			t.Fatalf("frame %d ends at %d, expected %d", i, frame.end, at)
		}
		_, _, reader, err := streamproto.ParsePublish(f)
		if err != nil {
			t.Fatal(err)
		}
		for id, _, entry, ok := reader.Next(); ok; id, _, entry, ok = reader.Next() {
			if entries++; id != uint64(entries) {
				t.Fatalf("entry %d has publishing id %d", entries, id)
			}
			takeEntry(t, check, entry)
		}
		if err := reader.Err(); err != nil {
			t.Fatal(err)
		}
		if frame.entries != entries {
			t.Errorf("frame %d ends with entry %d, expected %d", i, frame.entries, entries)
		}
	}
	if at != len(p.bytes) || entries != p.entries {
		t.Errorf("%d bytes and %d entries, expected %d and %d", len(p.bytes), p.entries, at, entries)
	}
	if err := check.err(); err != nil {
		t.Error(err)
	}
	return check.count
}

func takeEntry(t *testing.T, check *bodyCheck, entry streamproto.Entry) {
	t.Helper()
	if !entry.Batched {
		if err := check.addData(entry.Data); err != nil {
			t.Fatal(err)
		}
		return
	}
	before := check.count
	message, rest, ok := streamproto.NextBatched(entry.Data)
	for ; ok; message, rest, ok = streamproto.NextBatched(rest) {
		if err := check.addData(message); err != nil {
			t.Fatal(err)
		}
	}
	if check.count-before != entry.Count {
		t.Fatalf("a batch of %d messages says that it has %d", check.count-before, entry.Count)
	}
}

func TestEncodeStream(t *testing.T) {
	for name, tt := range map[string]struct {
		count, subEntry int
		entries         int
		frames          int // at least
	}{
		"single entries":       {count: 20_000, entries: 20_000, frames: 2},
		"batches":              {count: 20_000, subEntry: 500, entries: 40, frames: 2},
		"a rest":               {count: 1001, subEntry: 500, entries: 3, frames: 1},
		"less than a batch":    {count: 3, subEntry: 500, entries: 1, frames: 1},
		"one":                  {count: 1, entries: 1, frames: 1},
		"a batch fills frames": {count: 11_000, subEntry: 5000, entries: 3, frames: 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := encodeStream(task{Count: tt.count, SubEntry: tt.subEntry})
			if got := publishedBodies(t, p, tt.count); got != tt.count {
				t.Errorf("%d messages, expected %d", got, tt.count)
			}
			if p.entries != tt.entries || len(p.frames) < tt.frames {
				t.Errorf("%d entries in %d frames, expected %d in %d or more", p.entries, len(p.frames), tt.entries, tt.frames)
			}
		})
	}
}

func TestPublishesFit(t *testing.T) {
	p := publishes{entries: 40}
	for i := range 4 {
		p.frames = append(p.frames, publishFrame{end: (i + 1) * 400_000, entries: (i + 1) * 10})
	}
	for name, tt := range map[string]struct{ next, confirmed, window, want int }{
		"nothing is out: one, however small the window": {next: 0, confirmed: 0, window: 1, want: 1},
		"as many as the window has room for":            {next: 0, confirmed: 0, window: 25, want: 2},
		"no more than a write takes":                    {next: 0, confirmed: 0, window: 1000, want: 2},
		"no room":                                       {next: 2, confirmed: 5, window: 20, want: 2},
		"room again":                                    {next: 2, confirmed: 10, window: 20, want: 3},
		"the end":                                       {next: 4, confirmed: 10, window: 1000, want: 4},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.fit(tt.next, tt.confirmed, tt.window); got != tt.want {
				t.Errorf("frames up to %d may be out, expected %d", got, tt.want)
			}
		})
	}
}

// chunks are two Deliver frames with messages 1 to 9: single entries, then two
// batches and a single one.
func chunks(t *testing.T) []byte {
	t.Helper()
	number := 0
	message := func() []byte {
		number++
		return amqp10.AppendData(nil, appendBody(nil, number))
	}
	single := func(dst []byte) []byte {
		m := message()
		return append(binary.BigEndian.AppendUint32(dst, uint32(len(m))), m...)
	}
	batch := func(dst []byte, count int) []byte {
		b := streamproto.BeginBatch(nil)
		for range count {
			start := len(b) + sizeBytes
			b = append(streamproto.BeginBatched(b), message()...)
			streamproto.EndBatched(b, start)
		}
		streamproto.EndBatch(b, 0, 0, count)
		return append(dst, b[8:]...) // a chunk has no publishing ids
	}
	first := streamproto.Chunk{Entries: 2, Records: 2, Data: single(single(nil))}
	second := streamproto.Chunk{Entries: 3, Records: 7, FirstOffset: 2, Data: single(batch(batch(nil, 2), 4))}
	return streamproto.AppendDeliver(streamproto.AppendDeliver(nil, 1, &first), 1, &second)
}

func TestChunkWalk(t *testing.T) {
	stream := chunks(t)
	// However the chunks are cut by the reads, every message is taken once.
	for size := 1; size <= len(stream); size++ {
		w := chunkWalk{check: newBodyCheck(9)}
		ended, start := 0, 0
		for end := 0; end < len(stream); {
			end = min(end+size, len(stream))
			n, chunks, err := w.walk(stream[start:end])
			if err != nil {
				t.Fatalf("reads of %d bytes: %v", size, err)
			}
			start += n
			ended += chunks
		}
		if start != len(stream) || w.check.count != 9 || ended != 2 {
			t.Fatalf("reads of %d bytes: %d bytes of %d, %d messages and %d chunks, expected 9 and 2",
				size, start, len(stream), w.check.count, ended)
		}
	}
}

func TestChunkWalkRefuses(t *testing.T) {
	heartbeats := make([]byte, 0, 100)
	for range 12 {
		heartbeats = streamproto.AppendHeartbeat(heartbeats)
	}
	damaged := chunks(t)
	damaged[len(damaged)-1] ^= 1
	for name, b := range map[string][]byte{"no chunk": heartbeats, "a damaged body": damaged} {
		t.Run(name, func(t *testing.T) {
			w := chunkWalk{check: newBodyCheck(9)}
			if _, _, err := w.walk(b); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestChunkEnd(t *testing.T) {
	stream := chunks(t)
	if _, ok := chunkEnd(stream[:deliverHeader-1]); ok {
		t.Error("a header that is cut short was read")
	}
	if end, ok := chunkEnd(stream); !ok || end != 2 {
		t.Errorf("the first chunk ends at %d, %v, expected 2", end, ok)
	}
	if end, ok := chunkEnd(stream[int(binary.BigEndian.Uint32(stream))+sizeBytes:]); !ok || end != 9 {
		t.Errorf("the second chunk ends at %d, %v, expected 9", end, ok)
	}
}
