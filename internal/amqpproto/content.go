package amqpproto

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// AppendPublish appends a message as a publisher sends it: the method frame of p, a
// header frame with props and the body's size, and as many body frames as frameMax
// requires. A nil props means no properties. It allocates only to grow dst, and
// keeps none of its arguments.
//
// frameMax is the negotiated one, in bytes, overhead included. 0 means no limit: a
// body of up to 1 GiB then gets a single frame. The errors are *StringTooLongError,
// *HeaderTooLargeError and those that Table names; after an error dst is unchanged.
// Only the broker limits the size of the body.
func AppendPublish(dst []byte, channel uint16, frameMax uint32, p *BasicPublish, props *Properties, body []byte) ([]byte, error) {
	if len(p.Exchange) > math.MaxUint8 {
		return dst, &StringTooLongError{Field: "exchange", Length: len(p.Exchange)}
	}
	if len(p.RoutingKey) > math.MaxUint8 {
		return dst, &StringTooLongError{Field: "routing-key", Length: len(p.RoutingKey)}
	}
	bits := byte(0)
	if p.Mandatory {
		bits |= 1
	}
	if p.Immediate {
		bits |= 2
	}
	// This repeats the layout in BasicPublish.arguments, because a publish spends
	// its time here. A test compares the two.
	size := 4 + 2 + 1 + len(p.Exchange) + 1 + len(p.RoutingKey) + 1 // below 2^16
	b := append(dst, FrameMethod, byte(channel>>8), byte(channel), 0, 0, byte(size>>8), byte(size),
		0, ClassBasic, 0, byte(MethodBasicPublish&0xFF),
		byte(p.reserved1>>8), byte(p.reserved1), byte(len(p.Exchange)))
	b = append(b, p.Exchange...)
	b = append(b, byte(len(p.RoutingKey)))
	b = append(b, p.RoutingKey...)
	b = append(b, bits, FrameEnd)
	b, err := appendHeaderAndBody(b, channel, frameMax, props, body)
	if err != nil {
		return dst, err
	}
	return b, nil
}

// Published is a message as AppendPublish has appended it.
type Published struct {
	BasicPublish
	Properties Properties
	Body       []byte
}

// ParsePublish reads the frames of one message that AppendPublish has appended, whatever
// the channel and the frame limit were. The strings and properties are copies; the body
// aliases b where it was one frame. The errors are those of the parsers of its parts, and
// one for frames that are not of one message.
func ParsePublish(b []byte) (p Published, err error) {
	f, b, err := nextFrame(b, FrameMethod)
	if err != nil {
		return p, err
	}
	m, err := ParseMethod(f.Payload)
	if err != nil {
		return p, err
	}
	publish, ok := m.(*BasicPublish)
	if !ok {
		return p, errNotPublish
	}
	p.BasicPublish = *publish
	if f, b, err = nextFrame(b, FrameHeader); err != nil {
		return p, err
	}
	h, err := ParseContentHeader(f.Payload)
	if err != nil {
		return p, err
	}
	if p.Properties, err = ParseProperties(h.Properties); err != nil {
		return p, err
	}
	for frames := 0; len(b) > 0; frames++ {
		if f, b, err = nextFrame(b, FrameBody); err != nil {
			return p, err
		}
		if frames == 0 {
			p.Body = f.Payload // of that capacity, so that an append copies
		} else {
			p.Body = append(p.Body, f.Payload...)
		}
	}
	if uint64(len(p.Body)) != h.BodySize {
		return p, errNotPublish
	}
	return p, nil
}

// errNotPublish is of frames that AppendPublish did not append.
var errNotPublish = errors.New("not the frames of one published message")

// nextFrame reads a frame of that type, and returns what follows it.
func nextFrame(b []byte, frameType uint8) (f Frame, rest []byte, err error) {
	f, n, err := ParseFrame(b, 0)
	switch {
	case err != nil:
		return f, nil, err
	case n == 0 || f.Type != frameType:
		return f, nil, errNotPublish
	}
	return f, b[n:], nil
}

// AppendContent appends a message whose method is m. It is what a broker does for
// basic.deliver, basic.return and basic.get-ok. The rules are those of
// AppendPublish, but it is not as fast.
func AppendContent(dst []byte, channel uint16, frameMax uint32, m Method, props *Properties, body []byte) ([]byte, error) {
	b, err := AppendMethodFrame(dst, channel, m)
	if err != nil {
		return dst, err
	}
	if b, err = appendHeaderAndBody(b, channel, frameMax, props, body); err != nil {
		return dst, err
	}
	return b, nil
}

// appendHeaderAndBody appends a header frame and the body frames. After an error
// what it returns is useless.
func appendHeaderAndBody(b []byte, channel uint16, frameMax uint32, props *Properties, body []byte) ([]byte, error) {
	if frameMax == 0 || frameMax > frameSizeLimit {
		frameMax = frameSizeLimit
	}
	start := len(b)
	b = append(b, FrameHeader, byte(channel>>8), byte(channel), 0, 0, 0, headerPayloadMin,
		0, ClassBasic, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(len(body)))
	if props == nil {
		b = append(b, 0, 0, FrameEnd)
	} else {
		var err error
		if b, err = AppendProperties(b, props); err != nil {
			return b, err
		}
		b = endFrame(b, start)
	}
	if size := len(b) - start; uint64(size) > uint64(frameMax) {
		return b, &HeaderTooLargeError{Size: size, FrameMax: frameMax}
	}
	// The header frame fits, so frameMax is at least its 22 bytes, and a body frame
	// has room for some of the body.
	piece := int(frameMax) - FrameOverhead
	if len(body) > piece {
		frames := (len(body) + piece - 1) / piece
		b = slices.Grow(b, len(body)+frames*FrameOverhead)
	}
	for len(body) > 0 {
		n := min(len(body), piece)
		b = append(b, FrameBody, byte(channel>>8), byte(channel),
			byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		b = append(b, body[:n]...)
		b = append(b, FrameEnd)
		body = body[n:]
	}
	return b, nil
}
