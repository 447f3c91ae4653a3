package amqp10

import (
	"errors"
	"fmt"
	"math"

	"github.com/thumpmq/thump/internal/wire"
)

var (
	errOddMap     = errors.New("a map with a key that has no value")
	errArrayCount = errors.New("an array of more elements than the message has bytes")
)

// firstRoom is for how many elements a list or map gets room at first. Making room for
// as many as the count says would be unsafe: each list in a list in a list could claim
// all bytes for itself.
const firstRoom = 4

// ValueCodeError is the error for a value whose code does not exist, or is not allowed
// in that place.
type ValueCodeError struct {
	Code byte
}

func (e *ValueCodeError) Error() string {
	return fmt.Sprintf("a value of type %#02x is not allowed here", e.Code)
}

// decoder reads values (1.6). The elements of a list or map get a decoder of their
// own, which ends with them.
type decoder struct {
	wire.Reader

	// room is how many more array elements may have no bytes of their own: an
	// array of 2^32 times true takes ten bytes. It begins as the length of the
	// message.
	room int

	// changed says that something became another type, because Go has none for it, or was
	// left out, because its key is no string.
	changed bool
}

// value reads a value. depth is how many lists and maps it is in.
func (d *decoder) value(depth int) any { return d.valueOf(d.U8(), depth) }

// valueOf reads the value after its code.
func (d *decoder) valueOf(code byte, depth int) any {
	switch code {
	case 0x00:
		if depth >= valueDepthMax {
			d.Fail(&DepthError{})
			return nil
		}
		d.changed = true
		d.skip()
		return d.value(depth + 1)
	case 0x45, 0xc0, 0xd0:
		return d.list(code, depth+1)
	case 0xc1, 0xd1:
		return d.pairs(code, depth+1)
	case 0xe0, 0xf0:
		d.changed = true
		return d.array(code, depth+1)
	case 0x98:
		var v UUID
		copy(v[:], d.Bytes(len(v)))
		return v
	case 0x84:
		d.changed = true
		return append([]byte{}, d.Bytes(8)...)
	case 0x94:
		d.changed = true
		return append([]byte{}, d.Bytes(16)...)
	case 0xa0, 0xb0:
		return append([]byte{}, d.variable(code)...)
	case 0xa1, 0xb1:
		return string(d.variable(code))
	case 0xa3, 0xb3:
		return Symbol(d.variable(code))
	}
	return d.scalar(code)
}

// scalar reads a value of at most 8 bytes.
func (d *decoder) scalar(code byte) any {
	switch code {
	case 0x40:
		return nil
	case 0x41:
		return true
	case 0x42:
		return false
	case 0x43:
		return uint32(0)
	case 0x44:
		return uint64(0)
	case 0x50:
		return d.U8()
	case 0x51:
		return int8(d.U8())
	case 0x52:
		return uint32(d.U8())
	case 0x53:
		return uint64(d.U8())
	case 0x54:
		return int32(int8(d.U8()))
	case 0x55:
		return int64(int8(d.U8()))
	case 0x56:
		return d.U8() != 0
	case 0x60:
		return d.U16()
	case 0x61:
		return int16(d.U16())
	case 0x70:
		return d.U32()
	case 0x71:
		return int32(d.U32())
	case 0x72:
		return math.Float32frombits(d.U32())
	case 0x73:
		d.changed = true
		return string(rune(d.U32()))
	case 0x74:
		d.changed = true
		return append([]byte{}, d.Bytes(4)...)
	case 0x80:
		return d.U64()
	case 0x81:
		return int64(d.U64())
	case 0x82:
		return math.Float64frombits(d.U64())
	case 0x83:
		return Timestamp(d.U64())
	}
	d.Fail(&ValueCodeError{Code: code})
	return nil
}

// variable reads a length, of 8 or 32 bits as the code says, and that many bytes. They
// alias the input.
func (d *decoder) variable(code byte) []byte {
	n := uint32(0)
	if code&0x10 == 0 {
		n = uint32(d.U8())
	} else {
		n = d.U32()
	}
	if uint64(n) > uint64(d.Len()) {
		d.Fail(wire.ErrShort)
		return nil
	}
	return d.Bytes(int(n))
}

// compound reads size and count of a list, map or array, and returns a decoder of its
// elements. Only an array's count can be larger than the number of their bytes (see
// room).
func (d *decoder) compound(code byte, depth int) (in decoder, count uint32) {
	if depth > valueDepthMax {
		d.Fail(&DepthError{})
		return in, 0
	}
	in = decoder{Reader: wire.NewReader(d.variable(code)), room: d.room}
	if code&0x10 == 0 {
		count = uint32(in.U8())
	} else {
		count = in.U32()
	}
	if array := code&0xe0 == 0xe0; !array && uint64(count) > uint64(in.Len()) {
		in.Fail(wire.ErrShort)
	}
	if err := in.Err(); err != nil {
		d.Fail(err)
		return in, 0
	}
	return in, count
}

// leave ends the reading of a list, map or array that compound began.
func (d *decoder) leave(in *decoder) {
	d.room = in.room
	d.changed = d.changed || in.changed
	if err := in.Finish(); err != nil {
		d.Fail(err)
	}
}

// list reads a list. depth is the list's own level.
func (d *decoder) list(code byte, depth int) List {
	if code == 0x45 {
		return nil
	}
	in, count := d.compound(code, depth)
	if count == 0 {
		d.leave(&in)
		return nil
	}
	list := make(List, 0, min(count, firstRoom))
	for range count {
		v := in.value(depth)
		if in.Err() != nil {
			break
		}
		list = append(list, v)
	}
	d.leave(&in)
	return list
}

// pairs reads a map. depth is the map's own level.
func (d *decoder) pairs(code byte, depth int) Map {
	in, count := d.compound(code, depth)
	if count%2 != 0 {
		in.Fail(errOddMap)
	}
	if count == 0 || in.Err() != nil {
		d.leave(&in)
		return nil
	}
	m := make(Map, 0, min(count/2, firstRoom))
	for range count / 2 {
		key, hasKey := "", true
		switch code := in.U8(); code {
		case 0xa1, 0xb1, 0xa3, 0xb3:
			key = string(in.variable(code))
		default:
			in.skipOf(code)
			in.changed, hasKey = true, false
		}
		v := in.value(depth)
		if in.Err() != nil {
			break
		}
		if hasKey {
			m = append(m, Pair{key, v})
		}
	}
	d.leave(&in)
	return m
}

// array reads an array, whose elements share one code. depth is the array's own level.
func (d *decoder) array(code byte, depth int) List {
	in, count := d.compound(code, depth)
	if d.Err() != nil {
		return nil
	}
	element := in.U8()
	for element == 0x00 && in.Err() == nil {
		in.skip()
		element = in.U8()
	}
	limit := in.Len()
	if element>>4 == 0x4 {
		limit = in.room
	}
	if uint64(count) > uint64(limit) {
		in.Fail(errArrayCount)
	}
	if count == 0 || in.Err() != nil {
		d.leave(&in)
		return nil
	}
	if element>>4 == 0x4 {
		in.room -= int(count)
	}
	list := make(List, 0, min(count, firstRoom))
	for range count {
		v := in.valueOf(element, depth)
		if in.Err() != nil {
			break
		}
		list = append(list, v)
	}
	d.leave(&in)
	return list
}

// skip skips a value of any type.
func (d *decoder) skip() { d.skipOf(d.U8()) }

// skipOf skips the value after its code. A described value is a zero and two values,
// the first of which may be described too. skipOf counts them: if it called itself
// instead, a message could choose how deep.
func (d *decoder) skipOf(code byte) {
	for left := 1; d.Err() == nil; code = d.U8() {
		if code == 0x00 {
			left++
			continue
		}
		switch code >> 4 {
		case 0x4:
		case 0x5:
			d.Bytes(1)
		case 0x6:
			d.Bytes(2)
		case 0x7:
			d.Bytes(4)
		case 0x8:
			d.Bytes(8)
		case 0x9:
			d.Bytes(16)
		case 0xa, 0xb, 0xc, 0xd, 0xe, 0xf:
			d.variable(code)
		default:
			d.Fail(&ValueCodeError{Code: code})
		}
		if left--; left == 0 {
			return
		}
	}
}
