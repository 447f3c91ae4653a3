// Package wire reads the big-endian integers and byte runs that AMQP 0-9-1 and
// the RabbitMQ stream protocol are made of, out of bytes already in memory.
//
// It does no I/O. Everything it reads was written by a peer that may be broken
// or hostile, so no read can leave the input, whatever a length field claims.
package wire

import (
	"encoding/binary"
	"errors"
	"slices"
)

// ErrShort is reported when a read asks for more bytes than are left.
var ErrShort = errors.New("wire: input too short")

// ErrTrailing is reported by Finish when bytes are left over.
var ErrTrailing = errors.New("wire: bytes left over at the end")

// Reader takes values off the front of a byte slice. The first error sticks:
// every later read returns zero, so a parser reads all its fields in a row and
// asks once, with Finish, whether they were there.
//
// It is a small value meant to live on its user's stack, and is not safe for
// concurrent use. Copying one gives an independent reader at the same place.
//
// A read is a bounds check and a load, small enough that the compiler inlines
// it. That is why running out of input sets a flag, and only Err makes an error
// of it: a call there would take the reads over the compiler's budget.
type Reader struct {
	b     []byte
	short bool  // ran out of input, before any Fail
	err   error // what Fail was given first
}

// NewReader returns a Reader over b. The reader aliases b and never writes it.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Fail makes err the reader's error, unless it has one, and ends the input.
// Parsers use it for bytes that are there but wrong.
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

// Bytes takes the next n bytes. They alias the input, and are valid as long as
// it is; their capacity ends with them, so appending to them copies. A negative
// n, or one larger than what is left, is ErrShort, and gives nil.
func (r *Reader) Bytes(n int) []byte {
	if uint(n) > uint(len(r.b)) {
		r.b, r.short = nil, true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

// Rest takes all the bytes left. They alias the input, as those of Bytes do.
func (r *Reader) Rest() []byte {
	v := slices.Clip(r.b)
	r.b = r.b[len(r.b):]
	return v
}

// Len is the number of bytes left; zero after an error. A parser compares a
// count it was given with Len before it allocates for that count.
func (r *Reader) Len() int { return len(r.b) }

// Err is the first error met so far.
func (r *Reader) Err() error {
	if r.err == nil && r.short {
		return ErrShort
	}
	return r.err
}

// Finish ends the reading: it returns the first error met, or ErrTrailing when
// there was none but bytes are left.
func (r *Reader) Finish() error {
	if len(r.b) > 0 {
		r.Fail(ErrTrailing)
	}
	return r.Err()
}
