package amqpproto

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/thumpmq/thump/internal/wire"
)

// Classes of methods (AMQP 0-9-1 1.2 and following; confirm is RabbitMQ's).
const (
	ClassConnection = 10
	ClassChannel    = 20
	ClassExchange   = 40
	ClassQueue      = 50
	ClassBasic      = 60
	ClassConfirm    = 85
	ClassTx         = 90
)

// MethodID names a method: its class in the upper 16 bits and its number in
// that class in the lower, as the four bytes that begin a method frame's
// payload do.
type MethodID uint32

// NewMethodID makes a MethodID of the two numbers that connection.close and
// channel.close carry. Zero and zero stand for "no method in particular".
func NewMethodID(class, method uint16) MethodID {
	return MethodID(class)<<16 | MethodID(method)
}

// Class is the number of the method's class.
func (id MethodID) Class() uint16 { return uint16(id >> 16) }

// String is the method's name in the specification, such as "basic.publish".
func (id MethodID) String() string {
	var name string
	switch id.Class() {
	case ClassConnection:
		name = connectionMethodName(id)
	case ClassChannel:
		name = channelMethodName(id)
	case ClassExchange:
		name = exchangeMethodName(id)
	case ClassQueue:
		name = queueMethodName(id)
	case ClassBasic:
		name = basicMethodName(id)
	case ClassConfirm:
		name = confirmMethodName(id)
	case ClassTx:
		name = txMethodName(id)
	}
	if name == "" {
		return fmt.Sprintf("class %d method %d", id.Class(), uint16(id))
	}
	return name
}

// Method is a method with its arguments: a pointer to one of this package's
// structs, which are named as the specification names the methods.
type Method interface {
	// ID says which method it is.
	ID() MethodID

	// arguments hands the method's arguments to c in the order they have on
	// the wire. Reading and writing both go through it, so that the layout of
	// a method is written down once; a test holds it against the XML of the
	// specification.
	arguments(c codec)
}

// codec reads or writes arguments (AMQP 0-9-1 4.2.5). Names are those of the
// specification, and are used in errors.
type codec interface {
	octet(v *uint8)
	short(v *uint16)
	long(v *uint32)
	longlong(v *uint64)
	shortString(name string, v *string)
	longString(name string, v *string)
	table(name string, v *Table)

	// bits packs up to eight adjacent bits into an octet, the first lowest.
	bits(v ...*bool)
}

// ParseMethodID splits the payload of a method frame into the method's id and
// its arguments, which alias payload. It does not check that it knows the id.
func ParseMethodID(payload []byte) (id MethodID, arguments []byte, err error) {
	if len(payload) < 4 {
		return 0, nil, wire.ErrShort
	}
	return MethodID(binary.BigEndian.Uint32(payload)), payload[4:], nil
}

// ParseMethod reads the payload of a method frame. What it returns is a copy,
// and the caller's. The errors are *UnknownMethodError, wire's, those of
// ParseTable, and one for bits that the specification does not define.
func ParseMethod(payload []byte) (Method, error) {
	id, arguments, err := ParseMethodID(payload)
	if err != nil {
		return nil, fmt.Errorf("amqpproto: method: %w", err)
	}
	m := newMethod(id)
	if m == nil {
		return nil, &UnknownMethodError{ID: id}
	}
	r := reader{Reader: wire.NewReader(arguments)}
	m.arguments(&r)
	if err := r.Finish(); err != nil {
		return nil, fmt.Errorf("amqpproto: %v: %w", id, err)
	}
	return m, nil
}

// newMethod returns an empty struct for the method, or nil for an unknown id.
func newMethod(id MethodID) Method {
	switch id.Class() {
	case ClassConnection:
		return newConnectionMethod(id)
	case ClassChannel:
		return newChannelMethod(id)
	case ClassExchange:
		return newExchangeMethod(id)
	case ClassQueue:
		return newQueueMethod(id)
	case ClassBasic:
		return newBasicMethod(id)
	case ClassConfirm:
		return newConfirmMethod(id)
	case ClassTx:
		return newTxMethod(id)
	}
	return nil
}

// reader is the codec that fills in a method's arguments from the wire.
type reader struct {
	wire.Reader
}

func (r *reader) octet(v *uint8)                  { *v = r.U8() }
func (r *reader) short(v *uint16)                 { *v = r.U16() }
func (r *reader) long(v *uint32)                  { *v = r.U32() }
func (r *reader) longlong(v *uint64)              { *v = r.U64() }
func (r *reader) shortString(_ string, v *string) { *v = string(readShort(&r.Reader)) }
func (r *reader) longString(_ string, v *string)  { *v = string(readLong(&r.Reader)) }
func (r *reader) table(_ string, v *Table)        { *v = readTable(&r.Reader, 1) }

func (r *reader) bits(v ...*bool) {
	octet := r.U8()
	for i := range v {
		*v[i] = octet>>i&1 != 0
	}
	if octet>>len(v) != 0 {
		r.Fail(errSpareBits)
	}
}

// writer is the codec that appends a method's arguments to b. After an error b
// is worth nothing.
type writer struct {
	b   []byte
	err error
}

func (w *writer) octet(v *uint8)     { w.b = append(w.b, *v) }
func (w *writer) short(v *uint16)    { w.b = binary.BigEndian.AppendUint16(w.b, *v) }
func (w *writer) long(v *uint32)     { w.b = binary.BigEndian.AppendUint32(w.b, *v) }
func (w *writer) longlong(v *uint64) { w.b = binary.BigEndian.AppendUint64(w.b, *v) }

func (w *writer) shortString(name string, v *string) {
	if len(*v) > math.MaxUint8 {
		w.fail(name, &StringTooLongError{Length: len(*v)})
		return
	}
	w.b = append(w.b, byte(len(*v)))
	w.b = append(w.b, *v...)
}

func (w *writer) longString(name string, v *string) {
	var err error
	if w.b, err = appendLongString(w.b, *v); err != nil {
		w.fail(name, err)
	}
}

func (w *writer) table(name string, v *Table) {
	var err error
	if w.b, err = appendTable(w.b, *v, 1); err != nil {
		w.fail(name, err)
	}
}

func (w *writer) bits(v ...*bool) {
	var octet uint8
	for i := range v {
		if *v[i] {
			octet |= 1 << i
		}
	}
	w.b = append(w.b, octet)
}

// fail keeps the first error, and says in which argument it was.
func (w *writer) fail(name string, err error) {
	if w.err == nil {
		w.err = inside(name, err)
	}
}
