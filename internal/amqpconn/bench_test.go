package amqpconn

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/conntest"
	"github.com/thumpmq/thump/internal/fakebroker"
	"github.com/thumpmq/thump/internal/window"
)

// benchBatch is how many messages are published, or taken, together. An
// operation of the benchmarks is one message.
const benchBatch = 256

// benchPair connects to a script over a pipe that holds as much as the buffers
// of a socket on loopback do.
func benchPair(b *testing.B, script func(*fakebroker.Session)) *Conn {
	b.Helper()
	broker := fakebroker.Pipe(b, 1<<20, func(s *fakebroker.Session) {
		s.Login()
		script(s)
	})
	conn, err := Dial(b.Context(), config(broker))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conntest.Drop(conn) })
	return conn
}

// BenchmarkPublish publishes batches to a peer that reads and drops them, and
// with confirms confirms what it read, from the first byte to the last confirm.
func BenchmarkPublish(b *testing.B) {
	for _, size := range []int{14, 1024} {
		for _, confirms := range []bool{false, true} {
			b.Run(fmt.Sprintf("body=%d/confirms=%v", size, confirms), func(b *testing.B) {
				benchmarkPublish(b, size, confirms)
			})
		}
	}
}

func benchmarkPublish(b *testing.B, size int, confirms bool) {
	p := Message{Body: make([]byte, size)}
	p.RoutingKey, p.Mandatory, p.Properties.DeliveryMode = "hello", true, 2
	encoded, err := amqpproto.AppendPublish(nil, 1, 131072, &p.BasicPublish, &p.Properties, p.Body)
	if err != nil {
		b.Fatal(err)
	}
	conn := benchPair(b, func(s *fakebroker.Session) {
		if !confirms {
			s.OpenChannel()
			s.Discard()
			return
		}
		s.OpenPublisher()
		confirmAll(s, len(encoded))
	})
	ch, err := conn.Channel(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	ch.carry(b, window.Config{Messages: 10_000, Unconfirmed: !confirms})
	b.SetBytes(int64(size))
	b.ReportAllocs()
	ready := func() {
		if err := ch.BeginPublish(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	ready()
	for i := 1; b.Loop(); i++ {
		if i%benchBatch == 0 {
			ch.EndPublish()
			ready()
		}
		for {
			ok, err := ch.Publish(&p)
			if ok {
				break
			}
			ch.EndPublish()
			if err != nil {
				b.Fatal(err)
			}
			ready()
		}
	}
	ch.EndPublish()
	if confirms {
		if err := ch.window().Wait(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// confirmAll reads messages of size bytes and confirms with one multiple ack what
// a read brought, without allocating.
func confirmAll(s *fakebroker.Session, size int) {
	conn := s.Conn()
	buf := make([]byte, 64<<10)
	ack := amqpproto.AppendAck(nil, 1, 0, true)
	for read, confirmed := 0, 0; ; {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		read += n
		if whole := read / size; whole > confirmed {
			confirmed = whole
			binary.BigEndian.PutUint64(ack[11:], uint64(confirmed))
			if _, err := conn.Write(ack); err != nil {
				return
			}
		}
	}
}

// BenchmarkDeliver consumes from a peer that writes deliveries encoded before,
// and acks each batch with one frame. The buffers are given back, or let go, which
// shows as bytes.
func BenchmarkDeliver(b *testing.B) {
	for _, size := range []int{14, 1024} {
		for _, reuse := range []bool{true, false} {
			b.Run(fmt.Sprintf("body=%d/reuse=%v", size, reuse), func(b *testing.B) { benchmarkDeliver(b, size, reuse) })
		}
	}
}

func benchmarkDeliver(b *testing.B, size int, reuse bool) {
	conn := benchPair(b, func(s *fakebroker.Session) {
		s.OpenConsumer()
		go func() { _, _ = io.Copy(io.Discard, s.Conn()) }() // the acks
		deliverForever(s, size)
	})
	ch, err := conn.Channel(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	in, err := ch.Consume(b.Context(), 0, &amqpproto.BasicConsume{Queue: "q", ConsumerTag: "c"})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	var d Deliveries
	for range 200 { // warm: every slice has grown
		if err := in.Take(ctx, &d, benchBatch); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i == len(d.List) {
			if err := ch.Ack(true, d.List[i-1].Tag); err != nil {
				b.Fatal(err)
			}
			if !reuse {
				d.LetGo()
			}
			if err := in.Take(ctx, &d, benchBatch); err != nil {
				b.Fatal(err)
			}
			i = 0
		}
		if len(d.List[i].Body) != size {
			b.Fatal("a body of", len(d.List[i].Body))
		}
	}
}

// deliverForever writes deliveries until the client is gone, without allocating.
func deliverForever(s *fakebroker.Session, size int) {
	const tagOffset = 7 + 4 + 2 // behind frame header, method id and consumer tag "c"
	one := deliver(1, 0, string(make([]byte, size)))
	var batch []byte
	for range benchBatch {
		batch = append(batch, one...)
	}
	for tag := uint64(1); ; {
		for i := range benchBatch {
			binary.BigEndian.PutUint64(batch[i*len(one)+tagOffset:], tag)
			tag++
		}
		if _, err := s.Conn().Write(batch); err != nil {
			return
		}
	}
}
