package streamproto

import (
	"encoding/binary"
)

// Frame layout and limits, in bytes.
const (
	// FrameHeaderSize is the size field, key and version: what every frame
	// begins with, and all there is to a heartbeat.
	FrameHeaderSize = 8

	sizeFieldSize   = 4
	correlationSize = 4
	responseBit     = 0x8000

	// frameSizeLimit stands in for a limit of 0, "no limit". RabbitMQ's own
	// frames end at 1 MiB and its chunks at a few, so a larger claim is an
	// attack or garbage, and it fits an int everywhere.
	frameSizeLimit = 1 << 30
)

// Limits is how large a frame may be, in bytes and without the size field, as
// the protocol counts it. A limit of 0 stands for the protocol's "no limit", and
// still refuses a frame of more than 1 GiB.
type Limits struct {
	Frame   uint32 // as agreed in Tune
	Deliver uint32 // of KeyDeliver alone: RabbitMQ sends chunks of several MiB whatever was agreed
}

// Frame is one frame (PROTOCOL.adoc, Frame Structure):
//
//	 0        4       6         8                 4+size
//	+--------+-------+---------+------------------+
//	|  size  |  key  | version |       body       |
//	+--------+-------+---------+------------------+
//	 uint32   uint16  uint16
//
// The highest bit of the key is set in a response. The body of a request or a
// response begins with a correlation id of 32 bits, except for those commands
// that have an answer without one, or none.
type Frame struct {
	Key      Key
	Response bool // as the bit says; a client asks IsResponse
	Version  uint16
	Body     []byte // aliases the bytes given to ParseFrame
}

// IsResponse says whether a client that has received f is to look among its
// requests. That is f.Response, but for Route and Partitions, which RabbitMQ 3.10
// answers without the bit; no server asks them.
func (f *Frame) IsResponse() bool {
	return f.Response || f.Key == KeyRoute || f.Key == KeyPartitions
}

// ParseFrame takes the first frame off b. n is its whole length on the wire, and
// 0 while even that is not known. The frame is there when n > 0 && n <= len(b);
// otherwise f is zero, and b has to grow to n (or to FrameHeaderSize, for n 0).
//
// The size is checked as soon as size, key and version are there, so a peer
// can't make the caller wait for, or make room for, a frame it would refuse. A
// key or version that nobody knows is not an error here. The errors are
// *FrameTooLargeError and ErrFrameSize; after either the connection is lost,
// since nobody can say where the next frame begins.
func ParseFrame(b []byte, limits Limits) (f Frame, n int, err error) {
	if len(b) < FrameHeaderSize {
		if len(b) >= sizeFieldSize && binary.BigEndian.Uint32(b) < FrameHeaderSize-sizeFieldSize {
			return Frame{}, 0, ErrFrameSize
		}
		return Frame{}, 0, nil
	}
	size := binary.BigEndian.Uint32(b)
	key := binary.BigEndian.Uint16(b[4:])
	limit := limits.Frame
	if Key(key) == KeyDeliver { // without the response bit
		limit = limits.Deliver
	}
	if limit == 0 || limit > frameSizeLimit {
		limit = frameSizeLimit
	}
	if size < FrameHeaderSize-sizeFieldSize {
		return Frame{}, 0, ErrFrameSize
	}
	if size > limit {
		return Frame{}, 0, &FrameTooLargeError{Key: Key(key &^ responseBit), Size: size, Limit: limit}
	}
	n = int(size) + sizeFieldSize
	if n > len(b) {
		return Frame{}, n, nil
	}
	f.Key = Key(key &^ responseBit)
	f.Response = key&responseBit != 0
	f.Version = binary.BigEndian.Uint16(b[6:])
	f.Body = b[FrameHeaderSize:n:n]
	return f, n, nil
}

// AppendHeartbeat appends a heartbeat frame (PROTOCOL.adoc, Heartbeat).
func AppendHeartbeat(dst []byte) []byte {
	return append(dst, 0, 0, 0, 4, 0, byte(KeyHeartbeat), 0, 1)
}

// beginFrame appends a frame's header with a size of zero, for endFrame to patch
// once the body is there. key has the response bit, where it belongs.
func beginFrame(dst []byte, key, version uint16) []byte {
	return append(dst, 0, 0, 0, 0, byte(key>>8), byte(key), byte(version>>8), byte(version))
}

// endFrame patches the size of the frame that was begun at start, and ends where
// dst ends. Who appends strings without a bound compares the length with the
// frame size that was agreed, far below 4 GiB.
func endFrame(dst []byte, start int) []byte {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-sizeFieldSize))
	return dst
}

// expect fails unless f is a request or command (or, with response, a response)
// of that key and version 1, the only one that most commands have.
func expect(f *Frame, key Key, response bool) error {
	if f.Key != key || f.Response != response || f.Version != 1 {
		return unexpected(f)
	}
	return nil
}
