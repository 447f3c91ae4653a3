package amqpproto

import (
	"math"
	"time"

	"github.com/thumpmq/thump/internal/wire"
)

// readTable reads a length and then a table, and returns a copy; an empty table is
// nil. depth is the table's own level.
//
// It checks each length against the bytes that are there before it uses it, and
// counts the fields before it makes room for them. So a table costs at most about 16
// bytes of memory per byte of input.
func readTable(r *wire.Reader, depth int) Table {
	in, ok := openLong(r, depth)
	if !ok {
		return nil
	}
	n, err := countFields(in, true)
	if err != nil {
		r.Fail(err)
		return nil
	}
	if n == 0 {
		return nil
	}
	t := make(Table, n)
	for i := range t {
		t[i].Key = string(in.Bytes(int(in.U8())))
		t[i].Value = readValue(&in, in.U8(), depth)
		if in.Err() != nil {
			break
		}
	}
	if err := in.Finish(); err != nil {
		r.Fail(err)
		return nil
	}
	return t
}

// readArray reads a length and then an array. depth is the array's own level.
func readArray(r *wire.Reader, depth int) []any {
	in, ok := openLong(r, depth)
	if !ok {
		return nil
	}
	n, err := countFields(in, false)
	if err != nil {
		r.Fail(err)
		return nil
	}
	a := make([]any, n)
	for i := range a {
		a[i] = readValue(&in, in.U8(), depth)
		if in.Err() != nil {
			break
		}
	}
	if err := in.Finish(); err != nil {
		r.Fail(err)
		return nil
	}
	return a
}

// openLong reads a length and returns a reader of that many bytes, so that a table
// inside another can't read past its own end.
func openLong(r *wire.Reader, depth int) (in wire.Reader, ok bool) {
	if depth > tableDepthMax {
		r.Fail(&DepthError{})
		return in, false
	}
	in = wire.NewReader(readLong(r))
	return in, r.Err() == nil
}

// readLong reads a long string: a length of 32 bits and that many bytes. They alias
// the input.
func readLong(r *wire.Reader) []byte {
	n := r.U32()
	if uint64(n) > uint64(r.Len()) {
		// Compared first, because on a 32-bit system int(n) could be negative.
		r.Fail(wire.ErrShort)
		return nil
	}
	return r.Bytes(int(n))
}

// countFields counts the values of a table, or, without keys, of an array. It skips
// nested ones by their length, so reading a table of any depth looks at each byte at
// most twice.
func countFields(r wire.Reader, keys bool) (int, error) {
	n := 0
	for r.Len() > 0 {
		if keys {
			r.Bytes(int(r.U8()))
		}
		letter := r.U8()
		switch letter {
		case 'S', 'x', 'A', 'F':
			readLong(&r)
		case 'V':
		default:
			size := fixedSize(letter)
			if size == 0 && r.Err() == nil {
				return 0, &FieldTypeError{Letter: letter}
			}
			r.Bytes(size)
		}
		n++
	}
	return n, r.Err()
}

// fixedSize is the size in bytes of the values with that letter. It is 0 for a
// letter whose values differ in size, and for an unknown one.
func fixedSize(letter byte) int {
	switch letter {
	case 't', 'b', 'B':
		return 1
	case 's', 'u':
		return 2
	case 'I', 'i', 'f':
		return 4
	case 'D':
		return 5
	case 'l', 'L', 'd', 'T':
		return 8
	default:
		return 0
	}
}

// readValue reads the value after its letter. depth is the level of the table or
// array that it is in.
func readValue(r *wire.Reader, letter byte, depth int) any {
	switch letter {
	case 't':
		return r.U8() != 0
	case 'b':
		return int8(r.U8())
	case 'B':
		return r.U8()
	case 's':
		return int16(r.U16())
	case 'u':
		return r.U16()
	case 'I':
		return int32(r.U32())
	case 'i':
		return r.U32()
	case 'l', 'L':
		return int64(r.U64())
	case 'f':
		return math.Float32frombits(r.U32())
	case 'd':
		return math.Float64frombits(r.U64())
	case 'D':
		return Decimal{Scale: r.U8(), Value: int32(r.U32())}
	case 'T':
		return unixTime(r.U64())
	case 'S':
		return string(readLong(r))
	case 'x':
		return append([]byte{}, readLong(r)...)
	case 'A':
		return readArray(r, depth+1)
	case 'F':
		return readTable(r, depth+1)
	case 'V':
		return nil
	default:
		r.Fail(&FieldTypeError{Letter: letter})
		return nil
	}
}

// unixTime is the UTC time that many seconds after 1970. The number is unsigned, but
// some clients write earlier times as negative ones; the conversion to int64 turns
// those back.
func unixTime(seconds uint64) time.Time { return time.Unix(int64(seconds), 0).UTC() }
