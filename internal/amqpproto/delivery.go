package amqpproto

import (
	"encoding/binary"

	"github.com/thumpmq/thump/internal/wire"
)

// DeliverView is a basic.deliver read in place (AMQP 0-9-1 1.8.3.9). Its slices
// alias the arguments that it was parsed from.
type DeliverView struct {
	ConsumerTag []byte
	DeliveryTag uint64 // counts from 1 on each channel
	Redelivered bool
	Exchange    []byte
	RoutingKey  []byte
}

// ParseDeliver reads the arguments of a basic.deliver, as ParseMethodID returns
// them. It allocates nothing. The errors of ParseDeliver, ParseAck and ParseNack are
// those of package wire, and one for bits that the specification does not define.
func ParseDeliver(arguments []byte) (v DeliverView, err error) {
	// v is the named result, so it is filled in where the caller wants it. Copying
	// it there took longer than all the reading.
	r := wire.NewReader(arguments)
	v.ConsumerTag = readShort(&r)
	v.DeliveryTag = r.U64()
	bits := r.U8()
	v.Redelivered = bits&1 != 0
	v.Exchange = readShort(&r)
	v.RoutingKey = readShort(&r)
	if bits > 1 {
		r.Fail(errSpareBits)
	}
	return v, r.Finish()
}

// ParseAck reads the arguments of a basic.ack (AMQP 0-9-1 1.8.3.13). It
// allocates nothing.
func ParseAck(arguments []byte) (tag uint64, multiple bool, err error) {
	tag, bits, err := parseTagAndBits(arguments, 1)
	return tag, bits&1 != 0, err
}

// ParseNack reads the arguments of a basic.nack, RabbitMQ's extension. It
// allocates nothing.
func ParseNack(arguments []byte) (tag uint64, multiple, requeue bool, err error) {
	tag, bits, err := parseTagAndBits(arguments, 2)
	return tag, bits&1 != 0, bits&2 != 0, err
}

// parseTagAndBits reads a delivery tag and an octet of n bits.
func parseTagAndBits(arguments []byte, n int) (tag uint64, bits uint8, err error) {
	r := wire.NewReader(arguments)
	tag = r.U64()
	bits = r.U8()
	if bits>>n != 0 {
		r.Fail(errSpareBits)
	}
	return tag, bits, r.Finish()
}

// AppendAck appends a basic.ack frame (AMQP 0-9-1 1.8.3.13). With multiple it acks
// every delivery up to and including tag.
func AppendAck(dst []byte, channel uint16, tag uint64, multiple bool) []byte {
	bits := byte(0)
	if multiple {
		bits = 1
	}
	return appendSettle(dst, channel, MethodBasicAck, tag, bits)
}

// AppendNack appends a basic.nack frame (RabbitMQ's extension). With multiple it
// refuses every delivery up to and including tag. With requeue they go back to the
// queue; without it the broker drops or dead-letters them.
func AppendNack(dst []byte, channel uint16, tag uint64, multiple, requeue bool) []byte {
	bits := byte(0)
	if multiple {
		bits |= 1
	}
	if requeue {
		bits |= 2
	}
	return appendSettle(dst, channel, MethodBasicNack, tag, bits)
}

// appendSettle appends a method frame whose arguments are a tag and an octet.
func appendSettle(dst []byte, channel uint16, id MethodID, tag uint64, bits byte) []byte {
	dst = append(dst, FrameMethod, byte(channel>>8), byte(channel), 0, 0, 0, 4+8+1,
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	dst = binary.BigEndian.AppendUint64(dst, tag)
	return append(dst, bits, FrameEnd)
}
