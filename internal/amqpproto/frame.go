package amqpproto

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ProtocolHeader is what a client sends before anything else. A server that
// does not speak this version answers with the header of one it does, and
// closes (AMQP 0-9-1 4.2.2).
const ProtocolHeader = "AMQP\x00\x00\x09\x01"

// Frame types (AMQP 0-9-1 4.2.3).
const (
	FrameMethod    = 1 // a method: class, method, arguments
	FrameHeader    = 2 // a content header: class, body size, properties
	FrameBody      = 3 // part of a message's body
	FrameHeartbeat = 8 // nothing; always on channel 0
)

// Frame layout and limits (AMQP 0-9-1 4.2.3), in bytes but for FrameEnd.
const (
	// FrameEnd is the octet after every payload. Where it is missing, sender
	// and receiver no longer agree on where frames begin.
	FrameEnd = 0xCE

	// FrameOverhead is what a frame adds to its payload: seven bytes of
	// header and the end octet.
	FrameOverhead = frameHeaderSize + 1

	// FrameMinSize is the frame size, overhead included, that every peer
	// takes before connection.tune has settled another.
	FrameMinSize = 4096

	frameHeaderSize = 7

	// frameSizeLimit stands in for a frame-max of 0, "no limit". It is above
	// the largest message any RabbitMQ can be set to take (512 MiB), so a
	// larger claim is an attack or garbage, and it fits an int everywhere.
	frameSizeLimit = 1 << 30
)

// ErrFrameEnd is returned by ParseFrame for a frame whose last octet is not
// FrameEnd.
var ErrFrameEnd = errors.New("amqpproto: frame does not end with the octet 0xCE")

// FrameTypeError is returned by ParseFrame for a frame of a type the protocol
// does not have: usually, the peer does not speak AMQP 0-9-1.
type FrameTypeError struct {
	Type uint8 // as received
}

// Error says which type it was.
func (e *FrameTypeError) Error() string {
	return fmt.Sprintf("amqpproto: unknown frame type %d", e.Type)
}

// FrameTooLargeError is returned by ParseFrame for a frame that claims to be
// larger than the two sides agreed to.
type FrameTooLargeError struct {
	Size     uint64 // bytes, overhead included
	FrameMax uint32 // bytes, overhead included
}

// Error says how large, and what was allowed.
func (e *FrameTooLargeError) Error() string {
	return fmt.Sprintf("amqpproto: frame of %d bytes is larger than frame-max %d", e.Size, e.FrameMax)
}

// Frame is one frame (AMQP 0-9-1 4.2.3):
//
//	 0      1         3             7                  7+size  8+size
//	+------+---------+-------------+------------------+-------+
//	| type | channel |    size     |     payload      | 0xCE  |
//	+------+---------+-------------+------------------+-------+
//	 uint8   uint16      uint32         size bytes      uint8
//
// A message on its way is a method frame (basic.publish, basic.deliver,
// basic.get-ok or basic.return), a header frame, and as many body frames as the
// body needs; none for an empty body. They follow each other on their channel;
// frames of other channels may come between.
type Frame struct {
	Type    uint8
	Channel uint16
	Payload []byte // aliases the bytes given to ParseFrame
}

// ParseFrame takes the first frame off b. n is its length on the wire; n zero
// without an error says that b holds only part of a frame.
//
// frameMax is the largest frame to accept, overhead included; 0 stands for the
// protocol's "no limit", and still refuses a frame of more than 1 GiB. Type and
// size are checked as soon as the seven bytes of header are there, so a peer
// can't make the caller wait for, or make room for, a frame it would refuse.
// The errors are *FrameTypeError, *FrameTooLargeError and ErrFrameEnd; after
// any of them the stream is lost, and the connection has to be closed.
func ParseFrame(b []byte, frameMax uint32) (f Frame, n int, err error) {
	if len(b) < frameHeaderSize {
		return Frame{}, 0, nil
	}
	switch b[0] {
	case FrameMethod, FrameHeader, FrameBody, FrameHeartbeat:
	default:
		return Frame{}, 0, &FrameTypeError{Type: b[0]}
	}
	if frameMax == 0 || frameMax > frameSizeLimit {
		frameMax = frameSizeLimit
	}
	size := uint64(binary.BigEndian.Uint32(b[3:])) + FrameOverhead
	if size > uint64(frameMax) {
		return Frame{}, 0, &FrameTooLargeError{Size: size, FrameMax: frameMax}
	}
	if uint64(len(b)) < size {
		return Frame{}, 0, nil
	}
	n = int(size) // fits: it is at most len(b)
	if b[n-1] != FrameEnd {
		return Frame{}, 0, ErrFrameEnd
	}
	f = Frame{
		Type:    b[0],
		Channel: binary.BigEndian.Uint16(b[1:]),
		Payload: b[frameHeaderSize : n-1 : n-1],
	}
	return f, n, nil
}

// AppendMethodFrame appends a frame with m in it, and keeps nothing of m. On an
// error (a *StringTooLongError, or one of AppendTable's) it returns dst as it
// was.
//
// The frame can be larger than the peer's frame-max only by its tables and long
// strings; the caller compares the length when it sends what a user gave it.
func AppendMethodFrame(dst []byte, channel uint16, m Method) ([]byte, error) {
	w := writer{b: beginFrame(dst, FrameMethod, channel)}
	w.b = binary.BigEndian.AppendUint32(w.b, uint32(m.ID()))
	m.arguments(&w)
	if w.err != nil {
		return dst, w.err
	}
	return endFrame(w.b, len(dst)), nil
}

// AppendHeartbeat appends a heartbeat frame (AMQP 0-9-1 4.2.7).
func AppendHeartbeat(dst []byte) []byte {
	return append(dst, FrameHeartbeat, 0, 0, 0, 0, 0, 0, FrameEnd)
}

// beginFrame appends a frame's header with a size of zero, for endFrame to
// patch once the payload is there.
func beginFrame(dst []byte, frameType uint8, channel uint16) []byte {
	return append(dst, frameType, byte(channel>>8), byte(channel), 0, 0, 0, 0)
}

// endFrame ends the frame that was begun at start.
func endFrame(dst []byte, start int) []byte {
	size := len(dst) - start - frameHeaderSize
	binary.BigEndian.PutUint32(dst[start+3:], uint32(size))
	return append(dst, FrameEnd)
}
