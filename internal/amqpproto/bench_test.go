package amqpproto

import (
	"fmt"
	"testing"
	"time"
)

func BenchmarkAppendPublish(b *testing.B) {
	for _, size := range []int{14, 100, 1024} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			p := &BasicPublish{RoutingKey: "hello"}
			props := &Properties{DeliveryMode: 2}
			body := make([]byte, size)
			buf := make([]byte, 0, 4096)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				var err error
				if buf, err = AppendPublish(buf[:0], 1, 131072, p, props, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParseDelivery reads the three frames of a delivery, as a connection's
// reader does.
func BenchmarkParseDelivery(b *testing.B) {
	for _, size := range []int{14, 100, 1024} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			buf, err := AppendContent(nil, 1, 131072,
				&BasicDeliver{ConsumerTag: "ctag1.0", DeliveryTag: 7, RoutingKey: "hello"},
				&Properties{DeliveryMode: 2}, make([]byte, size))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if got := parseDelivery(b, buf); got != size {
					b.Fatalf("read %d bytes of body, want %d", got, size)
				}
			}
		})
	}
}

func parseDelivery(b testing.TB, in []byte) (size int) {
	for len(in) > 0 {
		f, n, err := ParseFrame(in, 131072)
		if err != nil || n == 0 {
			b.Fatal("frame:", n, err)
		}
		switch f.Type {
		case FrameMethod:
			id, arguments, err := ParseMethodID(f.Payload)
			if err != nil || id != MethodBasicDeliver {
				b.Fatal("method:", id, err)
			}
			if v, err := ParseDeliver(arguments); err != nil || v.DeliveryTag != 7 {
				b.Fatal("deliver:", v, err)
			}
		case FrameHeader:
			if h, err := ParseContentHeader(f.Payload); err != nil {
				b.Fatal("header:", h, err)
			}
		case FrameBody:
			size += len(f.Payload)
		}
		in = in[n:]
	}
	return size
}

func BenchmarkParseAck(b *testing.B) {
	frame := AppendAck(nil, 1, 123456, true)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		f, _, err := ParseFrame(frame, 131072)
		if err != nil {
			b.Fatal(err)
		}
		id, arguments, err := ParseMethodID(f.Payload)
		if err != nil || id != MethodBasicAck {
			b.Fatal(id, err)
		}
		if tag, multiple, err := ParseAck(arguments); tag != 123456 || !multiple || err != nil {
			b.Fatal(tag, multiple, err)
		}
	}
}

func BenchmarkAppendAck(b *testing.B) {
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendAck(buf[:0], 1, 123456, true)
	}
}

// benchTable has the fields of a retried message: strings, numbers, x-death.
func benchTable() Table {
	return Table{
		{"trace-id", "4bf92f3577b34da6a3ce929d0e0e4736"},
		{"attempt", int32(3)},
		{"retry", true},
		{"x-death", []any{Table{
			{"count", int64(2)},
			{"exchange", "orders"},
			{"queue", "orders.retry"},
			{"reason", "expired"},
			{"routing-keys", []any{"orders.new"}},
			{"time", time.Unix(1700000000, 0)},
		}}},
	}
}

func BenchmarkParseTable(b *testing.B) {
	in, err := encodeTable(nil, benchTable())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if _, _, err := decodeTable(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendTable(b *testing.B) {
	t := benchTable()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = encodeTable(buf[:0], t); err != nil {
			b.Fatal(err)
		}
	}
}
