package amqp10

import (
	"encoding/binary"
	"math"
)

// A message that has nothing but a body is one data section (3.2.6): the descriptor
// 0x75 as a small ulong, and a binary whose length has 8 or 32 bits.
//
//	+-------------+---------------+--------+
//	| 00 53 75 a0 | uint8 length  |  body  |
//	+-------------+---------------+--------+
//
//	+-------------+---------------+--------+
//	| 00 53 75 b0 | uint32 length |  body  |
//	+-------------+---------------+--------+
const (
	// ShortData is the first four bytes, if the length has 8 bits, and ShortDataHeader how
	// many there are before the body.
	ShortData       = 0x005375a0
	ShortDataHeader = 5

	dataLong       = 0x005375b0 // the same, if it has 32 bits
	dataLongHeader = 8
)

// Data returns the body of a message that is exactly one data section, as nearly all
// are. The body aliases message. If ok is false the message is something else, which
// ParseMessage reads.
func Data(message []byte) (body []byte, ok bool) {
	if len(message) >= ShortDataHeader && binary.BigEndian.Uint32(message) == ShortData &&
		int(message[4]) == len(message)-ShortDataHeader {
		return message[ShortDataHeader:], true
	}
	return longData(message)
}

// longData is Data for a length of 32 bits.
func longData(message []byte) (body []byte, ok bool) {
	if len(message) >= dataLongHeader && binary.BigEndian.Uint32(message) == dataLong &&
		uint64(binary.BigEndian.Uint32(message[4:])) == uint64(len(message)-dataLongHeader) {
		return message[dataLongHeader:], true
	}
	return nil, false
}

// DataHeader returns what a data section has before a body of that many bytes: the
// first n bytes of header, the highest first. It is for callers that write header and
// body themselves, because that is faster; others call AppendData. A body must be
// smaller than 2 GiB; no frame could carry a larger one.
func DataHeader(body int) (header uint64, n int) {
	if body <= math.MaxUint8 {
		return ShortData<<32 | uint64(body)<<24, ShortDataHeader
	}
	return dataLong<<32 | uint64(body), dataLongHeader
}

// DataSize is the size in bytes of the message around a body of that many bytes.
func DataSize(body int) int {
	_, n := DataHeader(body)
	return n + body
}

// AppendData appends the message around body. It allocates only to grow dst.
func AppendData(dst, body []byte) []byte {
	header, n := DataHeader(len(body))
	dst = binary.BigEndian.AppendUint64(dst, header)
	return append(dst[:len(dst)-8+n], body...)
}
