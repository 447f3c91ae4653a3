package amqp10

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/thumpmq/thump/internal/wire"
)

// fullMessage has a value in every field, and every type of value.
func fullMessage() Message {
	return Message{
		Durable:  new(true),
		Priority: new(uint8(0)),
		TTL:      new(uint32(60_000)),
		Annotations: []Pair{
			{"x-exchange", ""}, {"x-routing-key", "events"}, {"x-exchange", "again"},
		},
		MessageID:             uint64(1) << 40,
		UserID:                []byte("guest"),
		To:                    "/queues/hello",
		Subject:               "key",
		ReplyTo:               "answers",
		CorrelationID:         UUID{1, 2, 3, 15: 16},
		ContentType:           "application/json",
		ContentEncoding:       "gzip",
		ExpiryTime:            new(int64(-1)),
		CreationTime:          new(int64(1700000000000)),
		GroupID:               "group",
		GroupSequence:         new(uint32(0)),
		ReplyToGroupID:        "other",
		ApplicationProperties: valuesOfEveryType(),
		Body:                  []byte("body"),
	}
}

func TestMessageThereAndBack(t *testing.T) {
	full := fullMessage()
	tests := []struct {
		name string
		m    Message
	}{
		{"full", full},
		{"body alone", Message{Body: []byte("body")}},
		{"empty body", Message{Body: []byte{}}},
		{"long body", Message{Body: bodyOf(70_000), Subject: "s"}},
		{"last field of the properties alone", Message{ReplyToGroupID: "g", Body: []byte("b")}},
		{"first field of the header alone", Message{Durable: new(false), Body: []byte("b")}},
		{"last field of the header alone", Message{TTL: new(uint32(0)), Body: []byte("b")}},
		{"binary ids", Message{MessageID: []byte{0, 1}, CorrelationID: []byte{}, Body: []byte("b")}},
		{"string ids", Message{MessageID: "", CorrelationID: strings.Repeat("x", 300), Body: []byte("b")}},
		{"value as body", Message{Subject: "s", Body: []byte("\x00\x53\x77\xa1\x02hi"), BodyEncoded: true}},
		{"sequences as body", Message{Body: []byte("\x00\x53\x76\x45\x00\x53\x76\xc0\x02\x01\x41"), BodyEncoded: true}},
		{"many annotations", Message{Annotations: manyPairs(200), Body: []byte("b")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, err := AppendMessage([]byte("before"), &test.m)
			if err != nil {
				t.Fatal(err)
			}
			in, found := bytes.CutPrefix(b, []byte("before"))
			if !found {
				t.Fatal("what dst held was changed")
			}
			got := Message{Subject: "of an earlier message"}
			if err := ParseMessage(in, &got); err != nil || !reflect.DeepEqual(got, test.m) {
				t.Fatalf("got  %+v, %v\nwant %+v", got, err, test.m)
			}
			if back, err := AppendMessage(nil, &got); err != nil || !bytes.Equal(back, in) {
				t.Errorf("% x came back as % x, %v", in, back, err)
			}
			// All but the body is a copy.
			clear(in)
			got.Body, test.m.Body = nil, nil
			if !reflect.DeepEqual(got, test.m) {
				t.Error("more than the body aliases the message")
			}
		})
	}
}

func manyPairs(n int) []Pair {
	pairs := make([]Pair, n)
	for i := range pairs {
		pairs[i] = Pair{strings.Repeat("k", i%20), int64(i)}
	}
	return pairs
}

// TestMessageLayout compares messages with bytes written by hand.
func TestMessageLayout(t *testing.T) {
	tests := []struct {
		m    Message
		want string
	}{
		{Message{}, "\x00\x53\x75\xa0\x00"},
		{Message{Durable: new(true)}, "\x00\x53\x70\xc0\x02\x01\x41\x00\x53\x75\xa0\x00"},
		{Message{TTL: new(uint32(256))}, "\x00\x53\x70\xc0\x08\x03\x40\x40\x70\x00\x00\x01\x00\x00\x53\x75\xa0\x00"},
		{Message{To: "a", Subject: ""}, "\x00\x53\x73\xc0\x06\x03\x40\x40\xa1\x01a\x00\x53\x75\xa0\x00"},
		{Message{ContentType: "t"}, "\x00\x53\x73\xc0\x0a\x07\x40\x40\x40\x40\x40\x40\xa3\x01t\x00\x53\x75\xa0\x00"},
		{Message{Annotations: []Pair{{"a", nil}}}, "\x00\x53\x72\xc1\x05\x02\xa3\x01a\x40\x00\x53\x75\xa0\x00"},
		{Message{ApplicationProperties: []Pair{{"a", nil}}}, "\x00\x53\x74\xc1\x05\x02\xa1\x01a\x40\x00\x53\x75\xa0\x00"},
	}
	for _, test := range tests {
		if got, err := AppendMessage(nil, &test.m); err != nil || string(got) != test.want {
			t.Errorf("%+v\ngot  % x, %v\nwant % x", test.m, got, err, test.want)
		}
	}
}

// TestMessagesOfOthers reads what other clients write and this package does not.
func TestMessagesOfOthers(t *testing.T) {
	tests := []struct {
		name string
		in   string
		want Message
	}{
		{"nothing", "", Message{}},
		{"no body", "\x00\x53\x73\x45", Message{}},
		{"three data sections", "\x00\x53\x75\xa0\x01a\x00\x53\x75\xa0\x00\x00\x53\x75\xb0\x00\x00\x00\x02bc", Message{Body: []byte("abc")}},
		{"long descriptors", "\x00\x80\x00\x00\x00\x00\x00\x00\x00\x75\xa0\x01a", Message{Body: []byte("a")}},
		{"descriptors by name", "\x00\xa3\x14amqp:properties:list\xd0\x00\x00\x00\x08\x00\x00\x00\x03\x40\x40\xa1\x00" +
			"\x00\xa3\x10amqp:data:binary\xa0\x01a", Message{Body: []byte("a")}},
		{
			"all names", "\x00\xa3\x10amqp:header:list\x45\x00\xa3\x1camqp:message-annotations:map\xc1\x01\x00" +
				"\x00\xa3\x1famqp:application-properties:map\xc1\x01\x00\x00\xa3\x17amqp:amqp-sequence:list\x45",
			Message{Body: []byte("\x00\xa3\x17amqp:amqp-sequence:list\x45"), BodyEncoded: true},
		},
		{"a value by name", "\x00\xa3\x11amqp:amqp-value:*\x41", Message{Body: []byte("\x00\xa3\x11amqp:amqp-value:*\x41"), BodyEncoded: true}},
		{
			"header with all its fields", "\x00\x53\x70\xc0\x09\x05\x56\x01\x50\x04\x43\x41\x52\x07\x00\x53\x75\xa0\x00",
			Message{Durable: new(true), Priority: new(uint8(4)), TTL: new(uint32(0)), Body: []byte{}, More: true},
		},
		{"properties with more fields than there are", "\x00\x53\x73\xc0\x0f\x0e\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x40\x41", Message{More: true}},
		{
			"delivery annotations, footer and an unknown section",
			"\x00\x53\x71\xc1\x01\x00\x00\x53\x75\xa0\x01a\x00\x53\x78\xc1\x01\x00\x00\x53\x99\x00\x00\x44\x41\x42\x00\xa3\x01x\x98" + strings.Repeat("u", 16),
			Message{Body: []byte("a"), More: true},
		},
		{"a section with a descriptor that is described", "\x00\x00\x44\x41\xc0\x01\x00\x00\x53\x75\xa0\x01a", Message{Body: []byte("a"), More: true}},
		{"a string for a symbol", "\x00\x53\x73\xc0\x0a\x07\x40\x40\x40\x40\x40\x40\xa1\x01t", Message{ContentType: "t"}},
		{"keys that are no strings", "\x00\x53\x72\xc1\x0a\x06\x53\x07\x41\xa1\x01a\x42\x44\x43", Message{Annotations: []Pair{{"a", false}}, More: true}},
		{"lengths of 32 bits", "\x00\x53\x74\xd1\x00\x00\x00\x0a\x00\x00\x00\x02\xb1\x00\x00\x00\x00\x41", Message{ApplicationProperties: []Pair{{"", true}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got Message
			err := ParseMessage([]byte(test.in), &got)
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, test.want)
			}
		})
	}
}

func TestParseMessageErrors(t *testing.T) {
	var codeErr *ValueCodeError
	var depthErr *DepthError
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	code := func(want byte) func(error) bool {
		return func(err error) bool { return errors.As(err, &codeErr) && codeErr.Code == want }
	}
	tests := []struct {
		name string
		in   string
		want func(error) bool
	}{
		{"no section", "hello", is(errNotSection)},
		{"something after the body", "\x00\x53\x75\xa0\x01aHTTP", is(errNotSection)},
		{"cut in a descriptor", "\x00", isShort},
		{"cut after a descriptor", "\x00\x53\x75", isShort},
		{"body of 4 GiB", "\x00\x53\x75\xb0\xff\xff\xff\xffx", isShort},
		{"body of null", "\x00\x53\x75\x40", code(0x40)},
		{"body of a string", "\x00\x53\x75\xa1\x01a", code(0xa1)},
		{"data and a value", "\x00\x53\x75\xa0\x01a\x00\x53\x77\x40", is(errMixedBody)},
		{"a value of a type that does not exist", "\x00\x53\x77\x30", code(0x30)},
		{"annotations that are a list", "\x00\x53\x72\x45", code(0x45)},
		{"properties that are a map", "\x00\x53\x73\xc1\x01\x00", code(0xc1)},
		{"a priority that is a string", "\x00\x53\x70\xc0\x05\x02\x40\xa1\x01a", code(0xa1)},
		{"a message id that is a boolean", "\x00\x53\x73\xc0\x02\x01\x41", code(0x41)},
		{"a subject that is a number", "\x00\x53\x73\xc0\x05\x04\x40\x40\x40\x43", code(0x43)},
		{"an odd map", "\x00\x53\x72\xc1\x04\x01\xa1\x01a", is(errOddMap)},
		{"more pairs than bytes", "\x00\x53\x72\xc1\x05\x08\xa1\x01a\x40", isShort},
		{"bytes after a map's pairs", "\x00\x53\x72\xc1\x06\x02\xa1\x01a\x40\x40", func(err error) bool { return err != nil }},
		{"a list of 4 GiB", "\x00\x53\x73\xd0\xff\xff\xff\xff\x00\x00\x00\x01\x40", isShort},
		{"a list of 2^32-1", "\x00\x53\x73\xd0\x00\x00\x00\x05\xff\xff\xff\xff\x40", isShort},
		{"too deep", "\x00\x53\x74" + nestedMap(valueDepthMax+1), func(err error) bool { return errors.As(err, &depthErr) }},
		{"descriptors too deep", "\x00\x53\x74\xc1\x7d\x02\xa1\x01a" + strings.Repeat("\x00\x44", 60) + "\x41", func(err error) bool { return errors.As(err, &depthErr) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			checkAllocation(t, len(test.in), func() {
				var m Message
				if err := ParseMessage([]byte(test.in), &m); !test.want(err) || !strings.HasPrefix(err.Error(), "message: ") {
					t.Errorf("got %+v, %v", m, err)
				}
			})
		})
	}
	var m Message
	if err := ParseMessage([]byte("\x00\x53\x74"+nestedMap(valueDepthMax)), &m); err != nil {
		t.Errorf("as deep as may be: %v", err)
	}
}

// nestedMap is a map in a map, that many deep.
func nestedMap(depth int) string {
	inner := "\xc1\x01\x00"
	for range depth - 1 {
		inner = "\xd1" + string(be32(len(inner)+7)) + "\x00\x00\x00\x02\xa1\x01a" + inner
	}
	return inner
}

func isShort(err error) bool { return errors.Is(err, wire.ErrShort) }

func be32(n int) []byte { return []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }

func TestMessageCutAnywhere(t *testing.T) {
	m := fullMessage()
	b, err := AppendMessage(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	whole := 0
	for size := range b {
		if err := ParseMessage(b[:size], &m); err == nil {
			whole++ // between two sections
		} else if !isShort(err) {
			t.Errorf("cut to %d of %d bytes: got %v", size, len(b), err)
		}
	}
	if want := 5; whole != want {
		t.Errorf("%d cuts could be read, want those before each of the %d sections", whole, want)
	}
}

func TestAppendMessageErrors(t *testing.T) {
	loop := List{nil}
	loop[0] = loop
	tests := []struct {
		name string
		m    Message
		want string
	}{
		{"application property", Message{ApplicationProperties: []Pair{{"a", 1}, {"b", struct{}{}}}}, `application property "b": a value of type struct {} is not allowed here`},
		{"nested", Message{Annotations: []Pair{{"a", List{Map{{"c", uint(1)}}}}}}, `annotation "a": a value of type uint is not allowed here`},
		{"message id", Message{MessageID: 7}, "message id: a value of type int is not allowed here"},
		{"correlation id", Message{CorrelationID: true}, "correlation id: a value of type bool is not allowed here"},
		{"list in itself", Message{ApplicationProperties: []Pair{{"a", loop}}}, `application property "a": lists or maps nested more than 32 deep`},
	}
	for _, test := range tests {
		got, err := AppendMessage([]byte("before"), &test.m)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: got  %v\nwant %s", test.name, err, test.want)
		}
		if string(got) != "before" {
			t.Errorf("%s: dst came back as %q", test.name, got)
		}
	}
}
