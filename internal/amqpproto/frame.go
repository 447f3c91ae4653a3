package amqpproto

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A frame (AMQP 0-9-1 4.2.3) is a header, a payload and an end octet:
//
//	 0      1         3          7             7+size  8+size
//	+------+---------+----------+-------------+-------+
//	| type | channel |   size   |   payload   | 0xCE  |
//	+------+---------+----------+-------------+-------+
//	 uint8   uint16     uint32    size bytes    uint8
//
// There are four types, each with a payload of its own:
//
//	method (1)        0        2        4
//	                 +--------+--------+---------------+
//	                 | class  | method |   arguments   |
//	                 +--------+--------+---------------+
//	                   uint16   uint16
//
//	header (2)        0        2        4             12       14
//	                 +--------+--------+-------------+--------+--------------+
//	                 | class  |   0    |  body size  | flags  |  properties  |
//	                 +--------+--------+-------------+--------+--------------+
//	                   uint16   uint16     uint64      uint16   one for each
//	                            weight                          flag that is set
//
//	body (3)         +----------------------------------------------+
//	                 |   bytes of the body, at most frame-max - 8   |
//	                 +----------------------------------------------+
//
//	heartbeat (8)    nothing; always on channel 0
//
// A message is a method frame (basic.publish, basic.deliver, basic.get-ok or
// basic.return), a header frame, and as many body frames as the body needs: none
// for an empty body. They follow each other on their channel; frames of other
// channels may come between.

// ProtocolHeader is what a client sends first. A server that does not speak this
// version answers with the header of a version that it does speak, and closes the
// connection (AMQP 0-9-1 4.2.2).
const ProtocolHeader = "AMQP\x00\x00\x09\x01"

// Frame types (AMQP 0-9-1 4.2.3).
const (
	FrameMethod    = 1
	FrameHeader    = 2
	FrameBody      = 3
	FrameHeartbeat = 8
)

// Frame layout and limits (AMQP 0-9-1 4.2.3). All but FrameEnd are in bytes.
const (
	// FrameEnd is the octet after every payload. If it is missing, sender and
	// receiver no longer agree on where frames begin.
	FrameEnd = 0xCE

	// FrameOverhead is what a frame adds to its payload: the header and the end
	// octet.
	FrameOverhead = frameHeaderSize + 1

	// FrameMinSize is the frame size, overhead included, that every peer accepts
	// until connection.tune-ok sets another.
	FrameMinSize = 4096

	frameHeaderSize = 7

	// frameSizeLimit replaces a frame-max of 0, "no limit". The largest message
	// that RabbitMQ can be configured to accept has 512 MiB, so a frame that
	// claims more than this is an attack or garbage. It fits an int everywhere.
	frameSizeLimit = 1 << 30
)

// ErrFrameEnd is ParseFrame's error for a frame whose last octet is not FrameEnd.
var ErrFrameEnd = errors.New("frame does not end with the octet 0xCE")

// FrameTypeError is ParseFrame's error for a frame of an unknown type. Usually it
// means that the peer does not speak AMQP 0-9-1.
type FrameTypeError struct {
	Type uint8 // as received
}

func (e *FrameTypeError) Error() string {
	return fmt.Sprintf("unknown frame type %d", e.Type)
}

// FrameTooLargeError is ParseFrame's error for a frame that claims to be larger than
// its caller accepts.
type FrameTooLargeError struct {
	Size     uint64 // bytes, overhead included
	FrameMax uint32 // bytes, overhead included
}

func (e *FrameTooLargeError) Error() string {
	return fmt.Sprintf("frame of %d bytes is larger than the %d that are accepted", e.Size, e.FrameMax)
}

// Frame is one frame. Its layout is drawn at the head of this file.
type Frame struct {
	Type    uint8
	Channel uint16
	Payload []byte // aliases the bytes given to ParseFrame
}

// ParseFrame reads the frame at the start of b. n is its length on the wire; n zero
// without an error means that b holds only part of a frame.
//
// frameMax is the largest frame to accept, overhead included. 0 is the protocol's
// "no limit"; a frame of more than 1 GiB is refused even then. ParseFrame checks
// type and size as soon as it has the header, so a peer can't make the caller wait
// for, or make room for, a frame that will be refused. The errors are
// *FrameTypeError, *FrameTooLargeError and ErrFrameEnd. After any of them the caller
// must close the connection: nobody knows where the next frame begins.
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

// FrameSize is the size that the frame at the start of b claims, in bytes, overhead
// included: 0 where its header is not there yet.
func FrameSize(b []byte) uint64 {
	if len(b) < frameHeaderSize {
		return 0
	}
	return uint64(binary.BigEndian.Uint32(b[3:])) + FrameOverhead
}

// AppendMethodFrame appends a frame that holds m, and keeps nothing of m. The errors
// are *StringTooLongError and those that Table names.
//
// Only tables and long strings can make the frame larger than the peer's frame-max.
// A caller that sends what a user gave it compares the length.
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

// beginFrame appends a frame's header with a size of zero. endFrame fills the size
// in after the payload.
func beginFrame(dst []byte, frameType uint8, channel uint16) []byte {
	return append(dst, frameType, byte(channel>>8), byte(channel), 0, 0, 0, 0)
}

// endFrame ends the frame that begins at start.
func endFrame(dst []byte, start int) []byte {
	size := len(dst) - start - frameHeaderSize
	binary.BigEndian.PutUint32(dst[start+3:], uint32(size))
	return append(dst, FrameEnd)
}
