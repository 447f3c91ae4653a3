package conformance

import (
	"testing"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// These go through a real broker, so what they measure is mostly the broker;
// allocs/op is thump's own. Each op is one message.

// BenchmarkPublish publishes messages of 14 bytes to a transient classic queue
// that keeps none, with confirms.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{1, 256} {
		b.Run(map[int]string{1: "single", 256: "batch-256"}[size], func(b *testing.B) {
			client, queue := benchQueue(b)
			p, err := client.Publisher(b.Context(), thump.PublisherConfig{To: thump.Queue(queue)})
			if err != nil {
				b.Fatal(err)
			}
			body := []byte("Message 123456")
			batch := make([]thump.Message, size)
			for i := range batch {
				batch[i] = thump.Message{Body: body, Properties: &thump.Properties{DeliveryMode: thump.Transient}}
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			b.ResetTimer()
			for left := b.N; left > 0; left -= size {
				if _, err := p.Publish(b.Context(), batch[:min(size, left)]...); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := p.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkReceive takes messages of 14 bytes out of a classic queue, acked by
// the batch, with bodies that are the caller's and with buffers that are used again.
func BenchmarkReceive(b *testing.B) {
	for _, reuse := range []bool{false, true} {
		b.Run(reuseName(reuse), func(b *testing.B) { benchmarkReceive(b, reuse) })
	}
}

func reuseName(reuse bool) string { return map[bool]string{false: "owned", true: "reused"}[reuse] }

func benchmarkReceive(b *testing.B, reuse bool) {
	client, queue := benchQueue(b, thump.Field{Key: "x-max-length", Value: int64(1 << 40)})
	p, err := client.Publisher(b.Context(), thump.PublisherConfig{To: thump.Queue(queue)})
	if err != nil {
		b.Fatal(err)
	}
	body := []byte("Message 123456")
	for range b.N {
		if _, err := p.Publish(b.Context(), thump.Message{Body: body, Properties: &thump.Properties{DeliveryMode: thump.Transient}}); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	b.ResetTimer()
	c, err := client.Consumer(b.Context(), thump.ConsumerConfig{From: thump.Queue(queue), ReuseBuffers: reuse})
	if err != nil {
		b.Fatal(err)
	}
	got := 0
	for batch, err := range c.Batches(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		got += len(batch.Deliveries)
		if err := batch.Ack(); err != nil {
			b.Fatal(err)
		}
		if got >= b.N {
			break
		}
	}
	b.StopTimer()
	if err := c.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// benchQueue makes a queue on the newest broker. Unless told otherwise it drops
// what it gets.
func benchQueue(b *testing.B, arguments ...thump.Field) (*thump.Client, string) {
	b.Helper()
	brokers := brokertest.All(b)
	client, err := thump.Dial(b.Context(), thump.Config{URLs: []string{brokers[len(brokers)-1].URL}})
	if err != nil {
		b.Fatal(err)
	}
	if arguments == nil {
		arguments = []thump.Field{{Key: "x-max-length", Value: int64(1000)}}
	}
	queue, err := client.DeclareQueue(b.Context(), thump.QueueSpec{Name: unique("bench"), Kind: thump.Classic, Arguments: arguments})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := parting()
		defer cancel()
		_, _ = client.DeleteQueue(ctx, queue.Name, thump.DeleteOptions{})
		_ = client.Close(ctx)
	})
	return client, queue.Name
}

// BenchmarkStreamPublish publishes messages of 14 bytes to a stream, confirmed.
func BenchmarkStreamPublish(b *testing.B) {
	for name, subEntry := range map[string]int{"entries": 1, "sub-entries": 0} {
		b.Run(name, func(b *testing.B) {
			client, stream := benchStream(b)
			b.ReportAllocs()
			b.SetBytes(int64(len(benchBody)))
			b.ResetTimer()
			fillStream(b, client, stream, subEntry)
		})
	}
}

// BenchmarkStreamReceive reads messages of 14 bytes out of a stream, with bodies that
// are the caller's and with buffers that are used again.
func BenchmarkStreamReceive(b *testing.B) {
	for name, subEntry := range map[string]int{"entries": 1, "sub-entries": 500} {
		for _, reuse := range []bool{false, true} {
			b.Run(name+"/"+reuseName(reuse), func(b *testing.B) { benchmarkStreamReceive(b, subEntry, reuse) })
		}
	}
}

func benchmarkStreamReceive(b *testing.B, subEntry int, reuse bool) {
	client, stream := benchStream(b)
	fillStream(b, client, stream, subEntry)
	b.ReportAllocs()
	b.SetBytes(int64(len(benchBody)))
	b.ResetTimer()
	c, err := client.Consumer(b.Context(), thump.ConsumerConfig{From: thump.Stream(stream), ReuseBuffers: reuse})
	if err != nil {
		b.Fatal(err)
	}
	got := 0
	for batch, err := range c.Batches(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		if got += len(batch.Deliveries); got >= b.N {
			break
		}
	}
	b.StopTimer()
	if err := c.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

var benchBody = []byte("Message 123456")

// fillStream publishes b.N messages, a thousand at a time, and waits for their
// confirms.
func fillStream(b *testing.B, client *thump.Client, stream string, subEntry int) {
	b.Helper()
	p, err := client.Publisher(b.Context(), thump.PublisherConfig{
		To: thump.Stream(stream), Stream: thump.StreamPublishing{SubEntry: subEntry},
	})
	if err != nil {
		b.Fatal(err)
	}
	batch := make([]thump.Message, 1000)
	for i := range batch {
		batch[i].Body = benchBody
	}
	for left := b.N; left > 0; left -= len(batch) {
		if _, err := p.Publish(b.Context(), batch[:min(len(batch), left)]...); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// benchStream makes a stream on the newest broker.
func benchStream(b *testing.B) (*thump.Client, string) {
	b.Helper()
	brokers := brokertest.All(b)
	client, err := thump.Dial(b.Context(), thump.Config{URLs: []string{brokers[len(brokers)-1].StreamURL}})
	if err != nil {
		b.Fatal(err)
	}
	stream := unique("bench")
	if err := client.DeclareStream(b.Context(), thump.StreamSpec{Name: stream}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := parting()
		defer cancel()
		_ = client.DeleteStream(ctx, stream)
		_ = client.Close(ctx)
	})
	return client, stream
}
