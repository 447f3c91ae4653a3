package amqpproto

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/mutate"
	"github.com/thumpmq/thump/internal/wire"
)

// valuesOfEveryType is a table with each type that has a letter, and with the
// awkward values of those.
func valuesOfEveryType() Table {
	return Table{
		{"true", true},
		{"false", false},
		{"int8", int8(math.MinInt8)},
		{"uint8", uint8(math.MaxUint8)},
		{"int16", int16(math.MinInt16)},
		{"uint16", uint16(math.MaxUint16)},
		{"int32", int32(math.MinInt32)},
		{"uint32", uint32(math.MaxUint32)},
		{"int64", int64(math.MinInt64)},
		{"float32", float32(-1.5)},
		{"infinity", float32(math.Inf(1))},
		{"float64", math.Pi},
		{"decimal", Decimal{Scale: 2, Value: math.MaxInt32}},
		{"negative decimal", Decimal{Scale: 2, Value: -314}},
		{"string", "grüße"},
		{"empty string", ""},
		{"bytes", []byte{0, 0xCE, 0xFF}},
		{"empty bytes", []byte{}},
		{"array", []any{int32(1), "two", nil, []any{}, Table{{"three", int64(3)}}}},
		{"time", time.Unix(1700000000, 0).UTC()},
		{"before 1970", time.Unix(-1, 0).UTC()},
		{"table", Table{{"inner", Table{{"innermost", true}}}}},
		{"empty table", Table(nil)},
		{"void", nil},
		{"", "an empty key"},
		{"twice", int32(1)},
		{"twice", int32(2)},
	}
}

// encodeTable appends a table as every part of the package that writes one does.
func encodeTable(dst []byte, t Table) ([]byte, error) { return appendTable(dst, t, 1) }

// decodeTable reads the table at the start of b. rest is what follows it, or b after
// an error.
func decodeTable(b []byte) (t Table, rest []byte, err error) {
	r := wire.NewReader(b)
	t = readTable(&r, 1)
	if r.Err() != nil {
		return nil, b, r.Err()
	}
	return t, r.Rest(), nil
}

func fullProperties() Properties {
	return Properties{
		ContentType:     "application/json",
		ContentEncoding: "gzip",
		Headers:         valuesOfEveryType(),
		DeliveryMode:    2,
		Priority:        9,
		CorrelationID:   "correlation",
		ReplyTo:         "amq.rabbitmq.reply-to",
		Expiration:      "60000",
		MessageID:       "message",
		Timestamp:       time.Unix(1700000000, 0).UTC(),
		Type:            "order.created",
		UserID:          "guest",
		AppID:           "thump",
	}
}

// fill gives every exported field of a method a value of its own.
func fill(m Method) {
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		switch {
		case !f.CanSet():
		case f.Kind() == reflect.String:
			f.SetString(fmt.Sprintf("value of field %d", i))
		case f.Kind() == reflect.Bool:
			f.SetBool(i%2 == 0)
		case f.CanUint():
			f.SetUint(math.MaxUint64>>(64-f.Type().Bits()) - uint64(i))
		default:
			f.Set(reflect.ValueOf(valuesOfEveryType()))
		}
	}
}

// filledMethods returns one of every method, with a value in every field.
func filledMethods() []Method {
	all := allMethods()
	for _, m := range all {
		fill(m)
	}
	return all
}

// mustFrame returns the frame and the payload of m.
func mustFrame(t testing.TB, channel uint16, m Method) (frame, payload []byte) {
	t.Helper()
	frame, err := AppendMethodFrame(nil, channel, m)
	if err != nil {
		t.Fatal(err)
	}
	return frame, frame[frameHeaderSize : len(frame)-1]
}

// checkAllocation runs f and fails if it allocated more than a small multiple of
// size, the number of bytes that it was given to read.
func checkAllocation(t testing.TB, size int, f func()) {
	t.Helper()
	before := mutate.Allocated()
	f()
	// 16 bytes a byte is the worst a table can do, doubled for what the
	// allocator rounds up; the MiB is for errors, for other goroutines, and for memory
	// that is counted late: it is, a span at a time.
	if got, limit := mutate.Allocated()-before, uint64(32*size+1<<20); got > limit {
		t.Errorf("%d bytes of input made it allocate %d, limit %d", size, got, limit)
	}
}
