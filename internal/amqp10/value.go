package amqp10

import (
	"encoding/binary"
	"fmt"
	"math"
)

// valueDepthMax is how deep lists and maps may nest. The limit keeps a hostile message
// from filling our stack, and ends the writing of a list that contains itself.
const valueDepthMax = 32

// The types of AMQP 1.0 values that Go does not have (1.6).
type (
	// Timestamp is milliseconds since 1970.
	Timestamp int64

	// UUID is the 16 bytes of a UUID, in the order of its text.
	UUID [16]byte

	// Symbol is a string of ASCII characters.
	Symbol string

	// List is a list of values.
	List []any

	// Map is a map whose keys are strings, in the order of the wire. A key may
	// occur more than once.
	Map []Pair

	// SymbolMap is a Map that is written with symbols for keys; it is read as a Map.
	SymbolMap []Pair
)

// Pair is a key and its value in a map. The value has one of these types. The codes
// are those of 1.6; AppendMessage writes the shortest one that holds the value.
//
//	Go         code            AMQP 1.0
//	nil        40              null
//	bool       41 42 (56)      boolean
//	uint8      50              ubyte
//	uint16     60              ushort
//	uint32     70 52 43        uint
//	uint64     80 53 44        ulong
//	int8       51              byte
//	int16      61              short
//	int32      71 54           int
//	int64      81 55           long
//	int        81 55           long; is read as int64
//	float32    72              float
//	float64    82              double
//	Timestamp  83              timestamp
//	UUID       98              uuid
//	[]byte     a0 b0           binary
//	string     a1 b1           string
//	Symbol     a3 b3           symbol
//	List       45 c0 d0        list
//	Map        c1 d1           map
//	SymbolMap  c1 d1           map
//
// Other values are read as one of these: a char as a string, a decimal as its bytes,
// an array as a List, and a described value without its descriptor. Entries of a map
// whose keys are neither strings nor symbols are left out.
type Pair struct {
	Key   string
	Value any
}

// ValueTypeError is the error for a value in a message whose Go type has no
// counterpart in AMQP 1.0, or none that is allowed in that place.
type ValueTypeError struct {
	Type string // the Go type
}

func (e *ValueTypeError) Error() string {
	return "a value of type " + e.Type + " is not allowed here"
}

// DepthError is the error for lists and maps nested more than 32 deep.
type DepthError struct{}

func (*DepthError) Error() string {
	return fmt.Sprintf("lists or maps nested more than %d deep", valueDepthMax)
}

// appendValue appends the code of v and then v. depth is how many lists and maps v is
// in. After an error what it returns is useless.
func appendValue(b []byte, v any, depth int) ([]byte, error) {
	be := binary.BigEndian
	switch v := v.(type) {
	case nil:
		return append(b, 0x40), nil
	case bool:
		return appendBool(b, v), nil
	case uint8:
		return append(b, 0x50, v), nil
	case uint16:
		return be.AppendUint16(append(b, 0x60), v), nil
	case uint32:
		return appendUint32(b, v), nil
	case uint64:
		return appendUint64(b, v), nil
	case int8:
		return append(b, 0x51, byte(v)), nil
	case int16:
		return be.AppendUint16(append(b, 0x61), uint16(v)), nil
	case int32:
		if 0 <= v && v <= math.MaxInt8 { // see appendInt64
			return append(b, 0x54, byte(v)), nil
		}
		return be.AppendUint32(append(b, 0x71), uint32(v)), nil
	case int64:
		return appendInt64(b, v), nil
	case int:
		return appendInt64(b, int64(v)), nil
	case float32:
		return be.AppendUint32(append(b, 0x72), math.Float32bits(v)), nil
	case float64:
		return be.AppendUint64(append(b, 0x82), math.Float64bits(v)), nil
	case Timestamp:
		return be.AppendUint64(append(b, 0x83), uint64(v)), nil
	case UUID:
		return append(append(b, 0x98), v[:]...), nil
	case []byte:
		return appendVariable(b, 0xa0, v), nil
	case string:
		return appendVariable(b, 0xa1, v), nil
	case Symbol:
		return appendVariable(b, 0xa3, v), nil
	case List:
		return appendList(b, v, depth+1)
	case Map:
		return appendMap(b, v, 0xa1, depth+1)
	case SymbolMap:
		return appendMap(b, v, 0xa3, depth+1)
	default:
		return b, &ValueTypeError{Type: fmt.Sprintf("%T", v)}
	}
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0x41)
	}
	return append(b, 0x42)
}

func appendUint32(b []byte, v uint32) []byte {
	switch {
	case v == 0:
		return append(b, 0x43)
	case v <= math.MaxUint8:
		return append(b, 0x52, byte(v))
	}
	return binary.BigEndian.AppendUint32(append(b, 0x70), v)
}

func appendUint64(b []byte, v uint64) []byte {
	switch {
	case v == 0:
		return append(b, 0x44)
	case v <= math.MaxUint8:
		return append(b, 0x53, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0x80), v)
}

// appendInt64 writes small numbers in one byte, but not negative ones: the official Go
// client (v1.8.3) reads the short form of -32 as 224.
func appendInt64(b []byte, v int64) []byte {
	if 0 <= v && v <= math.MaxInt8 {
		return append(b, 0x55, byte(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 0x81), uint64(v))
}

// appendVariable appends a code, a length and v. The length has 8 bits with the given
// code, and 32 bits with the code that is 16 higher.
func appendVariable[S string | Symbol | []byte](b []byte, code byte, v S) []byte {
	if len(v) <= math.MaxUint8 {
		b = append(b, code, byte(len(v)))
	} else {
		b = binary.BigEndian.AppendUint32(append(b, code+0x10), uint32(len(v)))
	}
	return append(b, v...)
}

// appendList appends a list. depth is the list's own level.
func appendList(b []byte, list List, depth int) ([]byte, error) {
	if depth > valueDepthMax {
		return b, &DepthError{}
	}
	if len(list) == 0 {
		return append(b, 0x45), nil
	}
	start := len(b)
	b = append(b, 0xc0, 0, 0)
	for _, v := range list {
		var err error
		if b, err = appendValue(b, v, depth); err != nil {
			return b, err
		}
	}
	return endCompound(b, start, len(list)), nil
}

// appendMap appends a map. Its keys are strings (keyCode 0xa1) or symbols (0xa3).
// depth is the map's own level.
func appendMap(b []byte, m []Pair, keyCode byte, depth int) ([]byte, error) {
	if depth > valueDepthMax {
		return b, &DepthError{}
	}
	start := len(b)
	b = append(b, 0xc1, 0, 0)
	for i := range m {
		b = appendVariable(b, keyCode, m[i].Key)
		var err error
		if b, err = appendValue(b, m[i].Value, depth); err != nil {
			return b, err
		}
	}
	return endCompound(b, start, 2*len(m)), nil
}

// endCompound fills in size and count of the list or map that begins at start, with
// the code for 8 bits and two zeros. If 8 bits are too few, it moves the elements up
// to make room for 32.
func endCompound(b []byte, start, count int) []byte {
	const short, long = 3, 9
	size := len(b) - start - short
	if size+1 <= math.MaxUint8 && count <= math.MaxUint8 {
		b[start+1], b[start+2] = byte(size+1), byte(count)
		return b
	}
	b = append(b, make([]byte, long-short)...)
	copy(b[start+long:], b[start+short:start+short+size])
	b[start] += 0x10
	binary.BigEndian.PutUint32(b[start+1:], uint32(size+4))
	binary.BigEndian.PutUint32(b[start+5:], uint32(count))
	return b
}
