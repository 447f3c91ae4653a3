package amqp10

import (
	"errors"
	"fmt"
	"slices"

	"github.com/thumpmq/thump/internal/wire"
)

var (
	errNotSection = errors.New("bytes that are not a section")
	errMixedBody  = errors.New("a body of sections that do not go together: it is data sections, or sequences, or one value")
)

// ParseMessage reads the message b into m, and overwrites all of m. Body aliases b if
// the body is one section, as it nearly always is; everything else is a copy, which
// belongs to the caller. Sections may be in any order. Delivery annotations, the
// footer and unknown sections are left out, and More says so. A message without a body gets an empty one.
// The errors are wire.ErrShort, *ValueCodeError, *DepthError and some without a type;
// after an error m holds what was read so far.
func ParseMessage(b []byte, m *Message) error {
	*m = Message{}
	r := messageReader{decoder: decoder{Reader: wire.NewReader(b), room: len(b)}, all: b, m: m}
	for r.Len() > 0 && r.Err() == nil {
		r.section()
	}
	m.More = m.More || r.changed
	if err := r.Err(); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	return nil
}

// messageReader reads a message, section by section.
type messageReader struct {
	decoder

	all    []byte // the message
	m      *Message
	bodies int // sections of the body so far
	kind   BodyKind
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
			r.body(r.variable(code), BodyData)
		default:
			r.Fail(&ValueCodeError{Code: code})
		}
	case sectionSequence:
		r.encoded(start, BodySequence)
	case sectionValue:
		r.encoded(start, BodyValue)
	default:
		r.m.More = true
		r.skip()
	}
}

// descriptor reads the code of a section, or its name. It returns 0 for an unknown one.
func (d *decoder) descriptor() uint64 {
	if d.U8() != 0x00 {
		d.Fail(errNotSection)
	}
	switch code := d.U8(); code {
	case 0x53:
		return uint64(d.U8())
	case 0x80:
		return d.U64()
	case 0xa3, 0xb3:
		return sectionNamed(d.variable(code))
	default:
		d.skipOf(code)
		return 0
	}
}

// sectionNamed is the code of the section with that name, or 0.
func sectionNamed(name []byte) uint64 {
	switch string(name) {
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
	case "amqp:delivery-annotations:map":
		return sectionDeliveryAnnotations
	case "amqp:footer:map":
		return sectionFooter
	}
	return 0
}

// encoded reads a section that the body keeps as it is on the wire.
func (r *messageReader) encoded(start int, kind BodyKind) {
	if r.skip(); r.Err() == nil {
		end := len(r.all) - r.Len()
		r.body(r.all[start:end:end], kind)
	}
}

// body adds a section to the body.
func (r *messageReader) body(b []byte, kind BodyKind) {
	r.bodies++
	switch {
	case r.Err() != nil:
	case r.bodies == 1:
		r.m.Body, r.m.BodyEncoded, r.kind = b, kind != BodyData, kind
	case !kind.follows(r.kind):
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

// fields reads a section that is a list. It calls read for each field that is not
// null, with the field's number and code.
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
	default: // first-acquirer and delivery-count, which Message leaves out
		r.m.More = true
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
		r.m.More = true
		in.skipOf(code)
	}
}

// typed reads a field that must be a T. It returns nil for another type.
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

// text reads a field that must be a string or a symbol.
func (d *decoder) text(code byte) string {
	switch code {
	case 0xa1, 0xb1, 0xa3, 0xb3:
		return string(d.variable(code))
	}
	d.Fail(&ValueCodeError{Code: code})
	return ""
}

// id reads a message id or correlation id.
func (d *decoder) id(code byte) any {
	switch v := d.valueOf(code, 1).(type) {
	case string, uint64, UUID, []byte:
		return v
	}
	d.Fail(&ValueCodeError{Code: code})
	return nil
}
