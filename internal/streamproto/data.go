package streamproto

import (
	"encoding/binary"
	"math"
	"slices"
)

// A message that is nothing but a body is one data section (AMQP 1.0 3.2.6): the
// descriptor 0x75 as a small ulong, and a binary with a length of 8 or 32 bits.
//
//	00 53 75 a0 <u8 length> body
//	00 53 75 b0 <u32 length> body
const (
	dataShort = 0x005375a0 // the first four bytes, where the length has 8 bits
	dataLong  = 0x005375b0 // likewise, 32 bits

	dataShortHeader = 5
	dataLongHeader  = 8
)

// Data takes the body out of a message that is exactly one data section, as
// nearly all are. The body aliases message. ok false says that it is something
// else, for ParseMessage to read.
func Data(message []byte) (body []byte, ok bool) {
	if len(message) >= dataShortHeader && binary.BigEndian.Uint32(message) == dataShort &&
		int(message[4]) == len(message)-dataShortHeader {
		return message[dataShortHeader:], true
	}
	return longData(message)
}

// longData is Data for what has a length of 32 bits.
func longData(message []byte) (body []byte, ok bool) {
	if len(message) >= dataLongHeader && binary.BigEndian.Uint32(message) == dataLong &&
		uint64(binary.BigEndian.Uint32(message[4:])) == uint64(len(message)-dataLongHeader) {
		return message[dataLongHeader:], true
	}
	return nil, false
}

// DataSize is how many bytes the message around a body of that size has.
func DataSize(body int) int {
	if body <= math.MaxUint8 {
		return dataShortHeader + body
	}
	return dataLongHeader + body
}

// AppendData appends the message around body. A body has to be smaller than
// 2 GiB, which no frame could carry.
func AppendData(dst, body []byte) []byte {
	if len(body) <= math.MaxUint8 {
		dst = append(dst, 0, 0x53, 0x75, 0xa0, byte(len(body)))
	} else {
		dst = append(dst, 0, 0x53, 0x75, 0xb0)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)))
	}
	return append(dst, body...)
}

// grow returns dst with room for n bytes more. It is written out because the
// usual case, that there is room, has to be inlined.
func grow(dst []byte, n int) []byte {
	if cap(dst)-len(dst) < n {
		return slices.Grow(dst, n)
	}
	return dst
}
