package thump

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// Table is an ordered AMQP field table: the headers of a message, and the arguments
// of queues, exchanges, bindings and consumers. Order and repeated keys are kept by
// thump and RabbitMQ 3; RabbitMQ 4 sorts the headers of a message and drops repeated
// keys. A nil Table is an empty one.
//
// A Table is a slice: a copy of it shares its memory (slices.Clone makes one that does
// not), and it is not safe for concurrent use while it is changed. What takes a Table
// has read it when the call returns.
//
// A value has one of the types below; others are refused before anything is sent. Each
// comes back as it was sent, but for int, which comes back as int64, and the types that
// are strings, which come back as that. Tables and lists nest up to 32 deep.
//
//	bool
//	int8 int16 int32 int64 int
//	uint8 uint16 uint32 (AMQP has no uint64)
//	float32 float64
//	Decimal
//	string, and QueueKind, Overflow, DeadLetterStrategy, RetryType
//	[]byte
//	time.Time (in whole seconds)
//	Table
//	[]any, a list of these
//	nil
type Table []Field

// Field is a key and its value in a Table.
type Field struct {
	Key   string // at most 255 bytes
	Value any    // of a type that Table lists
}

// Decimal is the number Value / 10^Scale.
type Decimal struct {
	Scale uint8
	Value int32
}

// NewTable makes a table of keys and values in turn:
//
//	thump.NewTable("tenant", "acme", "attempt", 3)
//
// It panics if a key is not a string, or has no value. Values of a type that a Table
// can't hold are refused later, by the call that sends the table.
func NewTable(keysAndValues ...any) Table {
	if len(keysAndValues)%2 != 0 {
		panic("thump: NewTable: the last key has no value")
	}
	t := make(Table, 0, len(keysAndValues)/2)
	for i := 0; i < len(keysAndValues); i += 2 {
		key, ok := keysAndValues[i].(string)
		if !ok {
			panic(fmt.Sprintf("thump: NewTable: argument %d is a key and has type %T, not string", i+1, keysAndValues[i]))
		}
		t = append(t, Field{Key: key, Value: keysAndValues[i+1]})
	}
	return t
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

// Set gives the key that value: in its place if it is there, otherwise at the end.
// Other fields with the key are removed. It writes into the memory of t, which copies of
// t share.
func (t *Table) Set(key string, value any) {
	i := slices.IndexFunc(*t, func(f Field) bool { return f.Key == key })
	if i < 0 {
		*t = append(*t, Field{Key: key, Value: value})
		return
	}
	(*t)[i].Value = value
	rest := (*t)[i+1:]
	*t = (*t)[:i+1+len(rest.without(key))]
}

// Del removes every field with that key, in the memory of t, which copies of t share.
func (t *Table) Del(key string) { *t = t.without(key) }

// without removes every field with that key, in the memory of t.
func (t Table) without(key string) Table {
	return slices.DeleteFunc(t, func(f Field) bool { return f.Key == key })
}

// The codec has types of its own, so that its package stands alone. Tables are
// converted on the way in and out.

// appendWire appends the fields of t as the codec has them. The table was checked.
func appendWire(to amqpproto.Table, t Table) amqpproto.Table {
	for i := range t {
		to = append(to, amqpproto.Field{Key: t[i].Key, Value: wireValue(t[i].Value)})
	}
	return to
}

func wireValue(v any) any {
	switch v := v.(type) {
	case Table:
		return appendWire(make(amqpproto.Table, 0, len(v)), v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = wireValue(v[i])
		}
		return list
	case Decimal:
		return amqpproto.Decimal(v)
	default:
		return plain(v)
	}
}

// plain is the text of a value that has one of this package's own string types, and any
// other value as it is.
func plain(v any) any {
	switch v := v.(type) {
	case QueueKind:
		return string(v)
	case Overflow:
		return string(v)
	case DeadLetterStrategy:
		return string(v)
	case RetryType:
		return string(v)
	default:
		return v
	}
}

// wireArguments checks the arguments of a queue, an exchange, a binding or a consumer
// and returns them as the codec has them, with bytes of their own: they may be sent again
// long after the call.
func wireArguments(t Table) (amqpproto.Table, error) {
	if len(t) == 0 {
		return nil, nil
	}
	if err := checkTable("argument", t); err != nil {
		return nil, err
	}
	arguments := appendWire(make(amqpproto.Table, 0, len(t)), t)
	ownBytes(arguments)
	return arguments, nil
}

// ownBytes makes the bytes in a value of the codec copies, in the memory of its tables and
// lists, and returns it.
func ownBytes(v any) any {
	switch v := v.(type) {
	case []byte:
		return bytes.Clone(v)
	case amqpproto.Table:
		for i := range v {
			v[i].Value = ownBytes(v[i].Value)
		}
	case []any:
		for i := range v {
			v[i] = ownBytes(v[i])
		}
	}
	return v
}

// tableOf is a table that the codec has read.
func tableOf(wire amqpproto.Table) Table {
	if wire == nil {
		return nil
	}
	t := make(Table, len(wire))
	for i := range wire {
		t[i] = Field{Key: wire[i].Key, Value: valueOf(wire[i].Value)}
	}
	return t
}

func valueOf(v any) any {
	switch v := v.(type) {
	case amqpproto.Table:
		return tableOf(v)
	case []any: // the codec's own: nobody else has it
		for i := range v {
			v[i] = valueOf(v[i])
		}
		return v
	case amqpproto.Decimal:
		return Decimal(v)
	default:
		return v
	}
}
