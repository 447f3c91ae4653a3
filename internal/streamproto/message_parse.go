package streamproto

import (
	"errors"
	"fmt"
	"slices"

	"github.com/thumpmq/thump/internal/wire"
)

var (
	errNotSection = errors.New("something that is not a section")
	errMixedBody  = errors.New("a body of data and something else")
)

// ParseMessage reads the message that b is into m, whatever m held before. Body
// aliases b where it is one section, as it nearly always is; all else is a copy,
// and the caller's. Delivery annotations, the footer and sections that nobody
// knows are left out. On an error, which begins with "streamproto: message", m
// holds what was read so far: wire.ErrShort, *ValueCodeError, *DepthError, and
// some without a type. Sections may come in any order; a message without a body
// reads as one with an empty body.
func ParseMessage(b []byte, m *Message) error {
	*m = Message{}
	r := messageReader{decoder: decoder{Reader: wire.NewReader(b), room: len(b)}, all: b, m: m}
	for r.Len() > 0 && r.Err() == nil {
		r.section()
	}
	if err := r.Err(); err != nil {
		return fmt.Errorf("streamproto: message: %w", err)
	}
	return nil
}

// messageReader reads a message, section by section.
type messageReader struct {
	decoder

	all    []byte // the message
	m      *Message
	bodies int // body sections so far
}

// section reads one section.
func (r *messageReader) section() {
	start := len(r.all) - r.Len()
	switch r.descriptor() {
	case sectionHeader:
		r.fields(r.header)
	case sectionMessageAnnotations:
		r.m.Annotations = r.mapSection()
	case sectionProperties:
		r.fields(r.properties)
	case sectionApplicationProperties:
		r.m.ApplicationProperties = r.mapSection()
	case sectionData:
		switch code := r.U8(); code {
		case 0xa0, 0xb0:
			r.body(r.variable(code), false)
		default:
			r.Fail(&ValueCodeError{Code: code})
		}
	case sectionSequence, sectionValue:
		if r.skip(); r.Err() == nil {
			end := len(r.all) - r.Len()
			r.body(r.all[start:end:end], true)
		}
	default:
		r.skip()
	}
}

// descriptor reads what says which section it is: a number, or its name. It
// returns 0 for one that nobody knows.
func (r *messageReader) descriptor() uint64 {
	if r.U8() != 0x00 {
		r.Fail(errNotSection)
	}
	switch code := r.U8(); code {
	case 0x53:
		return uint64(r.U8())
	case 0x80:
		return r.U64()
	case 0xa3, 0xb3:
		return sectionNamed(string(r.variable(code)))
	default:
		r.skipOf(code)
		return 0
	}
}

// sectionNamed is the code of the section with that descriptor, or 0.
func sectionNamed(name string) uint64 {
	switch name {
	case "amqp:header:list":
		return sectionHeader
	case "amqp:message-annotations:map":
		return sectionMessageAnnotations
	case "amqp:properties:list":
		return sectionProperties
	case "amqp:application-properties:map":
		return sectionApplicationProperties
	case "amqp:data:binary":
		return sectionData
	case "amqp:amqp-sequence:list":
		return sectionSequence
	case "amqp:amqp-value:*":
		return sectionValue
	}
	return 0
}

// body takes a section of the body. Those of a body in several are joined.
func (r *messageReader) body(b []byte, encoded bool) {
	r.bodies++
	switch {
	case r.Err() != nil:
	case r.bodies == 1:
		r.m.Body, r.m.BodyEncoded = b, encoded
	case r.m.BodyEncoded != encoded:
		r.Fail(errMixedBody)
	case r.bodies == 2:
		r.m.Body = slices.Concat(r.m.Body, b)
	default:
		r.m.Body = append(r.m.Body, b...)
	}
}

// mapSection reads a section that is a map.
func (r *messageReader) mapSection() []Pair {
	switch code := r.U8(); code {
	case 0xc1, 0xd1:
		return r.pairs(code, 1)
	default:
		r.Fail(&ValueCodeError{Code: code})
		return nil
	}
}

// fields reads a section that is a list, giving each field's code to read.
func (r *messageReader) fields(read func(in *decoder, i uint32, code byte)) {
	code := r.U8()
	switch code {
	case 0x45:
		return
	case 0xc0, 0xd0:
	default:
		r.Fail(&ValueCodeError{Code: code})
		return
	}
	in, count := r.compound(code, 1)
	for i := range count {
		if code := in.U8(); code != 0x40 {
			read(&in, i, code)
		}
		if in.Err() != nil {
			break
		}
	}
	r.leave(&in)
}

// header reads a field of the header section.
func (r *messageReader) header(in *decoder, i uint32, code byte) {
	switch i {
	case 0:
		r.m.Durable = typed[bool](in, code)
	case 1:
		r.m.Priority = typed[uint8](in, code)
	case 2:
		r.m.TTL = typed[uint32](in, code)
	default: // first-acquirer and delivery-count: not for a stream's messages
		in.skipOf(code)
	}
}

// properties reads a field of the properties section.
func (r *messageReader) properties(in *decoder, i uint32, code byte) {
	switch i {
	case 0:
		r.m.MessageID = in.id(code)
	case 1:
		if v := typed[[]byte](in, code); v != nil {
			r.m.UserID = *v
		}
	case 2:
		r.m.To = in.text(code)
	case 3:
		r.m.Subject = in.text(code)
	case 4:
		r.m.ReplyTo = in.text(code)
	case 5:
		r.m.CorrelationID = in.id(code)
	case 6:
		r.m.ContentType = in.text(code)
	case 7:
		r.m.ContentEncoding = in.text(code)
	case 8:
		r.m.ExpiryTime = in.timestamp(code)
	case 9:
		r.m.CreationTime = in.timestamp(code)
	case 10:
		r.m.GroupID = in.text(code)
	case 11:
		r.m.GroupSequence = typed[uint32](in, code)
	case 12:
		r.m.ReplyToGroupID = in.text(code)
	default:
		in.skipOf(code)
	}
}

// typed reads a field that has to be of that type; nil says that it is not.
func typed[T bool | uint8 | uint32 | []byte | Timestamp](in *decoder, code byte) *T {
	v, ok := in.valueOf(code, 1).(T)
	if !ok {
		in.Fail(&ValueCodeError{Code: code})
		return nil
	}
	return &v
}

func (d *decoder) timestamp(code byte) *int64 {
	return (*int64)(typed[Timestamp](d, code))
}

// text reads a field that has to be a string or a symbol.
func (d *decoder) text(code byte) string {
	switch code {
	case 0xa1, 0xb1, 0xa3, 0xb3:
		return string(d.variable(code))
	}
	d.Fail(&ValueCodeError{Code: code})
	return ""
}

// id reads a message id.
func (d *decoder) id(code byte) any {
	switch v := d.valueOf(code, 1).(type) {
	case string, uint64, UUID, []byte:
		return v
	}
	d.Fail(&ValueCodeError{Code: code})
	return nil
}
