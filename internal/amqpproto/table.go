package amqpproto

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// tableDepthMax is how deep tables and arrays may nest, the outermost table
// included. RabbitMQ's own deepest is x-death: a table in an array in a table. The
// limit keeps a hostile table from filling our stack, and ends the writing of a
// table that contains itself.
const tableDepthMax = 32

// Table is a field table: headers, arguments, peer properties (AMQP 0-9-1 4.2.5.5).
// Fields keep their order, and a key may occur more than once, so that a table can
// be written as it was read. A nil table is an empty one.
//
// A field's value has one of these types. The letters are those that RabbitMQ reads
// and writes; the specification's differ (see the 0-9-1 errata).
//
//	Go         letter  on the wire
//	bool       t       one byte, 0 or 1 (all but 0 are read as true)
//	int8       b       1 byte
//	uint8      B       1 byte
//	int16      s       2 bytes
//	uint16     u       2 bytes
//	int32      I       4 bytes
//	uint32     i       4 bytes
//	int64      l       8 bytes (L is read as l)
//	int        l       8 bytes; is read as int64
//	float32    f       4 bytes
//	float64    d       8 bytes
//	Decimal    D       1 byte of scale, 4 bytes
//	string     S       length of 4 bytes, bytes
//	[]byte     x       length of 4 bytes, bytes
//	[]any      A       length of 4 bytes, values
//	time.Time  T       8 bytes, whole seconds since 1970
//	Table      F       length of 4 bytes, fields
//	nil        V       nothing
//
// RabbitMQ has no letter for an unsigned 64-bit integer.
//
// Writing a table can fail with *ValueTypeError for a value of another type, with
// *StringTooLongError for a key of more than 255 bytes, and with *DepthError for
// more than 32 levels of tables and arrays; each says where in the table. Reading
// one can fail with wire.ErrShort, *FieldTypeError and *DepthError.
type Table []Field

// Field is a key and its value in a Table.
type Field struct {
	Key   string // at most 255 bytes
	Value any    // one of the types listed at Table
}

// Decimal is the number Value / 10^Scale. AMQP 0-9-1 4.2.5.5 calls Value signed, and so
// do most clients; the specification's grammar calls it unsigned, and so does RabbitMQ,
// which hands the bits on as they came.
type Decimal struct {
	Scale uint8
	Value int32
}

// Get returns the value of the first field with that key, and whether there is one.
func (t Table) Get(key string) (any, bool) {
	for i := range t {
		if t[i].Key == key {
			return t[i].Value, true
		}
	}
	return nil, false
}

// appendTable appends the length of t and then t. depth is the level of t itself.
// After an error what it returns is useless.
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

// appendArray appends the length of a and then a. depth is the level of a itself.
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

// endLong fills in the length at start, where four bytes were left for it, of what
// was appended after it.
func endLong(b []byte, start int) ([]byte, error) {
	size := len(b) - start - 4
	if uint64(size) > math.MaxUint32 {
		return b, &StringTooLongError{Field: "table", Length: size, Long: true}
	}
	binary.BigEndian.PutUint32(b[start:], uint32(size))
	return b, nil
}

// appendValue appends the letter of v and then v. depth is the level of the table or
// array that v is in.
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
		return be.AppendUint32(append(b, 'D', v.Scale), uint32(v.Value)), nil
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
