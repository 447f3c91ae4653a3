package amqpproto

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/thumpmq/thump/internal/wire"
)

// Classes of methods (AMQP 0-9-1 1.2 and following; confirm is RabbitMQ's extension).
const (
	ClassConnection = 10
	ClassChannel    = 20
	ClassExchange   = 40
	ClassQueue      = 50
	ClassBasic      = 60
	ClassConfirm    = 85
)

// MethodID identifies a method: the number of its class in the upper 16 bits, its
// number in the class in the lower 16. A method frame's payload begins with these
// four bytes.
type MethodID uint32

// NewMethodID makes a MethodID of the two numbers that connection.close and
// channel.close carry. Both are zero if no method was at fault.
func NewMethodID(class, method uint16) MethodID {
	return MethodID(class)<<16 | MethodID(method)
}

// Class is the number of the method's class.
func (id MethodID) Class() uint16 { return uint16(id >> 16) }

// String is the method's name in the specification, such as "basic.publish".
func (id MethodID) String() string {
	if m, known := methods[id]; known {
		return m.name
	}
	return fmt.Sprintf("class %d method %d", id.Class(), uint16(id))
}

// Method is a method with its arguments: a pointer to one of this package's
// structs, which have the specification's names.
type Method interface {
	// ID says which method it is.
	ID() MethodID

	// arguments passes the method's arguments to c in the order of the wire.
	// Reading and writing both use it, so the layout of a method is written down
	// once. A test compares it with the XML of the specification.
	arguments(c codec)
}

// codec reads or writes arguments (AMQP 0-9-1 4.2.5). The names are for errors, and
// are the specification's.
type codec interface {
	octet(v *uint8)
	short(v *uint16)
	long(v *uint32)
	longlong(v *uint64)
	shortString(name string, v *string)
	longString(name string, v *string)
	table(name string, v *Table)

	// bits packs up to eight adjacent bits into an octet, the first one lowest.
	bits(v ...*bool)
}

// ParseMethodID splits the payload of a method frame into the method's id and its
// arguments, which alias payload. The id may be an unknown one. The error is
// wire.ErrShort.
func ParseMethodID(payload []byte) (id MethodID, arguments []byte, err error) {
	if len(payload) < 4 {
		return 0, nil, wire.ErrShort
	}
	return MethodID(binary.BigEndian.Uint32(payload)), payload[4:], nil
}

// ParseMethod reads the payload of a method frame. It returns a copy, which belongs
// to the caller. The errors are *UnknownMethodError, those of package wire, those
// that Table names, and one for bits that the specification does not define.
func ParseMethod(payload []byte) (Method, error) {
	id, arguments, err := ParseMethodID(payload)
	if err != nil {
		return nil, fmt.Errorf("method: %w", err)
	}
	m := newMethod(id)
	if m == nil {
		return nil, &UnknownMethodError{ID: id}
	}
	r := reader{Reader: wire.NewReader(arguments)}
	m.arguments(&r)
	if err := r.Finish(); err != nil {
		return nil, fmt.Errorf("%v: %w", id, err)
	}
	return m, nil
}

// newMethod returns an empty struct for the method, or nil for an unknown id.
func newMethod(id MethodID) Method {
	if m, known := methods[id]; known {
		return m.empty()
	}
	return nil
}

// empty returns an empty T as a Method.
func empty[T any, M interface {
	*T
	Method
}]() Method {
	return M(new(T))
}

// methods has a row for each method: its name in the specification, and what makes
// its struct. Class tx is left out: thump does not use transactions, and RabbitMQ
// sends those methods only as answers.
//
//nolint:gochecknoglobals // constant in all but syntax
var methods = map[MethodID]struct {
	name  string
	empty func() Method
}{
	MethodConnectionStart:          {"connection.start", empty[ConnectionStart]},
	MethodConnectionStartOk:        {"connection.start-ok", empty[ConnectionStartOk]},
	MethodConnectionSecure:         {"connection.secure", empty[ConnectionSecure]},
	MethodConnectionSecureOk:       {"connection.secure-ok", empty[ConnectionSecureOk]},
	MethodConnectionTune:           {"connection.tune", empty[ConnectionTune]},
	MethodConnectionTuneOk:         {"connection.tune-ok", empty[ConnectionTuneOk]},
	MethodConnectionOpen:           {"connection.open", empty[ConnectionOpen]},
	MethodConnectionOpenOk:         {"connection.open-ok", empty[ConnectionOpenOk]},
	MethodConnectionClose:          {"connection.close", empty[ConnectionClose]},
	MethodConnectionCloseOk:        {"connection.close-ok", empty[ConnectionCloseOk]},
	MethodConnectionBlocked:        {"connection.blocked", empty[ConnectionBlocked]},
	MethodConnectionUnblocked:      {"connection.unblocked", empty[ConnectionUnblocked]},
	MethodConnectionUpdateSecret:   {"connection.update-secret", empty[ConnectionUpdateSecret]},
	MethodConnectionUpdateSecretOk: {"connection.update-secret-ok", empty[ConnectionUpdateSecretOk]},

	MethodChannelOpen:    {"channel.open", empty[ChannelOpen]},
	MethodChannelOpenOk:  {"channel.open-ok", empty[ChannelOpenOk]},
	MethodChannelFlow:    {"channel.flow", empty[ChannelFlow]},
	MethodChannelFlowOk:  {"channel.flow-ok", empty[ChannelFlowOk]},
	MethodChannelClose:   {"channel.close", empty[ChannelClose]},
	MethodChannelCloseOk: {"channel.close-ok", empty[ChannelCloseOk]},

	MethodExchangeDeclare:   {"exchange.declare", empty[ExchangeDeclare]},
	MethodExchangeDeclareOk: {"exchange.declare-ok", empty[ExchangeDeclareOk]},
	MethodExchangeDelete:    {"exchange.delete", empty[ExchangeDelete]},
	MethodExchangeDeleteOk:  {"exchange.delete-ok", empty[ExchangeDeleteOk]},
	MethodExchangeBind:      {"exchange.bind", empty[ExchangeBind]},
	MethodExchangeBindOk:    {"exchange.bind-ok", empty[ExchangeBindOk]},
	MethodExchangeUnbind:    {"exchange.unbind", empty[ExchangeUnbind]},
	MethodExchangeUnbindOk:  {"exchange.unbind-ok", empty[ExchangeUnbindOk]},

	MethodQueueDeclare:   {"queue.declare", empty[QueueDeclare]},
	MethodQueueDeclareOk: {"queue.declare-ok", empty[QueueDeclareOk]},
	MethodQueueBind:      {"queue.bind", empty[QueueBind]},
	MethodQueueBindOk:    {"queue.bind-ok", empty[QueueBindOk]},
	MethodQueuePurge:     {"queue.purge", empty[QueuePurge]},
	MethodQueuePurgeOk:   {"queue.purge-ok", empty[QueuePurgeOk]},
	MethodQueueDelete:    {"queue.delete", empty[QueueDelete]},
	MethodQueueDeleteOk:  {"queue.delete-ok", empty[QueueDeleteOk]},
	MethodQueueUnbind:    {"queue.unbind", empty[QueueUnbind]},
	MethodQueueUnbindOk:  {"queue.unbind-ok", empty[QueueUnbindOk]},

	MethodBasicQos:          {"basic.qos", empty[BasicQos]},
	MethodBasicQosOk:        {"basic.qos-ok", empty[BasicQosOk]},
	MethodBasicConsume:      {"basic.consume", empty[BasicConsume]},
	MethodBasicConsumeOk:    {"basic.consume-ok", empty[BasicConsumeOk]},
	MethodBasicCancel:       {"basic.cancel", empty[BasicCancel]},
	MethodBasicCancelOk:     {"basic.cancel-ok", empty[BasicCancelOk]},
	MethodBasicPublish:      {"basic.publish", empty[BasicPublish]},
	MethodBasicReturn:       {"basic.return", empty[BasicReturn]},
	MethodBasicDeliver:      {"basic.deliver", empty[BasicDeliver]},
	MethodBasicGet:          {"basic.get", empty[BasicGet]},
	MethodBasicGetOk:        {"basic.get-ok", empty[BasicGetOk]},
	MethodBasicGetEmpty:     {"basic.get-empty", empty[BasicGetEmpty]},
	MethodBasicAck:          {"basic.ack", empty[BasicAck]},
	MethodBasicReject:       {"basic.reject", empty[BasicReject]},
	MethodBasicRecoverAsync: {"basic.recover-async", empty[BasicRecoverAsync]},
	MethodBasicRecover:      {"basic.recover", empty[BasicRecover]},
	MethodBasicRecoverOk:    {"basic.recover-ok", empty[BasicRecoverOk]},
	MethodBasicNack:         {"basic.nack", empty[BasicNack]},

	MethodConfirmSelect:   {"confirm.select", empty[ConfirmSelect]},
	MethodConfirmSelectOk: {"confirm.select-ok", empty[ConfirmSelectOk]},
}

// reader is the codec that reads a method's arguments.
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

// writer is the codec that appends a method's arguments to b. After an error b is
// useless.
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
