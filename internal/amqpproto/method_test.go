package amqpproto

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/wire"
)

func TestMethodsThereAndBack(t *testing.T) {
	for _, m := range append(allMethods(), filledMethods()...) {
		t.Run(m.ID().String(), func(t *testing.T) {
			frame, payload := mustFrame(t, 7, m)
			if f, n, err := ParseFrame(frame, 0); err != nil || n != len(frame) || f.Type != FrameMethod || f.Channel != 7 {
				t.Fatalf("frame reads as %+v, %d, %v", f, n, err)
			}
			got, err := ParseMethod(payload)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, m) {
				t.Errorf("got  %+v\nwant %+v", got, m)
			}
			// What was read is a copy: it outlives the buffer.
			before, _ := mustFrame(t, 7, got)
			clear(payload)
			if after, _ := mustFrame(t, 7, got); !bytes.Equal(before, after) {
				t.Error("the method aliases the bytes it was read from")
			}
		})
	}
}

func TestMethodsCutAnywhere(t *testing.T) {
	for _, m := range filledMethods() {
		_, payload := mustFrame(t, 7, m)
		for size := range payload {
			if got, err := ParseMethod(payload[:size]); !errors.Is(err, wire.ErrShort) {
				t.Errorf("%v cut to %d of %d bytes: got %+v, %v", m.ID(), size, len(payload), got, err)
			}
		}
		if _, err := ParseMethod(append(payload, 0)); !errors.Is(err, wire.ErrTrailing) {
			t.Errorf("%v and a byte: got %v", m.ID(), err)
		}
	}
}

func TestParseMethodUnknown(t *testing.T) {
	var unknown *UnknownMethodError
	if _, err := ParseMethod([]byte{0, 60, 0, 99}); !errors.As(err, &unknown) || unknown.ID != NewMethodID(60, 99) {
		t.Errorf("got %v", err)
	}
}

// TestReservedArguments checks that they are kept, and that bits the
// specification does not define are refused.
func TestReservedArguments(t *testing.T) {
	for _, payload := range []string{
		"\x00\x0a\x00\x29\x04host",                  // connection.open-ok, known hosts
		"\x00\x14\x00\x0b\x00\x00\x00\x01\x07",      // channel.open-ok, a channel id
		"\x00\x3c\x00\x28\x00\x65\x00\x05hello\x00", // basic.publish, an access ticket
		"\x00\x0a\x00\x28\x01/\x00\x01",             // connection.open, insist
		"\x00\x3c\x00\x48\x07cluster",               // basic.get-empty
	} {
		m, err := ParseMethod([]byte(payload))
		if err != nil {
			t.Errorf("%q: %v", payload, err)
			continue
		}
		if _, got := mustFrame(t, 1, m); string(got) != payload {
			t.Errorf("%v: got %q, want %q", m.ID(), got, payload)
		}
	}
	for _, payload := range []string{
		"\x00\x14\x00\x14\x02",                                             // channel.flow
		"\x00\x3c\x00\x50\x00\x00\x00\x00\x00\x00\x00\x01\x02",             // basic.ack
		"\x00\x3c\x00\x78\x00\x00\x00\x00\x00\x00\x00\x01\x80",             // basic.nack
		"\x00\x3c\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00", // basic.deliver
	} {
		if m, err := ParseMethod([]byte(payload)); !errors.Is(err, errSpareBits) {
			t.Errorf("%q: got %+v, %v", payload, m, err)
		}
	}
}

func TestAppendMethodFrameErrors(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := []struct {
		m    Method
		want string
	}{
		{&QueueDeclare{Queue: long}, "queue is 256 bytes long, at most 255 fit"},
		{&QueueDeclare{Arguments: Table{{long, 1}}}, `arguments.key "xxxxxxxxxxxxxxxxxxxx"... is 256 bytes long, at most 255 fit`},
		{&QueueBind{Arguments: Table{{"a", []any{1, Table{{"b", uint(1)}}}}}}, "value of arguments.a[1].b has type uint, which a field table can't hold"},
	}
	for _, test := range tests {
		dst := []byte("before")
		got, err := AppendMethodFrame(dst, 1, test.m)
		if err == nil || err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
		if string(got) != "before" {
			t.Errorf("dst came back as %q", got)
		}
	}
}

// TestHotPathAgreesWithMethods compares the functions that are written out for speed
// with the methods' own layouts.
func TestHotPathAgreesWithMethods(t *testing.T) {
	for _, bits := range []struct{ a, b bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		ack := &BasicAck{DeliveryTag: 1<<60 + 7, Multiple: bits.a}
		frame, payload := mustFrame(t, 0xABCD, ack)
		if got := AppendAck(nil, 0xABCD, ack.DeliveryTag, ack.Multiple); !bytes.Equal(got, frame) {
			t.Errorf("AppendAck: got % x, want % x", got, frame)
		}
		if tag, multiple, err := ParseAck(payload[4:]); err != nil || tag != ack.DeliveryTag || multiple != bits.a {
			t.Errorf("ParseAck: got %d, %v, %v", tag, multiple, err)
		}

		nack := &BasicNack{DeliveryTag: 9, Multiple: bits.a, Requeue: bits.b}
		frame, payload = mustFrame(t, 0xABCD, nack)
		if got := AppendNack(nil, 0xABCD, 9, bits.a, bits.b); !bytes.Equal(got, frame) {
			t.Errorf("AppendNack: got % x, want % x", got, frame)
		}
		if tag, multiple, requeue, err := ParseNack(payload[4:]); err != nil || tag != 9 || multiple != bits.a || requeue != bits.b {
			t.Errorf("ParseNack: got %d, %v, %v, %v", tag, multiple, requeue, err)
		}

		deliver := &BasicDeliver{ConsumerTag: "tag", DeliveryTag: 3, Redelivered: bits.a, Exchange: "x", RoutingKey: "key"}
		_, payload = mustFrame(t, 1, deliver)
		id, arguments, err := ParseMethodID(payload)
		if err != nil || id != MethodBasicDeliver {
			t.Fatalf("ParseMethodID: got %v, %v", id, err)
		}
		v, err := ParseDeliver(arguments)
		got := &BasicDeliver{ConsumerTag: string(v.ConsumerTag), DeliveryTag: v.DeliveryTag, Redelivered: v.Redelivered, Exchange: string(v.Exchange), RoutingKey: string(v.RoutingKey)}
		if err != nil || *got != *deliver {
			t.Errorf("ParseDeliver: got %+v, %v, want %+v", got, err, deliver)
		}
		for size := range arguments {
			if _, err := ParseDeliver(arguments[:size]); !errors.Is(err, wire.ErrShort) {
				t.Errorf("ParseDeliver of %d bytes: got %v", size, err)
			}
		}

		publish := &BasicPublish{Exchange: "x", RoutingKey: "key", Mandatory: bits.a, Immediate: bits.b}
		frame, _ = mustFrame(t, 0xABCD, publish)
		message, err := AppendPublish(nil, 0xABCD, 0, publish, nil, nil)
		if err != nil || !bytes.HasPrefix(message, frame) {
			t.Errorf("AppendPublish: got % x, %v, want % x first", message, err, frame)
		}
	}
}
