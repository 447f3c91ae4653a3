package thump

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/mutate"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
)

// chunkWith is a chunk of messages whose bodies these are, an entry each or in batches of
// so many.
func chunkWith(tb testing.TB, batch int, bodies ...string) streamproto.Chunk {
	tb.Helper()
	c := streamproto.Chunk{FirstOffset: 1000, Records: uint32(len(bodies))}
	const id = 8 // bytes, which an entry of a chunk does not have
	for len(bodies) > 0 {
		n, entry := 1, streamproto.AppendDataEntry(nil, 0, []byte(bodies[0]))
		if batch > 0 {
			n, entry = min(batch, len(bodies)), streamproto.BeginBatch(nil)
			for _, body := range bodies[:n] {
				entry = streamproto.AppendBatchedData(entry, []byte(body))
			}
			streamproto.EndBatch(entry, 0, 0, n)
		}
		c.Data = append(c.Data, entry[id:]...)
		c.Entries++
		bodies = bodies[n:]
	}
	return c
}

// filler is a consumer that reads chunks of a test.
func filler(keep func(*Delivery) bool) *streamConsumer {
	cfg := &ConsumerConfig{ReuseBuffers: true, Stream: StreamConsuming{Keep: keep}}
	return &streamConsumer{cfg: cfg, reading: chunkReader{lends: true}}
}

// filling reads chunks again and again in the same memory: to allocate it takes longer than to
// read a chunk.
type filling struct {
	old   []Delivery // as those of the batch before
	batch []Delivery
	all   []Delivery
	bytes []byte // theirs
}

// fillingMost is how many deliveries a batch has at most.
const fillingMost = 2000

func newFilling() *filling {
	// One with everything in it that there can be, and some with one thing each.
	kinds := []Delivery{{
		Body: []byte("old"), Exchange: "old", RoutingKey: "old", Redelivered: true, Format: FormatRaw, Offset: 7, tag: 7,
		properties: []byte("old"), parsed: &parsedProperties{}, hold: &hold{},
	}, {Exchange: "old"}, {RoutingKey: "old"}, {properties: []byte{}}, {parsed: &parsedProperties{}}, {}}
	f := &filling{batch: make([]Delivery, fillingMost)}
	for i := range fillingMost {
		f.old = append(f.old, kinds[i%len(kinds)])
	}
	return f
}

// filled is what fill makes of a chunk, in one, and the error that it ends with. It is valid
// until the next call.
func (f *filling) filled(s *streamConsumer, a streamconn.Arrival, from uint64, limit int, h *hold) (all []Delivery, err error) {
	c := a.Chunk
	s.reading.open(&a, &position{})
	s.reading.from = from
	b := &Batch{hold: h}
	room := min(limit, len(c.Data)/4+1) // no message takes less
	f.all, f.bytes = f.all[:0], f.bytes[:0]
	for s.reading.reuse(); s.reading.position != nil && err == nil; s.reading.reuse() {
		copy(f.batch, f.old[:room])
		b.Deliveries = f.batch[:0]
		if len(c.Data)%8 == 0 { // it has to grow where the header says more than there is
			b.Deliveries = f.batch[:0:room]
		}
		err = s.fill(b, limit)
		for _, d := range b.Deliveries {
			d.Body, d.properties = f.keep(d.Body), f.keep(d.properties) // they are lent
			f.all = append(f.all, d)
		}
	}
	return f.all, err
}

// keep copies b.
func (f *filling) keep(b []byte) []byte {
	if b == nil {
		return nil
	}
	start := len(f.bytes)
	f.bytes = append(f.bytes, b...)
	return f.bytes[start:len(f.bytes):len(f.bytes)]
}

// FuzzFill compares fill with itself where Keep, which keeps all, has it look at one message
// at a time, and check batches that were not checked before: the same deliveries must come of a chunk, up to the same error.
func FuzzFill(f *testing.F) {
	add := func(c streamproto.Chunk) {
		for _, limit := range []uint16{1, 3, 1000} {
			f.Add(c.Data, c.Entries, c.Records, uint16(0), limit)
			f.Add(c.Data, c.Entries, c.Records, uint16(2), limit)
		}
	}
	long := strings.Repeat("x", 300)
	for _, batch := range []int{0, 1, 3, 100} {
		add(chunkWith(f, batch, "a", "", "Message 1", long[:255], long[:256], long, "b", "c"))
	}
	c := chunkWith(f, 3, "a", "b", "c", "d")
	c.Data[len(c.Data)-1-1-9]++ // the size of the last message
	add(c)
	c = chunkWith(f, 0, "a", "b")
	c.Data = append(c.Data, "\x00\x00\x00\x05hello\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	c.Entries, c.Records = 5, 4
	add(c)
	one, other := newFilling(), newFilling()
	var before []byte
	mutate.Fuzz(f, func(t *testing.T, data []byte, entries uint16, records uint32, from, limit uint16) {
		c := streamproto.Chunk{FirstOffset: 1000, Entries: entries, Records: records, Data: data}
		most, h := 1+int(limit)%fillingMost, &hold{}
		before = append(before[:0], data...)
		a := streamconn.Arrival{Chunk: c, Sound: c.BatchesSound()}
		got, gotErr := one.filled(filler(nil), a, 1000+uint64(from), most, h)
		a.Sound = false
		want, wantErr := other.filled(filler(func(*Delivery) bool { return true }), a, 1000+uint64(from), most, h)
		if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || len(got) != len(want) {
			t.Fatalf("%d deliveries, %v, want %d, %v", len(got), gotErr, len(want), wantErr)
		}
		for i := range got {
			if !same(&got[i], &want[i]) || got[i].hold != h {
				t.Fatalf("delivery %d is %+v, want %+v", i, got[i], want[i])
			}
		}
		if !bytes.Equal(data, before) {
			t.Fatal("the chunk was written to")
		}
	})
}

// same compares deliveries that nobody has asked for properties.
func same(a, b *Delivery) bool {
	return bytes.Equal(a.Body, b.Body) && (a.Body == nil) == (b.Body == nil) && a.Exchange == b.Exchange && a.RoutingKey == b.RoutingKey &&
		a.Redelivered == b.Redelivered && a.Format == b.Format && a.sections == b.sections && a.Offset == b.Offset && a.tag == b.tag &&
		bytes.Equal(a.properties, b.properties) && (a.properties == nil) == (b.properties == nil) && a.parsed == nil && b.parsed == nil && a.hold == b.hold
}

// BenchmarkFill makes deliveries of chunks, an entry for each message or in batches; each op
// is a message.
func BenchmarkFill(b *testing.B) {
	bodies := make([]string, 8000)
	for i := range bodies {
		bodies[i] = fmt.Sprintf("Message %d", 1_000_000+i)
	}
	for _, batch := range []int{0, 100, 500} {
		c := chunkWith(b, batch, bodies...)
		for _, limit := range []int{128, 1000} {
			b.Run(fmt.Sprintf("batch-%d/limit-%d", batch, limit), func(b *testing.B) {
				s, p := filler(nil), &position{}
				batch := &Batch{hold: &hold{}}
				b.ReportAllocs()
				for left := b.N; left > 0; {
					s.reading.open(&streamconn.Arrival{Chunk: c}, p)
					for s.reading.reuse(); s.reading.position != nil; s.reading.reuse() {
						batch.Deliveries = batch.Deliveries[:0]
						if err := s.fill(batch, limit); err != nil {
							b.Fatal(err)
						}
						left -= len(batch.Deliveries)
					}
				}
			})
		}
	}
}
