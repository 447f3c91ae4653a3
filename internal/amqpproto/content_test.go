package amqpproto

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/wire"
)

// message is what readMessage puts together.
type message struct {
	method     Method
	props      Properties
	body       []byte
	bodyFrames []int // sizes on the wire
}

// readMessage reads the frames of one message, which must be all there is in b.
func readMessage(t testing.TB, b []byte, channel uint16, frameMax uint32) message {
	t.Helper()
	var m message
	var header ContentHeader
	for i := 0; len(b) > 0; i++ {
		f, n, err := ParseFrame(b, frameMax)
		if err != nil || n == 0 {
			t.Fatalf("frame %d: %d, %v", i, n, err)
		}
		if want := uint8(min(i+1, 3)); f.Type != want || f.Channel != channel {
			t.Fatalf("frame %d has type %d and channel %d, want %d and %d", i, f.Type, f.Channel, want, channel)
		}
		switch f.Type {
		case FrameMethod:
			m.method, err = ParseMethod(f.Payload)
		case FrameHeader:
			if header, err = ParseContentHeader(f.Payload); err == nil {
				m.props, err = ParseProperties(header.Properties)
			}
		case FrameBody:
			m.body = append(m.body, f.Payload...)
			m.bodyFrames = append(m.bodyFrames, n)
		}
		if err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		b = b[n:]
	}
	if header.ClassID != ClassBasic || header.BodySize != uint64(len(m.body)) {
		t.Fatalf("header is %+v for a body of %d bytes", header, len(m.body))
	}
	return m
}

func TestAppendPublish(t *testing.T) {
	tests := []struct {
		bodySize int
		frameMax uint32
		frames   []int // of the body
	}{
		{0, 4096, nil},
		{1, 4096, []int{9}},
		{4088, 4096, []int{4096}},
		{4089, 4096, []int{4096, 9}},
		{3 * 4088, 4096, []int{4096, 4096, 4096}},
		{300000, 131072, []int{131072, 131072, 300000 - 2*131064 + 8}},
		{300000, 0, []int{300008}},
	}
	props := Properties{ContentType: "text/plain", DeliveryMode: 2}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%d bytes, frame-max %d", test.bodySize, test.frameMax), func(t *testing.T) {
			body := make([]byte, test.bodySize)
			for i := range body {
				body[i] = byte(i * 7)
			}
			p := &BasicPublish{Exchange: "x", RoutingKey: "key", Mandatory: true}
			b, err := AppendPublish([]byte("before"), 9, test.frameMax, p, &props, body)
			if err != nil {
				t.Fatal(err)
			}
			rest, found := bytes.CutPrefix(b, []byte("before"))
			if !found {
				t.Fatal("what dst held was changed")
			}
			m := readMessage(t, rest, 9, test.frameMax)
			if !reflect.DeepEqual(m.method, p) || !reflect.DeepEqual(m.props, props) || !bytes.Equal(m.body, body) {
				t.Errorf("got %+v, %+v and %d bytes", m.method, m.props, len(m.body))
			}
			if !reflect.DeepEqual(m.bodyFrames, test.frames) {
				t.Errorf("body frames are %d, want %d", m.bodyFrames, test.frames)
			}
		})
	}
}

func TestAppendContent(t *testing.T) {
	props := fullProperties()
	for _, method := range []Method{
		&BasicDeliver{ConsumerTag: "tag", DeliveryTag: 1, Redelivered: true, Exchange: "x", RoutingKey: "key"},
		&BasicReturn{ReplyCode: NoRoute, ReplyText: "NO_ROUTE", Exchange: "x", RoutingKey: "key"},
		&BasicGetOk{DeliveryTag: 1, Exchange: "x", RoutingKey: "key", MessageCount: 4},
		&BasicPublish{RoutingKey: "key"},
	} {
		b, err := AppendContent(nil, 3, 4096, method, &props, make([]byte, 5000))
		if err != nil {
			t.Fatal(err)
		}
		m := readMessage(t, b, 3, 4096)
		if !reflect.DeepEqual(m.method, method) || !reflect.DeepEqual(m.props, props) || len(m.bodyFrames) != 2 {
			t.Errorf("%v: got %+v", method.ID(), m)
		}
	}
}

func TestAppendPublishErrors(t *testing.T) {
	long := strings.Repeat("x", 256)
	large := Properties{Headers: Table{{"a", strings.Repeat("x", 4096)}}}
	tests := []struct {
		name     string
		frameMax uint32
		p        BasicPublish
		props    Properties
		want     error
	}{
		{"exchange", 4096, BasicPublish{Exchange: long}, Properties{}, &StringTooLongError{Field: "exchange", Length: 256}},
		{"routing key", 4096, BasicPublish{RoutingKey: long}, Properties{}, &StringTooLongError{Field: "routing-key", Length: 256}},
		{"property", 4096, BasicPublish{}, Properties{ContentType: "x", UserID: long}, &StringTooLongError{Field: "user-id", Length: 256}},
		{"header's type", 4096, BasicPublish{}, Properties{Headers: Table{{"a", uint64(1)}}}, &ValueTypeError{Path: "headers.a", Type: "uint64"}},
		{"large header", 4096, BasicPublish{}, large, &HeaderTooLargeError{Size: 22 + 4 + 2 + 5 + 4096, FrameMax: 4096}},
		{"absurd frame-max", 21, BasicPublish{}, Properties{}, &HeaderTooLargeError{Size: 22, FrameMax: 21}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, room := range []int{0, 8192} {
				dst := append(make([]byte, 0, room), "before"...)
				got, err := AppendPublish(dst, 1, test.frameMax, &test.p, &test.props, []byte("body"))
				if !reflect.DeepEqual(err, test.want) {
					t.Errorf("got  %v\nwant %v", err, test.want)
				}
				if string(got) != "before" {
					t.Errorf("dst came back as %q", got)
				}
			}
		})
	}
	// It fits where the frames are larger.
	if _, err := AppendPublish(nil, 1, 8192, &BasicPublish{}, &large, nil); err != nil {
		t.Error(err)
	}
	dst := []byte("before")
	if got, err := AppendContent(dst, 1, 4096, &BasicDeliver{ConsumerTag: long}, nil, nil); err == nil || string(got) != "before" {
		t.Errorf("AppendContent: got %q, %v", got, err)
	}
	if got, err := AppendContent(dst, 1, 4096, &BasicDeliver{}, &large, nil); err == nil || string(got) != "before" {
		t.Errorf("AppendContent: got %q, %v", got, err)
	}
}

func TestPropertiesThereAndBack(t *testing.T) {
	full := fullProperties()
	raw, err := AppendProperties(nil, &full)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseProperties(raw)
	if err != nil || !reflect.DeepEqual(got, full) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, full)
	}
	for size := range raw {
		if _, err := ParseProperties(raw[:size]); !errors.Is(err, wire.ErrShort) {
			t.Errorf("cut to %d of %d bytes: got %v", size, len(raw), err)
		}
	}
	if _, err := ParseProperties(append(raw, 0)); !errors.Is(err, wire.ErrTrailing) {
		t.Errorf("with a byte after it: got %v", err)
	}
	long := strings.Repeat("x", 255)
	p := Properties{ContentType: long, ContentEncoding: long, CorrelationID: long, ReplyTo: long, Expiration: long, MessageID: long, Type: long, UserID: long, AppID: long}
	if raw, err = AppendProperties(nil, &p); err != nil {
		t.Fatal(err)
	}
	if got, err := ParseProperties(raw); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("strings of 255 bytes: got %+v, %v", got, err)
	}
}

// TestPropertiesOfOtherClients reads what RabbitMQ passes on but this package
// does not write.
func TestPropertiesOfOtherClients(t *testing.T) {
	tests := []struct {
		name string
		raw  string
		want Properties
	}{
		{"empty content type, empty headers", "\xa0\x00\x00\x00\x00\x00\x00", Properties{}},
		{"delivery mode and priority 0", "\x18\x00\x00\x00", Properties{ZeroPriority: true}},
		{"cluster id", "\x00\x0c\x03app\x07cluster", Properties{AppID: "app"}},
		{"flags without a meaning", "\x00\x0b\x03app", Properties{AppID: "app"}},
		{
			"L, and a true of 255", "\x20\x00\x00\x00\x00\x0f\x01aL\x00\x00\x00\x00\x00\x00\x00\x05\x01bt\xff",
			Properties{Headers: Table{{"a", int64(5)}, {"b", true}}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := ParseProperties([]byte(test.raw))
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

func TestParseContentHeaderErrors(t *testing.T) {
	ok := "\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00"
	for size := range ok {
		if _, err := ParseContentHeader([]byte(ok[:size])); !errors.Is(err, wire.ErrShort) {
			t.Errorf("cut to %d bytes: got %v", size, err)
		}
	}
	if h, err := ParseContentHeader([]byte(ok)); err != nil || h.ClassID != 60 || h.BodySize != 7 || string(h.Properties) != "\x00\x00" {
		t.Errorf("got %+v, %v", h, err)
	}
	if _, err := ParseContentHeader([]byte("\x00\x3c\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00")); !errors.Is(err, errWeight) {
		t.Errorf("weight 1: got %v", err)
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	buf := make([]byte, 0, 4096)
	p, props, body := &BasicPublish{Exchange: "x", RoutingKey: "key"}, fullProperties(), make([]byte, 100)
	props.Headers = benchTable()
	publish := func() {
		if _, err := AppendPublish(buf, 1, 4096, p, &props, body); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, publish); n != 0 {
		t.Errorf("AppendPublish: %v allocations", n)
	}
	in, err := AppendContent(nil, 1, 4096, &BasicDeliver{DeliveryTag: 7}, &props, body)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { parseDelivery(t, in) }); n != 0 {
		t.Errorf("reading a delivery: %v allocations", n)
	}
}
