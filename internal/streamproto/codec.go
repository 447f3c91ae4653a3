package streamproto

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/thumpmq/thump/internal/wire"
)

// codec reads or writes the fields of a command (PROTOCOL.adoc, Types). Reading and
// writing both use it, so a command's layout is written down once. The names are for
// errors, and are the specification's.
type codec interface {
	u8(v *uint8)
	u16(v *uint16)
	u32(v *uint32)
	u64(v *uint64)
	i64(v *int64)
	boolean(v *bool)
	code(v *Code)
	text(name string, v *string)
	bytes(v *[]byte)      // length of 32 bits, -1 for nil
	challenge(v *[]byte)  // length of 16 bits; left out if it is empty
	offset(v *OffsetSpec) // with a value only if the type has one

	texts(name string, v *[]string)
	shorts(v *[]uint16)
	properties(v *[]Property)
	optionalProperties(v *[]Property) // the last field; left out if it is empty
	versions(v *[]CommandVersion)
	stats(v *[]Stat)
	brokers(v *[]Broker)
	streams(v *[]StreamMetadata)

	// hasRest says whether a response has fields after its code. RabbitMQ's
	// always do, but the answer to a failed request would lose nothing without.
	hasRest(c Code) bool
}

// reader is the codec that reads a command's fields.
type reader struct {
	wire.Reader
}

func newReader(body []byte) *reader { return &reader{Reader: wire.NewReader(body)} }

// finish returns the error of reading the body of f, if there is one.
func (r *reader) finish(f *Frame) error {
	err := r.Finish()
	if err == nil {
		return nil
	}
	return fmt.Errorf("%v%s: %w", f.Key, responseWord(f.Response), err)
}

func (r *reader) u8(v *uint8)   { *v = r.U8() }
func (r *reader) u16(v *uint16) { *v = r.U16() }
func (r *reader) u32(v *uint32) { *v = r.U32() }
func (r *reader) u64(v *uint64) { *v = r.U64() }
func (r *reader) i64(v *int64)  { *v = int64(r.U64()) }
func (r *reader) code(v *Code)  { *v = Code(r.U16()) }

func (r *reader) boolean(v *bool) {
	octet := r.U8()
	if octet > 1 {
		r.Fail(errBool)
	}
	*v = octet == 1
}

func (r *reader) text(_ string, v *string) {
	length := int16(r.U16())
	switch {
	case length >= 0:
		*v = string(r.Bytes(int(length)))
	case length < -1:
		r.Fail(errStringLength)
	}
}

func (r *reader) bytes(v *[]byte) {
	length := r.U32()
	if length == math.MaxUint32 {
		return
	}
	if uint64(length) > uint64(r.Len()) {
		// Compared first, because on a 32-bit system int(length) could be negative.
		r.Fail(wire.ErrShort)
		return
	}
	*v = append([]byte{}, r.Bytes(int(length))...)
}

func (r *reader) challenge(v *[]byte) {
	if r.Len() == 0 {
		return
	}
	// RabbitMQ reads and writes a string here; PROTOCOL.adoc says bytes.
	var s string
	if r.text("", &s); s != "" {
		*v = []byte(s)
	}
}

func (r *reader) offset(v *OffsetSpec) {
	v.Type = OffsetType(r.U16())
	switch v.Type {
	case OffsetNone, OffsetFirst, OffsetLast, OffsetNext:
	case OffsetNumber, OffsetTimestamp:
		v.Value = r.U64()
	default:
		r.Fail(&OffsetTypeError{Type: v.Type})
	}
}

// count reads how many elements an array has. Each takes at least size bytes, so a
// count for which too few bytes are left is an error, and 0 is returned. The caller
// can make room for as many elements as count says.
func (r *reader) count(size int) int {
	n := r.U32()
	if uint64(n)*uint64(size) > uint64(r.Len()) {
		r.Fail(wire.ErrShort)
		return 0
	}
	return int(n)
}

// readArray reads an array whose elements take at least size bytes each. An empty
// array is nil.
func readArray[E any](r *reader, size int, v *[]E, element func(e *E)) {
	n := r.count(size)
	if n == 0 {
		return
	}
	array := make([]E, n)
	for i := range array {
		if element(&array[i]); r.Err() != nil {
			return
		}
	}
	*v = array
}

func (r *reader) texts(name string, v *[]string) {
	readArray(r, 2, v, func(e *string) { r.text(name, e) })
}

func (r *reader) shorts(v *[]uint16) { readArray(r, 2, v, r.u16) }

func (r *reader) properties(v *[]Property) {
	readArray(r, 4, v, func(e *Property) { e.fields(r) })
}

func (r *reader) optionalProperties(v *[]Property) {
	if r.Len() > 0 {
		r.properties(v)
	}
}

func (r *reader) versions(v *[]CommandVersion) {
	readArray(r, 6, v, func(e *CommandVersion) { e.fields(r) })
}

func (r *reader) stats(v *[]Stat) {
	readArray(r, 10, v, func(e *Stat) { e.fields(r) })
}

func (r *reader) brokers(v *[]Broker) {
	readArray(r, 8, v, func(e *Broker) { e.fields(r) })
}

func (r *reader) streams(v *[]StreamMetadata) {
	readArray(r, 10, v, func(e *StreamMetadata) { e.fields(r) })
}

func (r *reader) hasRest(c Code) bool { return c == CodeOK || r.Len() > 0 }

// writer is the codec that appends a command's fields to b. After an error b is
// useless.
type writer struct {
	b   []byte
	err error
}

func (w *writer) u8(v *uint8)   { w.b = append(w.b, *v) }
func (w *writer) u16(v *uint16) { w.b = binary.BigEndian.AppendUint16(w.b, *v) }
func (w *writer) u32(v *uint32) { w.b = binary.BigEndian.AppendUint32(w.b, *v) }
func (w *writer) u64(v *uint64) { w.b = binary.BigEndian.AppendUint64(w.b, *v) }
func (w *writer) i64(v *int64)  { w.b = binary.BigEndian.AppendUint64(w.b, uint64(*v)) }
func (w *writer) code(v *Code)  { w.b = binary.BigEndian.AppendUint16(w.b, uint16(*v)) }

func (w *writer) boolean(v *bool) {
	octet := byte(0)
	if *v {
		octet = 1
	}
	w.b = append(w.b, octet)
}

// text writes an empty string as one of length 0, because RabbitMQ refuses a null
// for a name.
func (w *writer) text(name string, v *string) {
	if len(*v) > math.MaxInt16 {
		w.fail(&StringTooLongError{Field: name, Length: len(*v)})
		return
	}
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(len(*v)))
	w.b = append(w.b, *v...)
}

func (w *writer) bytes(v *[]byte) {
	if *v == nil {
		w.b = append(w.b, 0xFF, 0xFF, 0xFF, 0xFF)
		return
	}
	w.b = binary.BigEndian.AppendUint32(w.b, uint32(len(*v)))
	w.b = append(w.b, *v...)
}

func (w *writer) challenge(v *[]byte) {
	if len(*v) > 0 {
		s := string(*v)
		w.text("SaslOpaqueData", &s)
	}
}

func (w *writer) offset(v *OffsetSpec) {
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(v.Type))
	switch v.Type {
	case OffsetNone, OffsetFirst, OffsetLast, OffsetNext:
	case OffsetNumber, OffsetTimestamp:
		w.u64(&v.Value)
	default:
		w.fail(&OffsetTypeError{Type: v.Type})
	}
}

func writeArray[E any](w *writer, array []E, element func(e *E)) {
	w.b = binary.BigEndian.AppendUint32(w.b, uint32(len(array)))
	for i := range array {
		element(&array[i])
	}
}

func (w *writer) texts(name string, v *[]string) {
	writeArray(w, *v, func(e *string) { w.text(name, e) })
}

func (w *writer) shorts(v *[]uint16) { writeArray(w, *v, w.u16) }

func (w *writer) properties(v *[]Property) {
	writeArray(w, *v, func(e *Property) { e.fields(w) })
}

func (w *writer) optionalProperties(v *[]Property) {
	if len(*v) > 0 {
		w.properties(v)
	}
}

func (w *writer) versions(v *[]CommandVersion) {
	writeArray(w, *v, func(e *CommandVersion) { e.fields(w) })
}

func (w *writer) stats(v *[]Stat) {
	writeArray(w, *v, func(e *Stat) { e.fields(w) })
}

func (w *writer) brokers(v *[]Broker) {
	writeArray(w, *v, func(e *Broker) { e.fields(w) })
}

func (w *writer) streams(v *[]StreamMetadata) {
	writeArray(w, *v, func(e *StreamMetadata) { e.fields(w) })
}

func (w *writer) hasRest(Code) bool { return true }

// fail makes err the writer's error, unless it has one.
func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// appendCommand appends a frame without a correlation id.
func appendCommand(dst []byte, key Key, fields func(c codec)) ([]byte, error) {
	w := writer{b: beginFrame(dst, uint16(key), 1)}
	if fields(&w); w.err != nil {
		return dst, fmt.Errorf("%v: %w", key, w.err)
	}
	return endFrame(w.b, len(dst)), nil
}

// parseCommand reads a frame without a correlation id.
func parseCommand(f *Frame, key Key, fields func(c codec)) error {
	if err := expect(f, key, false); err != nil {
		return err
	}
	r := newReader(f.Body)
	fields(r)
	return r.finish(f)
}
