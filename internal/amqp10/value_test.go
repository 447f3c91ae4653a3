package amqp10

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/thumpmq/thump/internal/wire"
)

// valuesOfEveryType has each type of value, and the awkward ones of each.
func valuesOfEveryType() []Pair {
	return []Pair{
		{"null", nil},
		{"true", true},
		{"false", false},
		{"uint8", uint8(math.MaxUint8)},
		{"uint16", uint16(math.MaxUint16)},
		{"uint32 0", uint32(0)},
		{"uint32 255", uint32(255)},
		{"uint32", uint32(math.MaxUint32)},
		{"uint64 0", uint64(0)},
		{"uint64 255", uint64(255)},
		{"uint64", uint64(math.MaxUint64)},
		{"int8", int8(math.MinInt8)},
		{"int16", int16(math.MinInt16)},
		{"int32 -128", int32(-128)},
		{"int32", int32(math.MinInt32)},
		{"int64 127", int64(127)},
		{"int64", int64(math.MinInt64)},
		{"float32", float32(-1.5)},
		{"float64", math.Inf(-1)},
		{"timestamp", Timestamp(1700000000000)},
		{"before 1970", Timestamp(-1)},
		{"uuid", UUID{15: 1}},
		{"bytes", []byte{0, 255}},
		{"no bytes", []byte{}},
		{"string", "grüße"},
		{"no string", ""},
		{"symbol", Symbol("sym")},
		{"list", List{nil, int32(1), "two", List(nil), Map{{"three", uint64(3)}}}},
		{"empty list", List(nil)},
		{"map", Map{{"a", Map{{"b", List{true}}}}, {"a", "again"}}},
		{"empty map", Map(nil)},
		{"", "an empty key"},
	}
}

// TestValues checks each type's code and bytes, both ways.
func TestValues(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := []struct {
		value any
		wire  string
	}{
		{nil, "\x40"},
		{true, "\x41"},
		{false, "\x42"},
		{uint8(0), "\x50\x00"},
		{uint16(0x0102), "\x60\x01\x02"},
		{uint32(0), "\x43"},
		{uint32(255), "\x52\xff"},
		{uint32(256), "\x70\x00\x00\x01\x00"},
		{uint64(0), "\x44"},
		{uint64(255), "\x53\xff"},
		{uint64(256), "\x80\x00\x00\x00\x00\x00\x00\x01\x00"},
		{int8(-2), "\x51\xfe"},
		{int16(-2), "\x61\xff\xfe"},
		{int32(127), "\x54\x7f"},
		{int32(-128), "\x71\xff\xff\xff\x80"},
		{int32(128), "\x71\x00\x00\x00\x80"},
		{int64(127), "\x55\x7f"},
		{int64(-129), "\x81\xff\xff\xff\xff\xff\xff\xff\x7f"},
		{float32(1), "\x72\x3f\x80\x00\x00"},
		{float64(1), "\x82\x3f\xf0\x00\x00\x00\x00\x00\x00"},
		{Timestamp(-2), "\x83\xff\xff\xff\xff\xff\xff\xff\xfe"},
		{UUID{0: 1, 15: 2}, "\x98\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"},
		{[]byte("abc"), "\xa0\x03abc"},
		{[]byte(long), "\xb0\x00\x00\x01\x00" + long},
		{"abc", "\xa1\x03abc"},
		{long[1:], "\xa1\xff" + long[1:]},
		{long, "\xb1\x00\x00\x01\x00" + long},
		{Symbol("abc"), "\xa3\x03abc"},
		{Symbol(long), "\xb3\x00\x00\x01\x00" + long},
		{List(nil), "\x45"},
		{List{true, nil}, "\xc0\x03\x02\x41\x40"},
		{List{long}, "\xd0\x00\x00\x01\x09\x00\x00\x00\x01\xb1\x00\x00\x01\x00" + long},
		{Map(nil), "\xc1\x01\x00"},
		{Map{{"a", nil}}, "\xc1\x05\x02\xa1\x01a\x40"},
		{Map{{"a", long}}, "\xd1\x00\x00\x01\x0c\x00\x00\x00\x02\xa1\x01a\xb1\x00\x00\x01\x00" + long},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%T % .5x", test.value, test.wire), func(t *testing.T) {
			got, err := appendValue([]byte("before"), test.value, 0)
			if err != nil || string(got) != "before"+test.wire {
				t.Errorf("got % x, %v, want % x", got, err, test.wire)
			}
			if v, err := readValue(test.wire); err != nil || !reflect.DeepEqual(v, test.value) {
				t.Errorf("got %#v, %v, want %#v", v, err, test.value)
			}
		})
	}
	// The short form of negative numbers is read, but not written.
	for wire, want := range map[string]any{"\x54\x80": int32(-128), "\x55\xff": int64(-1)} {
		if v, err := readValue(wire); err != nil || v != want {
			t.Errorf("% x: got %#v, %v, want %#v", wire, v, err, want)
		}
	}
	if got, err := appendValue(nil, -129, 0); err != nil || string(got) != "\x81\xff\xff\xff\xff\xff\xff\xff\x7f" {
		t.Errorf("int: got % x, %v", got, err)
	}
}

// readValue reads the one value that in is.
func readValue(in string) (any, error) {
	d := decoder{Reader: wire.NewReader([]byte(in)), room: len(in)}
	v := d.value(0)
	return v, d.Finish()
}

// TestValuesOneWay reads values that are written in another way.
func TestValuesOneWay(t *testing.T) {
	tests := []struct {
		wire string
		want any
	}{
		{"\x56\x00", false},
		{"\x56\x01", true},
		{"\x70\x00\x00\x00\x01", uint32(1)},
		{"\x80\x00\x00\x00\x00\x00\x00\x00\x01", uint64(1)},
		{"\x71\x00\x00\x00\x01", int32(1)},
		{"\x81\x00\x00\x00\x00\x00\x00\x00\x01", int64(1)},
		{"\x73\x00\x00\x00\xe9", "é"},
		{"\x73\xff\xff\xff\xff", string(utf8.RuneError)},
		{"\x74abcd", []byte("abcd")},
		{"\x84abcdefgh", []byte("abcdefgh")},
		{"\x94abcdefghabcdefgh", []byte("abcdefghabcdefgh")},
		{"\x00\xa3\x01d\x43", uint32(0)},
		{"\x00\x00\x44\x43\x00\x41\x42", false},
		{"\xc0\x01\x00", List(nil)},
		{"\xd0\x00\x00\x00\x04\x00\x00\x00\x00", List(nil)},
		{"\xe0\x04\x02\x50\x01\x02", List{uint8(1), uint8(2)}},
		{"\xe0\x02\x00\x50", List(nil)},
		{"\xe0\x02\x03\x41", List{true, true, true}},
		{"\xf0\x00\x00\x00\x08\x00\x00\x00\x02\xa1\x01a\x00", List{"a", ""}},
		{"\xe0\x07\x02\x00\xa3\x00\x51\xff\x01", List{int8(-1), int8(1)}},
	}
	for _, test := range tests {
		if v, err := readValue(test.wire); err != nil || !reflect.DeepEqual(v, test.want) {
			t.Errorf("% x: got %#v, %v, want %#v", test.wire, v, err, test.want)
		}
	}
}

func TestReadValueErrors(t *testing.T) {
	// An array of more elements than bytes, each without bytes of its own, and
	// in pieces that are each small enough.
	zeros := "\xf0\x00\x00\x00\x05\x00\x00\x00\x20\x44"
	many := "\xd0" + string(be32(4+10*len(zeros))) + "\x00\x00\x00\x0a" + strings.Repeat(zeros, 10)
	tests := []struct{ name, in string }{
		{"nothing", ""},
		{"code 0x46", "\x46"},
		{"code 0x57", "\x57\x00"},
		{"code 0xff", "\xff\x00\x00\x00\x00"},
		{"short ulong", "\x80\x00\x00\x00"},
		{"short uuid", "\x98abc"},
		{"an array of 2^32-1 times 0", "\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x44"},
		{"arrays of zeros", many},
		{"an array of more than there is", "\xe0\x03\x09\x50\x01"},
		{"an array without a code", "\xe0\x01\x00"},
		{"an array with a descriptor and no code", "\xe0\x03\x01\x00\x44"},
		{"a byte after an array's elements", "\xe0\x04\x01\x50\x01\x02"},
		{"a list without a count", "\xc0\x00"},
		{"an element longer than its list", "\xc0\x03\x01\xa1\x05abcde"},
		{"lists that each claim all there is", strings.Repeat("\xd0\x00\x00\x7f\x00\x00\x00\x7f\x00", valueDepthMax)},
		{"a descriptor alone", "\x00\x44"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			checkAllocation(t, len(test.in), func() {
				if v, err := readValue(test.in); err == nil {
					t.Errorf("got %#v", v)
				}
			})
		})
	}
}

// TestValueAllocation reads what costs the most memory a byte.
func TestValueAllocation(t *testing.T) {
	for name, element := range map[string]string{
		"nulls":            "\x40",
		"empty lists":      "\x45",
		"lists of nothing": "\xc0\x01\x00",
		"lists of null":    "\xc0\x02\x01\x40",
		"small ulongs":     "\x53\x07",
		"empty strings":    "\xa1\x00",
		"maps":             "\xc1\x04\x02\xa1\x00\x40",
		"arrays":           "\xe0\x03\x01\x50\x01",
		"arrays of true":   "\xe0\x02\x04\x41",
	} {
		t.Run(name, func(t *testing.T) {
			n := 100_000 / len(element)
			elements := strings.Repeat(element, n)
			in := string(binary.BigEndian.AppendUint32([]byte("\xd0"), uint32(len(elements)+4))) + string(be32(n)) + elements
			checkAllocation(t, len(in), func() {
				if _, err := readValue(in); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
	// Lists in lists, each of which claims to have as many elements as bytes.
	deep := ""
	for range valueDepthMax {
		deep = "\xd0" + string(be32(len(deep)+1000)) + string(be32(len(deep)+996)) + deep + strings.Repeat("\x40", 996)
	}
	checkAllocation(t, len(deep), func() {
		if _, err := readValue(deep); err == nil {
			t.Error("read what claims more elements than it has")
		}
	})
}

func TestSkip(t *testing.T) {
	for _, p := range valuesOfEveryType() {
		b, err := appendValue(nil, p.Value, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range []string{string(b), "\x00\x44" + string(b), "\x00\x00\x44" + string(b) + string(b)} {
			d := decoder{Reader: wire.NewReader([]byte(in))}
			if d.skip(); d.Finish() != nil {
				t.Errorf("%s: % x: %v", p.Key, in, d.Err())
			}
			d = decoder{Reader: wire.NewReader([]byte(in[:len(in)-1]))}
			if d.skip(); d.Err() == nil {
				t.Errorf("%s: % x cut short was skipped", p.Key, in)
			}
		}
	}
	// A descriptor of a descriptor of a descriptor, as deep as there are bytes.
	d := decoder{Reader: wire.NewReader([]byte(strings.Repeat("\x00", 1_000_000)))}
	if d.skip(); !isShort(d.Err()) {
		t.Errorf("a million descriptors: %v", d.Err())
	}
}
