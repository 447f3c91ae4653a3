package main

import (
	"testing"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/streamproto"
)

const benchMessages = 50_000

func perMessage(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchMessages, "ns/message")
}

// BenchmarkFloorChunks is what walking a stream costs, in chunks of 500 messages:
// an entry for each, or a batch.
func BenchmarkFloorChunks(b *testing.B) {
	const size = 500
	var entries, batches []byte
	for next := 1; next <= benchMessages; next += size {
		var singles []byte
		batch := streamproto.BeginBatch(nil)
		for i := next; i < next+size; i++ {
			singles = streamproto.AppendBatchedData(singles, appendBody(nil, i)) // a chunk's entries look the same
			batch = streamproto.AppendBatchedData(batch, appendBody(nil, i))
		}
		streamproto.EndBatch(batch, 0, 0, size)
		entries = streamproto.AppendDeliver(entries, 1, &streamproto.Chunk{Entries: size, Records: size, Data: singles})
		batches = streamproto.AppendDeliver(batches, 1, &streamproto.Chunk{Entries: 1, Records: size, Data: batch[8:]}) // without the publishing id
	}
	for name, stream := range map[string][]byte{"entries": entries, "batches": batches} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w := chunkWalk{check: newBodyCheck(benchMessages)}
				if n, _, err := w.walk(stream); err != nil || n != len(stream) || w.check.count != benchMessages {
					b.Fatal(n, err, w.check.count)
				}
			}
			perMessage(b)
		})
	}
}

// BenchmarkFloorDeliveries is what walking the deliveries of a queue costs.
func BenchmarkFloorDeliveries(b *testing.B) {
	var stream []byte
	var err error
	for i := 1; i <= benchMessages; i++ {
		deliver := amqpproto.BasicDeliver{ConsumerTag: "f", DeliveryTag: uint64(i), RoutingKey: "q"}
		stream, err = amqpproto.AppendContent(stream, floorChannel, floorFrameMax, &deliver, &amqpproto.Properties{DeliveryMode: 1}, appendBody(nil, i))
		if err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		c := bareConn{bareSocket{buf: stream, end: len(stream)}}
		check := newBodyCheck(benchMessages)
		if err := c.walkDeliveries(check); err != nil || check.count != benchMessages {
			b.Fatal(err, check.count)
		}
	}
	perMessage(b)
}
