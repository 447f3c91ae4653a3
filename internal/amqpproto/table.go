package amqpproto

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// tableDepthMax is how deep tables and arrays may nest, the outermost table
// included. RabbitMQ's own deepest one is x-death: a table in an array in a
// table. The cap keeps a hostile table off our stack, and a table that contains
// itself from being written for ever.
const tableDepthMax = 32

// Table is a field table: headers, arguments, peer properties (AMQP 0-9-1
// 4.2.5.5). Fields keep their order, and a key may occur more than once, so
// that a table goes back to the wire as it came. nil and empty are the same.
//
// A field's value has one of these types. The letters are those RabbitMQ reads
// and writes, which differ from the specification's (the 0-9-1 errata).
//
//	Go         letter  on the wire
//	bool       t       one byte, 0 or 1 (any but 0 is read as true)
//	int8       b       1 byte
//	uint8      B       1 byte
//	int16      s       2 bytes
//	uint16     u       2 bytes
//	int32      I       4 bytes
//	uint32     i       4 bytes
//	int64      l       8 bytes (L is read as l)
//	int        l       8 bytes; comes back as int64
//	float32    f       4 bytes
//	float64    d       8 bytes
//	Decimal    D       1 byte of scale, 4 bytes unsigned
//	string     S       length of 4 bytes, bytes
//	[]byte     x       length of 4 bytes, bytes
//	[]any      A       length of 4 bytes, values
//	time.Time  T       8 bytes, whole seconds since 1970
//	Table      F       length of 4 bytes, fields
//	nil        V       nothing
//
// RabbitMQ has no letter for an unsigned 64-bit integer.
type Table []Field

// Field is one entry of a Table.
type Field struct {
	Key   string // at most 255 bytes
	Value any    // one of the types listed at Table
}

// Decimal is the number Value / 10^Scale. RabbitMQ reads Value as unsigned.
type Decimal struct {
	Scale uint8
	Value uint32
}

// Get returns the value of the first field with that key, and whether there is
// one.
func (t Table) Get(key string) (any, bool) {
	for i := range t {
		if t[i].Key == key {
			return t[i].Value, true
		}
	}
	return nil, false
}

// AppendTable appends t with its length in front. The errors say where in the
// table the fault is: *ValueTypeError for a value of a type that Table does not
// list, *StringTooLongError for a key of more than 255 bytes, *DepthError for
// more than 32 levels of tables and arrays. On an error it returns dst as it
// was.
func AppendTable(dst []byte, t Table) ([]byte, error) {
	b, err := appendTable(dst, t, 1)
	if err != nil {
		return dst, err
	}
	return b, nil
}

func appendTable(b []byte, t Table, depth int) ([]byte, error) {
	if depth > tableDepthMax {
		return b, &DepthError{}
	}
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	for i := range t {
		key := t[i].Key
		if len(key) > math.MaxUint8 {
			return b, &StringTooLongError{Field: fmt.Sprintf("key %.20q...", key), Length: len(key)}
		}
		b = append(b, byte(len(key)))
		b = append(b, key...)
		var err error
		if b, err = appendValue(b, t[i].Value, depth); err != nil {
			return b, inside(key, err)
		}
	}
	return endLong(b, start)
}

func appendArray(b []byte, a []any, depth int) ([]byte, error) {
	if depth > tableDepthMax {
		return b, &DepthError{}
	}
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	for i := range a {
		var err error
		if b, err = appendValue(b, a[i], depth); err != nil {
			return b, inside(fmt.Sprintf("[%d]", i), err)
		}
	}
	return endLong(b, start)
}

// endLong patches the length of what was appended since start, where four bytes
// were left for it.
func endLong(b []byte, start int) ([]byte, error) {
	size := len(b) - start - 4
	if uint64(size) > math.MaxUint32 {
		return b, &StringTooLongError{Field: "table", Length: size, Long: true}
	}
	binary.BigEndian.PutUint32(b[start:], uint32(size))
	return b, nil
}

// appendValue appends one value, letter first. depth is that of the table or
// array it stands in.
func appendValue(b []byte, v any, depth int) ([]byte, error) {
	be := binary.BigEndian
	switch v := v.(type) {
	case nil:
		return append(b, 'V'), nil
	case bool:
		if v {
			return append(b, 't', 1), nil
		}
		return append(b, 't', 0), nil
	case int8:
		return append(b, 'b', byte(v)), nil
	case uint8:
		return append(b, 'B', v), nil
	case int16:
		return be.AppendUint16(append(b, 's'), uint16(v)), nil
	case uint16:
		return be.AppendUint16(append(b, 'u'), v), nil
	case int32:
		return be.AppendUint32(append(b, 'I'), uint32(v)), nil
	case uint32:
		return be.AppendUint32(append(b, 'i'), v), nil
	case int64:
		return be.AppendUint64(append(b, 'l'), uint64(v)), nil
	case int:
		return be.AppendUint64(append(b, 'l'), uint64(v)), nil
	case float32:
		return be.AppendUint32(append(b, 'f'), math.Float32bits(v)), nil
	case float64:
		return be.AppendUint64(append(b, 'd'), math.Float64bits(v)), nil
	case Decimal:
		return be.AppendUint32(append(b, 'D', v.Scale), v.Value), nil
	case time.Time:
		return be.AppendUint64(append(b, 'T'), uint64(v.Unix())), nil
	case string:
		return appendLongString(append(b, 'S'), v)
	case []byte:
		return appendLongString(append(b, 'x'), v)
	case []any:
		return appendArray(append(b, 'A'), v, depth+1)
	case Table:
		return appendTable(append(b, 'F'), v, depth+1)
	default:
		return b, &ValueTypeError{Type: fmt.Sprintf("%T", v)}
	}
}

func appendLongString[S string | []byte](b []byte, s S) ([]byte, error) {
	if uint64(len(s)) > math.MaxUint32 {
		return b, &StringTooLongError{Length: len(s), Long: true}
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...), nil
}
