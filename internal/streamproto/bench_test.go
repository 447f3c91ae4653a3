package streamproto

import (
	"fmt"
	"testing"

	"github.com/thumpmq/thump/internal/amqp10"
)

// The benchmarks count a message an operation, so that their figures are times
// per message.

func BenchmarkAppendDataEntry(b *testing.B) {
	for _, size := range []int{14, 100, 1024} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			body, buf, id := make([]byte, size), make([]byte, 0, 1<<20), uint64(0)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if len(buf)+DataEntrySize(size) > cap(buf) {
					buf = buf[:0]
				}
				id++
				buf = AppendDataEntry(buf, id, body)
			}
		})
	}
}

func BenchmarkAppendBatchedData(b *testing.B) {
	for _, size := range []int{14, 100, 1024} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			body, buf := make([]byte, size), make([]byte, 0, 1<<20)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if len(buf)+BatchedDataSize(size) > cap(buf) {
					buf = buf[:0]
				}
				buf = AppendBatchedData(buf, body)
			}
		})
	}
}

const benchMessages = 1000 // of a chunk

// benchChunk is a Deliver frame with 1000 messages: each an entry, or in batches
// of that many.
func benchChunk(perBatch int) []byte {
	c := &Chunk{Records: benchMessages}
	body := make([]byte, 14)
	for i := 0; i < benchMessages; i += perBatch {
		c.Entries++
		if perBatch == 1 {
			c.Data = append(c.Data, AppendDataEntry(nil, 0, body)[idSize:]...)
			continue
		}
		batch := BeginBatch(nil)
		for range perBatch {
			batch = AppendBatchedData(batch, body)
		}
		EndBatch(batch, 0, 0, perBatch)
		c.Data = append(c.Data, batch[idSize:]...)
	}
	return AppendDeliver(nil, 1, c)
}

// readChunk reads all messages of a frame, as a consumer does.
func readChunk(tb testing.TB, frame []byte, check bool) (bytes int) {
	f, _, err := ParseFrame(frame, Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	c, err := ParseDeliver(f)
	if err != nil {
		tb.Fatal(err)
	}
	if check {
		if err := c.CheckCRC(); err != nil {
			tb.Fatal(err)
		}
	}
	r := c.Reader()
	for {
		if message, ok := r.NextMessage(); ok {
			body, _ := amqp10.Data(message)
			bytes += len(body)
			continue
		}
		e, ok := r.Next()
		if !ok {
			break
		}
		for message, rest, ok := NextBatched(e.Data); ok; message, rest, ok = NextBatched(rest) {
			body, _ := amqp10.Data(message)
			bytes += len(body)
		}
	}
	if err := r.Err(); err != nil {
		tb.Fatal(err)
	}
	return bytes
}

func BenchmarkReadChunk(b *testing.B) {
	for _, test := range []struct {
		name     string
		perBatch int
		crc      bool
	}{
		{"entries", 1, false},
		{"entries,crc", 1, true},
		{"batches=100", 100, false},
		{"batches=100,crc", 100, true},
	} {
		b.Run(test.name, func(b *testing.B) {
			frame := benchChunk(test.perBatch)
			b.ReportAllocs()
			b.SetBytes(int64(len(frame)))
			for b.Loop() {
				if n := readChunk(b, frame, test.crc); n != 14*benchMessages {
					b.Fatal(n)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchMessages, "ns/message")
		})
	}
}

func BenchmarkParsePublishConfirm(b *testing.B) {
	ids := make([]uint64, 1000)
	for i := range ids {
		ids[i] = uint64(i)
	}
	frame := AppendPublishConfirm(nil, 1, ids...)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		if sum := sumConfirm(b, frame); sum != 999*1000/2 {
			b.Fatal(sum)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(ids)), "ns/id")
}

func sumConfirm(tb testing.TB, frame []byte) (sum uint64) {
	f, _, err := ParseFrame(frame, Limits{})
	if err != nil {
		tb.Fatal(err)
	}
	_, ids, err := ParsePublishConfirm(f)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range ids.Len() {
		sum += ids.At(i)
	}
	return sum
}

func TestHotPathAllocatesNothing(t *testing.T) {
	buf, body := make([]byte, 0, 1<<16), make([]byte, 300)
	publish := func() {
		b := BeginPublish(buf, 1, 1)
		b = AppendDataEntry(b, 1, body)
		b = AppendDataEntry(b, 2, body[:10])
		b = BeginEntry(b, 3)
		message := len(b)
		b = amqp10.AppendData(b, body)
		EndEntry(b, message)
		batch := len(b)
		b = BeginBatch(b)
		b = AppendBatchedData(b, body)
		b = BeginBatched(b)
		EndBatched(b, len(b))
		EndBatch(b, batch, 4, 2)
		b = AppendBatch(b, 5, 1, 1, 500, body)
		EndPublish(b, 0, 5)
		b = BeginPublish(b, 2, 1)
		b, err := BeginFilteredEntry(b, 1, "north")
		if err != nil {
			t.Fatal(err)
		}
		EndEntry(b, len(b))
		b = AppendHeartbeat(AppendCredit(b, Credit{1, 1}))
		if len(b) > cap(buf) {
			t.Fatal("the buffer was too small")
		}
	}
	if n := testing.AllocsPerRun(100, publish); n != 0 {
		t.Errorf("writing a publish: %v allocations", n)
	}
	for _, perBatch := range []int{1, 100} {
		frame := benchChunk(perBatch)
		if n := testing.AllocsPerRun(100, func() { readChunk(t, frame, true) }); n != 0 {
			t.Errorf("reading a chunk with %d messages an entry: %v allocations", perBatch, n)
		}
	}
	confirm, refuse := AppendPublishConfirm(nil, 1, 1, 2, 3), frameOf(t, AppendPublishError(nil, 1, 18, 1, 2, 3))
	if n := testing.AllocsPerRun(100, func() {
		sumConfirm(t, confirm)
		if _, errs, err := ParsePublishError(refuse); err != nil || errs.Len() != 3 {
			t.Fatal(errs, err)
		}
	}); n != 0 {
		t.Errorf("reading confirms: %v allocations", n)
	}
}
