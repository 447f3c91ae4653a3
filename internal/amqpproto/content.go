package amqpproto

import (
	"encoding/binary"
	"math"
	"slices"
)

// AppendPublish appends a whole message as a publisher sends it: the method
// frame of p, a header frame with props and the body's size, and as many body
// frames as frameMax asks for; an empty body needs none. A nil props is an
// empty one. It allocates nothing unless dst has to grow, and keeps none of its
// arguments.
//
// frameMax is the negotiated one, in bytes with overhead; 0 stands for no limit,
// and gives a body of up to 1 GiB a single frame. The errors are
// *StringTooLongError, *HeaderTooLargeError and those of AppendTable; with any
// of them dst is returned as it was. The total size of the body is the broker's
// to limit, and not looked at here.
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
	// The method's layout is written out here a second time, beside
	// BasicPublish.arguments, because this is where the time of a publish goes.
	// A test holds the two against each other.
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

// AppendContent appends a message under any method that carries one: the
// broker's side of AppendPublish, for basic.deliver, basic.return and
// basic.get-ok. It follows the same rules, but is not as fast.
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

// appendHeaderAndBody appends a header frame and the body frames. What it
// returns with an error is worth nothing.
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
	// A header frame has fitted, so frameMax is at least its 22 bytes and there
	// is room for body in a body frame.
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
