package hostiletest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/streamproto"
)

// storingHeld is what docs/memory.md says of a consumer while an offset is stored.
const storingHeld = 258 << 20

// TestBatchAtItsLimit: batches whose uncompressed size is about the most that is accepted,
// 72 kB on the wire. One that is larger is a delivery with a mark.
func TestBatchAtItsLimit(t *testing.T) {
	const most, count = 64 << 20, 64
	for _, size := range []int{most - 1, most, most + 1} {
		var plain []byte
		for left := count; left > 0; left-- {
			body := (size - len(plain)) / left
			plain = streamproto.AppendBatchedData(plain, make([]byte, body-(streamproto.BatchedDataSize(body)-body)))
		}
		data, err := compress.Compress(nil, compress.Gzip, plain)
		if err != nil || len(plain) != size {
			t.Fatalf("%d bytes instead of %d, %v", len(plain), size, err)
		}
		plain = nil // the heap is measured
		c := fakebroker.Chunk(0, 0)
		fakebroker.AddCompressed(c, uint8(compress.Gzip), count, uint32(size), data)
		var scenarios []streamScenario
		for _, reuse := range []bool{false, true} {
			scenarios = append(scenarios, streamScenario{scenario{
				name: fmt.Sprintf("%d/ReuseBuffers %v", size, reuse), held: streamHeld + inflatedHeld, within: 3 * time.Second,
				call: func(ctx context.Context, client *thump.Client) error {
					con, err := streamConsumer(ctx, client, thump.ConsumerConfig{ReuseBuffers: reuse})
					for err == nil {
						var batch *thump.Batch
						if batch, err = con.Receive(ctx); err == nil && batch.Deliveries[len(batch.Deliveries)-1].Offset == count-1 {
							break
						}
					}
					if err != nil {
						return err
					}
					closing, cancel := context.WithTimeout(ctx, 50*time.Millisecond) // it is not answered
					defer cancel()
					return con.Close(closing)
				}, want: ended,
			}, delivers(fakebroker.Deliver(c))})
		}
		playStreams(t, scenarios)
	}
}

// TestNothingWanted: chunks that hold nothing for the program, without end. Its context is
// heard all the same.
func TestNothingWanted(t *testing.T) {
	none := func(*thump.Delivery) bool { return false }
	nothing := fakebroker.Chunk(0, 0)
	for range 1000 {
		at := len(nothing.Data)
		fakebroker.AddBatch(nothing, "m")
		nothing.Data[at+1], nothing.Data[at+2] = 0, 0 // of no messages
	}
	nothing.Records = 0
	other := fakebroker.Chunk(0, 0, "b")
	other.Type = streamproto.ChunkUser + 1
	var scenarios []streamScenario
	for _, f := range []struct {
		name  string
		chunk *streamproto.Chunk
		cfg   thump.StreamConsuming
	}{
		{"empty chunks", fakebroker.Chunk(0, 0), thump.StreamConsuming{}},
		{"chunks of empty batches", nothing, thump.StreamConsuming{}},
		{"messages that Keep leaves out", fakebroker.Chunk(0, 0, strings.Split(strings.Repeat("m", 1000), "")...), thump.StreamConsuming{Filters: []string{"f"}, Keep: none}},
		{"chunks of another type", other, thump.StreamConsuming{}},
	} {
		scenarios = append(scenarios, streamScenario{
			scenario{name: f.name, held: streamConsumerHeld, want: ended, call: read(thump.ConsumerConfig{Stream: f.cfg})},
			new(pouring).subscribed(1<<30, chunks(f.chunk)),
		})
	}
	playStreams(t, scenarios)
}

// TestEndOfStreamConsumer: a broker that delivers on and on, and answers nothing, while a
// consumer is closed, or stores an offset.
func TestEndOfStreamConsumer(t *testing.T) {
	pours := func(p *pouring, total int) func(*fakebroker.StreamSession) {
		return p.subscribed(total, chunks(fakebroker.Chunk(0, 0, strings.Repeat("b", 100_000))))
	}
	p := &pouring{}
	playStreams(t, []streamScenario{{
		scenario{name: "Close", held: streamConsumerHeld, want: ended, call: func(ctx context.Context, client *thump.Client) error {
			con, err := streamConsumer(ctx, client, thump.ConsumerConfig{})
			if err != nil {
				return err
			}
			return con.Close(ctx)
		}},
		pours(&pouring{}, 320<<20),
	}, {
		scenario{name: "Close without end, until the connection is gone", held: streamConsumerHeld, within: 3 * time.Second, want: "it has returned", call: func(ctx context.Context, client *thump.Client) error {
			con, err := streamConsumer(ctx, client, thump.ConsumerConfig{})
			if err != nil {
				return err
			}
			_ = con.Close(context.WithoutCancel(ctx)) // a stream keeps its messages: that its connection broke is all the same
			return errors.New("it has returned")
		}},
		func(s *fakebroker.StreamSession) {
			s.Login()
			s.OpenSubscription()
			new(pouring).send(s, 320<<20, chunks(fakebroker.Chunk(0, 0, strings.Repeat("b", 100_000))))
			s.Reset()
		},
	}, {
		scenario{name: "StoreOffset", held: storingHeld, want: ended, within: 3 * time.Second, call: func(ctx context.Context, client *thump.Client) error {
			con, err := streamConsumer(ctx, client, thump.ConsumerConfig{Stream: thump.StreamConsuming{Name: "reader"}})
			if err != nil {
				return err
			}
			batch, err := con.Receive(ctx)
			if err == nil {
				err = batch.Ack()
			}
			if err != nil {
				return err
			}
			storing, cancel := context.WithCancelCause(ctx)
			go func() {
				p.stalled(ctx)
				cancel(context.DeadlineExceeded)
			}()
			if err := con.StoreOffset(storing); err != nil {
				return context.Cause(storing)
			}
			return nil
		}},
		func(s *fakebroker.StreamSession) {
			s.Login()
			_, c := fakebroker.ExpectCommand[*streamproto.QueryOffset](s)
			s.Answer(c, &streamproto.QueryOffsetResponse{Code: streamproto.CodeNoOffset})
			s.OpenSubscription()
			p.pour(s, 512<<20, chunks(fakebroker.Chunk(0, 0, strings.Repeat("b", 100_000))))
		},
	}})
}
