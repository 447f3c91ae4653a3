package thump

import (
	"testing"
	"unsafe"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// TestMessageSize: programs hold messages by the million.
func TestMessageSize(t *testing.T) {
	if size := unsafe.Sizeof(Message{}); size > 104 {
		t.Errorf("a Message has %d bytes", size)
	}
}

// BenchmarkPrepare is what a publisher does for a message, without its locks.
func BenchmarkPrepare(b *testing.B) {
	for _, c := range []struct {
		name string
		m    Message
	}{
		{"bare", Message{Body: make([]byte, 14)}},
		{"properties", Message{Body: make([]byte, 14), Properties: &Properties{ContentType: "text/plain", MessageID: "0123456789", CorrelationID: "12345"}}},
		{"headers", Message{Body: make([]byte, 14), Properties: &Properties{ContentType: "text/plain", Headers: Table{{Key: "attempt", Value: int64(3000)}, {Key: "tenant", Value: "acme"}}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, rules := &amqpPublisher{cfg: &PublisherConfig{}, to: Queue("hello"), preparation: new(preparation)}, messageRules{limit: 1 << 20}
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				if err := rules.check(&c.m); err != nil {
					b.Fatal(err)
				}
				p.prepare(&c.m)
				var err error
				if out, err = amqpproto.AppendPublish(out[:0], 1, 131072, &p.next.BasicPublish, &p.next.Properties, p.next.Body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
