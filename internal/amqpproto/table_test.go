package amqpproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/wire"
)

// TestTableValues checks each type's letter and bytes, both ways.
func TestTableValues(t *testing.T) {
	tests := []struct {
		value any
		wire  string // letter and value
	}{
		{true, "t\x01"},
		{false, "t\x00"},
		{int8(-2), "b\xfe"},
		{uint8(254), "B\xfe"},
		{int16(-2), "s\xff\xfe"},
		{uint16(0xFEDC), "u\xfe\xdc"},
		{int32(-2), "I\xff\xff\xff\xfe"},
		{uint32(0xFEDCBA98), "i\xfe\xdc\xba\x98"},
		{int64(-2), "l\xff\xff\xff\xff\xff\xff\xff\xfe"},
		{float32(1), "f\x3f\x80\x00\x00"},
		{float64(1), "d\x3f\xf0\x00\x00\x00\x00\x00\x00"},
		{Decimal{Scale: 2, Value: 314}, "D\x02\x00\x00\x01\x3a"},
		{Decimal{Scale: 2, Value: -314}, "D\x02\xff\xff\xfe\xc6"},
		{"abc", "S\x00\x00\x00\x03abc"},
		{[]byte("abc"), "x\x00\x00\x00\x03abc"},
		{[]byte{}, "x\x00\x00\x00\x00"},
		{[]any{true, nil}, "A\x00\x00\x00\x03t\x01V"},
		{[]any{}, "A\x00\x00\x00\x00"},
		{time.Unix(0x65000000, 0).UTC(), "T\x00\x00\x00\x00\x65\x00\x00\x00"},
		{time.Unix(0, 0).UTC(), "T\x00\x00\x00\x00\x00\x00\x00\x00"},
		{time.Time{}, "T\xff\xff\xff\xf1\x88\x6e\x09\x00"},
		{Table{{"a", true}}, "F\x00\x00\x00\x04\x01at\x01"},
		{Table(nil), "F\x00\x00\x00\x00"},
		{nil, "V"},
	}
	for _, test := range tests {
		t.Run(strings.ToValidUTF8(test.wire[:1], ""), func(t *testing.T) {
			want := append([]byte{0, 0, 0, byte(len(test.wire) + 2)}, "\x01k"+test.wire...)
			got, err := encodeTable(nil, Table{{"k", test.value}})
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("encodeTable: got % x, %v, want % x", got, err, want)
			}
			table, rest, err := decodeTable(append(want, "rest"...))
			if err != nil || string(rest) != "rest" || !reflect.DeepEqual(table, Table{{"k", test.value}}) {
				t.Errorf("decodeTable: got %#v, %q, %v, want %#v", table, rest, err, test.value)
			}
		})
	}
}

// TestTableValuesOneWay checks what is read or written as something else.
func TestTableValuesOneWay(t *testing.T) {
	got, err := encodeTable(nil, Table{{"k", -2}, {"t", time.Unix(1, 999_999_999)}})
	want := "\x00\x00\x00\x16\x01kl\xff\xff\xff\xff\xff\xff\xff\xfe\x01tT\x00\x00\x00\x00\x00\x00\x00\x01"
	if err != nil || string(got) != want {
		t.Errorf("int and part of a second: got % x, %v", got, err)
	}
	in := []byte("\x00\x00\x00\x0f\x01kL\xff\xff\xff\xff\xff\xff\xff\xfe\x01tt\x80")
	table, _, err := decodeTable(in)
	if err != nil || !reflect.DeepEqual(table, Table{{"k", int64(-2)}, {"t", true}}) {
		t.Errorf("L and a true of 128: got %#v, %v", table, err)
	}
}

func TestTableKeepsNaN(t *testing.T) {
	in := []byte("\x00\x00\x00\x12\x01ff\x7f\xa0\x00\x01\x01dd\x7f\xf4\x00\x00\x00\x00\x00\x01")
	table, _, err := decodeTable(in)
	if err != nil {
		t.Fatal(err)
	}
	if f, _ := table.Get("f"); !math.IsNaN(float64(f.(float32))) {
		t.Errorf("got %v", f)
	}
	if got, err := encodeTable(nil, table); err != nil || !bytes.Equal(got, in) {
		t.Errorf("got % x, %v, want % x", got, err, in)
	}
}

func TestTableGet(t *testing.T) {
	table := Table{{"a", nil}, {"b", 1}, {"b", 2}}
	for _, test := range []struct {
		key  string
		want any
		ok   bool
	}{{"a", nil, true}, {"b", 1, true}, {"c", nil, false}} {
		if got, ok := table.Get(test.key); got != test.want || ok != test.ok {
			t.Errorf("Get(%q): got %v, %v", test.key, got, ok)
		}
	}
}

func TestAppendTableErrors(t *testing.T) {
	loop := Table{{"self", nil}}
	loop[0].Value = loop
	array := []any{nil}
	array[0] = array
	tests := []struct {
		name string
		t    Table
		want error
	}{
		{"type", Table{{"x-death", []any{Table{{"count", uint64(1)}}}}}, &ValueTypeError{Path: "headers.x-death[0].count", Type: "uint64"}},
		{"map", Table{{"m", map[string]any{}}}, &ValueTypeError{Path: "headers.m", Type: "map[string]interface {}"}},
		{"key", Table{{"a", Table{{strings.Repeat("k", 256), 1}}}}, &StringTooLongError{Field: `headers.a.key "kkkkkkkkkkkkkkkkkkkk"...`, Length: 256}},
		{"table in itself", loop, &DepthError{Path: "headers." + strings.Repeat("self.", 31) + "self"}},
		{"array in itself", Table{{"a", array}}, &DepthError{Path: "headers.a" + strings.Repeat("[0]", 31)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := AppendProperties([]byte("before"), &Properties{Headers: test.t})
			if !reflect.DeepEqual(err, test.want) {
				t.Errorf("got  %v\nwant %v", err, test.want)
			}
			if string(got) != "before" {
				t.Errorf("dst came back as %q", got)
			}
		})
	}
}

func TestTableDepth(t *testing.T) {
	nest := func(depth int) []byte {
		b := []byte{0, 0, 0, 0}
		for range depth - 1 {
			inner := append([]byte("\x00F"), b...)
			b = append(binary.BigEndian.AppendUint32(nil, uint32(len(inner))), inner...)
		}
		return b
	}
	deepest := nest(32)
	table, _, err := decodeTable(deepest)
	if err != nil {
		t.Fatalf("32 deep: %v", err)
	}
	if got, err := encodeTable(nil, table); err != nil || !bytes.Equal(got, deepest) {
		t.Errorf("32 deep: got % x, %v", got, err)
	}
	var depthErr *DepthError
	for _, depth := range []int{33, 15_000} {
		in := nest(depth)
		checkAllocation(t, len(in), func() {
			if _, rest, err := decodeTable(in); !errors.As(err, &depthErr) || len(rest) != len(in) {
				t.Errorf("%d deep: got %v", depth, err)
			}
		})
	}
}

func TestParseTableErrors(t *testing.T) {
	var letter *FieldTypeError
	tests := []struct {
		name string
		in   string
		want func(error) bool
	}{
		{"letter", "\x00\x00\x00\x03\x01az", func(err error) bool { return errors.As(err, &letter) && letter.Letter == 'z' }},
		{"letter 0", "\x00\x00\x00\x03\x01a\x00", func(err error) bool { return errors.As(err, &letter) }},
		{"letter in an array", "\x00\x00\x00\x08\x01aA\x00\x00\x00\x01z", func(err error) bool { return errors.As(err, &letter) }},
		{"2 GiB", "\x80\x00\x00\x00", isShort},
		{"4 GiB", "\xff\xff\xff\xff\x01at\x01", isShort},
		{"string of 2 GiB", "\x00\x00\x00\x07\x01aS\x80\x00\x00\x00", isShort},
		{"array of 2 GiB", "\x00\x00\x00\x07\x01aA\x80\x00\x00\x00", isShort},
		{"inner table longer than the outer", "\x00\x00\x00\x07\x01aF\x00\x00\x00\x04\x01bt\x01", isShort},
		{"key longer than the table", "\x00\x00\x00\x03\x09at", isShort},
		{"field cut by the table's end", "\x00\x00\x00\x04\x01aI\x00\x00\x00\x00", isShort},
		{"no length", "\x00\x00\x00", isShort},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			checkAllocation(t, len(test.in), func() {
				if table, _, err := decodeTable([]byte(test.in)); !test.want(err) || table != nil {
					t.Errorf("got %v, %v", table, err)
				}
			})
		})
	}
}

func isShort(err error) bool { return errors.Is(err, wire.ErrShort) }

func TestParseTableCutAnywhere(t *testing.T) {
	in, err := encodeTable(nil, valuesOfEveryType())
	if err != nil {
		t.Fatal(err)
	}
	for size := range in {
		if _, _, err := decodeTable(in[:size]); !isShort(err) {
			t.Errorf("cut to %d of %d bytes: got %v", size, len(in), err)
		}
		// And with a length that is right again, so that the end falls
		// inside a field or between two.
		cut := append([]byte{}, in[:max(size, 4)]...)
		binary.BigEndian.PutUint32(cut, uint32(len(cut)-4))
		if table, _, err := decodeTable(cut); err == nil {
			if back, err := encodeTable(nil, table); err != nil || !bytes.Equal(back, cut) {
				t.Errorf("cut to %d bytes: read, but came back as % x, %v", size, back, err)
			}
		}
	}
}

// TestHostileStart is the attack on a client that has not logged in yet: a
// connection.start of 22 bytes whose table claims 2 GiB.
func TestHostileStart(t *testing.T) {
	in := []byte("\x01\x00\x00\x00\x00\x00\x0e\x00\x0a\x00\x0a\x00\x09\x80\x00\x00\x00\x01at\x01\xce")
	if len(in) != 22 {
		t.Fatalf("the frame has %d bytes", len(in))
	}
	checkAllocation(t, len(in), func() {
		f, _, err := ParseFrame(in, FrameMinSize)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := ParseMethod(f.Payload); !isShort(err) {
			t.Errorf("got %+v, %v", m, err)
		}
	})
}

// TestTableAllocation reads the tables that cost the most memory a byte.
func TestTableAllocation(t *testing.T) {
	for name, field := range map[string]string{
		"voids":         "\x00V",
		"empty tables":  "\x00F\x00\x00\x00\x00",
		"empty arrays":  "\x00A\x00\x00\x00\x00",
		"empty bytes":   "\x00x\x00\x00\x00\x00",
		"shorts":        "\x00s\xff\xff",
		"times":         "\x00T\x00\x00\x00\x00\x00\x00\x00\x01",
		"short keys":    "\x02abt\x01",
		"voids, arrays": "\x00A\x00\x00\x00\x08VVVVVVVV",
	} {
		t.Run(name, func(t *testing.T) {
			fields := strings.Repeat(field, 100_000/len(field))
			in := append(binary.BigEndian.AppendUint32(nil, uint32(len(fields))), fields...)
			checkAllocation(t, len(in), func() {
				if _, _, err := decodeTable(in); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
