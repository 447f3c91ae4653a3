package amqp10

import "testing"

// benchMessage has what a message published over AMQP 0-9-1 with a content type
// and two headers has.
func benchMessage() Message {
	return Message{
		Durable:     new(true),
		Annotations: []Pair{{"x-exchange", ""}, {"x-routing-key", "hello"}},
		MessageID:   "4bf92f3577b34da6a3ce929d0e0e4736",
		ContentType: "application/json",
		ApplicationProperties: []Pair{
			{"attempt", int32(3)}, {"trace-id", "4bf92f3577b34da6a3ce929d0e0e4736"},
		},
		Body: make([]byte, 100),
	}
}

func BenchmarkParseMessage(b *testing.B) {
	m := benchMessage()
	in, err := AppendMessage(nil, &m)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if err := ParseMessage(in, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	m := benchMessage()
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = AppendMessage(buf[:0], &m); err != nil {
			b.Fatal(err)
		}
	}
}
