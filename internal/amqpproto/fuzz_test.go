package amqpproto

import (
	"bytes"
	"testing"

	"github.com/thumpmq/thump/internal/mutate"
)

func FuzzParseFrame(f *testing.F) {
	for _, step := range readConversation(f) {
		f.Add(step.bytes, uint32(4096))
	}
	f.Add([]byte("\x01\x00\x00\x80\x00\x00\x00"), uint32(0))
	mutate.Fuzz(f, func(t *testing.T, in []byte, frameMax uint32) {
		var frame Frame
		var n int
		var err error
		checkAllocation(t, 0, func() { frame, n, err = ParseFrame(in, frameMax) })
		if err != nil || n == 0 {
			if n != 0 || frame.Payload != nil {
				t.Fatalf("nothing was read, but got %+v, %d", frame, n)
			}
			return
		}
		if frameMax != 0 && uint64(n) > uint64(frameMax) {
			t.Fatalf("frame of %d bytes is above frame-max %d", n, frameMax)
		}
		back := append(beginFrame(nil, frame.Type, frame.Channel), frame.Payload...)
		if back = endFrame(back, 0); !bytes.Equal(back, in[:n]) {
			t.Fatalf("came back as % x", back)
		}
		// A frame is seen as soon as its last byte is there, and not before.
		for size := range n {
			if _, n, err := ParseFrame(in[:size], frameMax); n != 0 || err != nil {
				t.Fatalf("cut to %d bytes: %d, %v", size, n, err)
			}
		}
	})
}

func FuzzParseMethod(f *testing.F) {
	for _, step := range readConversation(f) {
		if frame, n, err := ParseFrame(step.bytes, 0); err == nil && n > 0 && frame.Type == FrameMethod {
			f.Add(frame.Payload)
		}
	}
	for _, m := range filledMethods() {
		_, payload := mustFrame(f, 1, m)
		f.Add(payload)
	}
	mutate.Fuzz(f, func(t *testing.T, in []byte) {
		var m Method
		var err error
		checkAllocation(t, len(in), func() { m, err = ParseMethod(in) })
		fuzzHotPath(t, in, m)
		if err != nil {
			return
		}
		_, first := mustFrame(t, 1, m)
		again, err := ParseMethod(first)
		if err != nil {
			t.Fatalf("%+v came back as % x, which does not read: %v", m, first, err)
		}
		if _, second := mustFrame(t, 1, again); !bytes.Equal(second, first) {
			t.Fatalf("% x came back as % x", first, second)
		}
		// Only a table can come back with other bytes, and their number is the same.
		if len(first) != len(in) || !hasTable(m) && !bytes.Equal(first, in) {
			t.Fatalf("came back as % x", first)
		}
	})
}

// fuzzHotPath checks that the functions for the hot path accept exactly what
// ParseMethod accepts.
func fuzzHotPath(t *testing.T, in []byte, m Method) {
	id, arguments, err := ParseMethodID(in)
	if err != nil {
		return
	}
	switch id {
	case MethodBasicDeliver:
		v, err := ParseDeliver(arguments)
		want, _ := m.(*BasicDeliver)
		if (err == nil) != (want != nil) {
			t.Fatalf("ParseDeliver: %v, ParseMethod: %+v", err, m)
		}
		if err == nil && (BasicDeliver{string(v.ConsumerTag), v.DeliveryTag, v.Redelivered, string(v.Exchange), string(v.RoutingKey)}) != *want {
			t.Fatalf("ParseDeliver: %+v, ParseMethod: %+v", v, want)
		}
	case MethodBasicAck:
		tag, multiple, err := ParseAck(arguments)
		want, _ := m.(*BasicAck)
		if (err == nil) != (want != nil) || err == nil && (BasicAck{tag, multiple}) != *want {
			t.Fatalf("ParseAck: %d, %v, %v, ParseMethod: %+v", tag, multiple, err, m)
		}
	case MethodBasicNack:
		tag, multiple, requeue, err := ParseNack(arguments)
		want, _ := m.(*BasicNack)
		if (err == nil) != (want != nil) || err == nil && (BasicNack{tag, multiple, requeue}) != *want {
			t.Fatalf("ParseNack: %d, %v, %v, %v, ParseMethod: %+v", tag, multiple, requeue, err, m)
		}
	}
}

// tableFinder is the codec that looks for tables.
type tableFinder struct {
	writer
	found bool
}

func (c *tableFinder) table(_ string, t *Table) { c.found = c.found || len(*t) > 0 }

func hasTable(m Method) bool {
	var c tableFinder
	m.arguments(&c)
	return c.found
}

func FuzzParseProperties(f *testing.F) {
	for _, step := range readConversation(f) {
		if frame, n, err := ParseFrame(step.bytes, 0); err == nil && n > 0 && frame.Type == FrameHeader {
			f.Add(frame.Payload)
		}
	}
	full := fullProperties()
	raw, err := AppendProperties(make([]byte, 12), &full)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	mutate.Fuzz(f, func(t *testing.T, in []byte) {
		h, err := ParseContentHeader(in)
		if err != nil {
			return
		}
		var p Properties
		checkAllocation(t, len(in), func() { p, err = ParseProperties(h.Properties) })
		if text := TypeProperty(h.Properties); err == nil && string(text) != p.Type {
			t.Fatalf("the type is %q, and by itself %q", p.Type, text)
		}
		if err != nil {
			return
		}
		first, err := AppendProperties(nil, &p)
		if err != nil {
			t.Fatalf("%+v can't be written: %v", p, err)
		}
		if len(first) > len(h.Properties) {
			t.Fatalf("% x came back longer, as % x", h.Properties, first)
		}
		again, err := ParseProperties(first)
		if err != nil {
			t.Fatalf("% x came back as % x, which does not read: %v", h.Properties, first, err)
		}
		if second, err := AppendProperties(nil, &again); err != nil || !bytes.Equal(second, first) {
			t.Fatalf("% x came back as % x, %v", first, second, err)
		}
		// Only a present zero, the cluster id, or a flag without a meaning is
		// left out; if the flags are the same, nothing was.
		if bytes.Equal(first[:2], h.Properties[:2]) && len(p.Headers) == 0 && !bytes.Equal(first, h.Properties) {
			t.Fatalf("% x came back as % x", h.Properties, first)
		}
	})
}

func FuzzTable(f *testing.F) {
	for _, table := range []Table{nil, valuesOfEveryType(), benchTable()} {
		b, err := encodeTable(nil, table)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("\x80\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x0f\x01kL\xff\xff\xff\xff\xff\xff\xff\xfe\x01tt\x80"))
	mutate.Fuzz(f, func(t *testing.T, in []byte) {
		var table Table
		var rest []byte
		var err error
		checkAllocation(t, len(in), func() { table, rest, err = decodeTable(in) })
		if err != nil {
			return
		}
		first, err := encodeTable(nil, table)
		if err != nil {
			t.Fatalf("%#v can't be written: %v", table, err)
		}
		again, _, err := decodeTable(first)
		if err != nil {
			t.Fatalf("came back as % x, which does not read: %v", first, err)
		}
		if second, err := encodeTable(nil, again); err != nil || !bytes.Equal(second, first) {
			t.Fatalf("% x came back as % x, %v", first, second, err)
		}
		if !bytes.Equal(canonical(in[:len(in)-len(rest)]), first) {
			t.Fatalf("% x came back as % x", in[:len(in)-len(rest)], first)
		}
	})
}

// canonical returns a well-formed table with each L made an l and each true a
// 1: what it should come back as.
func canonical(in []byte) []byte {
	out := bytes.Clone(in)
	var walk func(b []byte, keys bool)
	walk = func(b []byte, keys bool) {
		for len(b) > 0 {
			if keys {
				b = b[1+int(b[0]):]
			}
			size := fixedSize(b[0])
			switch b[0] {
			case 'L':
				b[0] = 'l'
			case 't':
				b[1] = min(b[1], 1)
			case 'S', 'x', 'A', 'F':
				size = 4 + int(b[1])<<24 + int(b[2])<<16 + int(b[3])<<8 + int(b[4])
				if b[0] == 'A' || b[0] == 'F' {
					walk(b[5:1+size], b[0] == 'F')
				}
			}
			b = b[1+size:]
		}
	}
	walk(out[4:], true)
	return out
}

func FuzzParsePublish(f *testing.F) {
	for _, body := range []int{0, 5, 100} {
		b, err := AppendPublish(nil, 7, 64, &BasicPublish{Exchange: "e", RoutingKey: "k", Mandatory: true},
			&Properties{ContentType: "t", Headers: Table{{Key: "n", Value: int64(1)}}}, bytes.Repeat([]byte("b"), body))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	mutate.Fuzz(f, func(t *testing.T, in []byte) {
		p, err := ParsePublish(in)
		if err != nil {
			return
		}
		again, err := AppendPublish(nil, 1, 0, &p.BasicPublish, &p.Properties, p.Body)
		if err != nil {
			t.Fatalf("%+v can't be written: %v", p, err)
		}
		q, err := ParsePublish(again)
		if err != nil || q.BasicPublish != p.BasicPublish || !bytes.Equal(q.Body, p.Body) {
			t.Fatalf("%+v came back as %+v, %v", p, q, err)
		}
		third, err := AppendPublish(nil, 1, 0, &q.BasicPublish, &q.Properties, q.Body)
		if err != nil || !bytes.Equal(third, again) {
			t.Fatalf("% x came back as % x, %v", again, third, err)
		}
	})
}
