// Package wire reads big-endian integers and runs of bytes, which AMQP and the
// RabbitMQ stream protocol consist of, from a byte slice.
//
// It does no I/O. A peer that may be broken or hostile wrote the bytes, so no read
// goes past their end, whatever a length field claims.
package wire

import (
	"encoding/binary"
	"errors"
	"slices"
)

// ErrShort is the error of a read that asks for more bytes than are left.
var ErrShort = errors.New("input too short")

// ErrTrailing is Finish's error if bytes are left over.
var ErrTrailing = errors.New("bytes left over at the end")

// Reader reads values from the front of a byte slice. The first error sticks: every
// later read returns zero, so a parser reads all its fields and then asks once, with
// Finish, whether they were there.
//
// It is a small value for its user's stack, and not safe for concurrent use. A copy is
// an independent reader at the same place.
//
// A read is a bounds check and a load, small enough for the compiler to inline it.
// That is why a read past the end only sets a flag, which Err turns into an error: a
// call in the read would exceed the compiler's budget.
type Reader struct {
	b     []byte
	short bool  // a read went past the end, before any Fail
	err   error // the first one given to Fail
}

// NewReader returns a Reader of b. It aliases b and never writes to it.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Fail makes err the reader's error, unless it has one, and ends the input. Parsers
// use it for bytes that are wrong.
func (r *Reader) Fail(err error) {
	if r.Err() == nil {
		r.err = err
	}
	r.b = nil
}

// U8 reads one byte.
func (r *Reader) U8() uint8 {
	if len(r.b) < 1 {
		r.b, r.short = nil, true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

// U16 reads two bytes, most significant first.
func (r *Reader) U16() uint16 {
	if len(r.b) < 2 {
		r.b, r.short = nil, true
		return 0
	}
	v := binary.BigEndian.Uint16(r.b)
	r.b = r.b[2:]
	return v
}

// U32 reads four bytes, most significant first.
func (r *Reader) U32() uint32 {
	if len(r.b) < 4 {
		r.b, r.short = nil, true
		return 0
	}
	v := binary.BigEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

// U64 reads eight bytes, most significant first.
func (r *Reader) U64() uint64 {
	if len(r.b) < 8 {
		r.b, r.short = nil, true
		return 0
	}
	v := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

// Bytes reads the next n bytes. They alias the input, and are valid as long as it is;
// their capacity ends with them, so appending to them copies. If n is negative or
// larger than what is left, the error is ErrShort and the result nil.
func (r *Reader) Bytes(n int) []byte {
	if uint(n) > uint(len(r.b)) {
		r.b, r.short = nil, true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// Rest reads all bytes that are left. They alias the input, as those of Bytes do.
func (r *Reader) Rest() []byte {
	v := slices.Clip(r.b)
	r.b = r.b[len(r.b):]
	return v
}

// Len is the number of bytes left, and zero after an error. A parser compares a count
// from the input with Len before it makes room for that many elements.
func (r *Reader) Len() int { return len(r.b) }

// Err is the first error so far.
func (r *Reader) Err() error {
	if r.err == nil && r.short {
		return ErrShort
	}
	return r.err
}

// Finish ends the reading. It returns the first error, or ErrTrailing if there was none
// and bytes are left.
func (r *Reader) Finish() error {
	if len(r.b) > 0 {
		r.Fail(ErrTrailing)
	}
	return r.Err()
}
