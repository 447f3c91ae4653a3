package amqp10

import (
	"errors"
	"fmt"
	"slices"

	"github.com/thumpmq/thump/internal/wire"
)

var errNoSections = errors.New("no section of a message")

// BodyKind is what the body of a message consists of (3.2).
type BodyKind uint8

// The kinds of bodies.
const (
	BodyData     BodyKind = iota // data sections, or nothing: a run of bytes
	BodyString                   // a value that is a string
	BodyBinary                   // a value that is a binary
	BodyValue                    // a value of another type
	BodySequence                 // sequences of values
)

// Outline is a message of which only the body was read.
type Outline struct {
	// Body is the bytes of data sections, of a string or of a binary. For the other
	// kinds it is the sections of the body as on the wire.
	Body []byte
	Kind BodyKind

	annotations []byte // the map, as on the wire; nil where there is none
}

// ParseOutline reads the body of the message b, and skips everything else: that may
// be malformed inside, as long as its sizes are right. Body aliases b if the body is
// one section, as it nearly always is; ParseOutline allocates only otherwise. A
// message without a body has an empty one, but bytes without any section that is known
// are no message. The errors are wire.ErrShort, *ValueCodeError and some without a type.
func ParseOutline(b []byte) (Outline, error) {
	r := outlineReader{decoder: decoder{Reader: wire.NewReader(b)}, all: b}
	for r.Len() > 0 && r.Err() == nil {
		r.section()
	}
	if r.Err() == nil && !r.known && len(b) > 0 {
		r.Fail(errNoSections)
	}
	if err := r.Err(); err != nil {
		return Outline{}, fmt.Errorf("amqp10: message: %w", err)
	}
	return r.o, nil
}

// ParseBody is ParseOutline for the sections of a body alone, which is what RabbitMQ
// makes the body of an AMQP 0-9-1 message of, if they are not data. It fails for
// other sections, and for none.
func ParseBody(b []byte) (Outline, error) {
	first := decoder{Reader: wire.NewReader(b)}
	switch first.descriptor() {
	case sectionValue, sectionSequence:
		return ParseOutline(b)
	default:
		return Outline{}, fmt.Errorf("amqp10: body: %w", errNotSection)
	}
}

// CheckBody is ParseBody that reads the values all through, as a broker does that converts
// a message, and allows nothing after them.
func CheckBody(b []byte) error {
	d := decoder{Reader: wire.NewReader(b)}
	for section := uint64(0); d.Len() > 0 && d.Err() == nil; {
		before := section
		section = d.descriptor()
		switch {
		case before != 0 && (section != before || section == sectionValue):
			d.Fail(errMixedBody)
		case section == sectionValue:
			d.value(0)
		case section == sectionSequence:
			if _, ok := d.value(0).(List); !ok {
				d.Fail(errNotSection)
			}
		default:
			d.Fail(errNotSection)
		}
	}
	if err := d.Err(); err != nil {
		return fmt.Errorf("amqp10: body: %w", err)
	}
	return nil
}

// outlineReader reads a message, section by section.
type outlineReader struct {
	decoder

	all    []byte // the message
	o      Outline
	known  bool // a section was one of a message's
	bodies int  // sections of the body so far
}

// section reads one section, or skips it.
func (r *outlineReader) section() {
	start := len(r.all) - r.Len()
	section := r.descriptor()
	r.known = r.known || section >= sectionHeader && section <= sectionFooter
	switch section {
	case sectionData:
		switch code := r.U8(); code {
		case 0xa0, 0xb0:
			r.body(r.variable(code), BodyData)
		default:
			r.Fail(&ValueCodeError{Code: code})
		}
	case sectionValue:
		switch code := r.U8(); code {
		case 0xa1, 0xb1:
			r.body(r.variable(code), BodyString)
		case 0xa0, 0xb0:
			r.body(r.variable(code), BodyBinary)
		default:
			r.skipOf(code)
			r.body(r.since(start), BodyValue)
		}
	case sectionSequence:
		r.skip()
		r.body(r.since(start), BodySequence)
	case sectionMessageAnnotations:
		from := len(r.all) - r.Len()
		r.skip()
		r.o.annotations = r.since(from)
	default:
		r.skip()
	}
}

// since is the message from there to what is read next.
func (r *outlineReader) since(start int) []byte {
	if r.Err() != nil {
		return nil
	}
	end := len(r.all) - r.Len()
	return r.all[start:end:end]
}

// follows reports whether a section may come after one of that kind: there may be several
// of data, and several sequences.
func (k BodyKind) follows(before BodyKind) bool {
	return k == before && (k == BodyData || k == BodySequence)
}

// body adds a section to the body.
func (r *outlineReader) body(b []byte, kind BodyKind) {
	r.bodies++
	switch {
	case r.Err() != nil:
	case r.bodies == 1:
		r.o.Body, r.o.Kind = b, kind
	case !kind.follows(r.o.Kind):
		r.Fail(errMixedBody)
	case r.bodies == 2:
		r.o.Body = slices.Concat(r.o.Body, b)
	default:
		r.o.Body = append(r.o.Body, b...)
	}
}

// TextAnnotations calls found for each message annotation whose value is a string or a
// symbol. key and text alias the message. It stops at the first that is malformed.
func (o *Outline) TextAnnotations(found func(key, text []byte)) {
	if o.annotations == nil {
		return
	}
	d := decoder{Reader: wire.NewReader(o.annotations)}
	code := d.U8()
	if code != 0xc1 && code != 0xd1 {
		return
	}
	in, count := d.compound(code, 1)
	for range count / 2 {
		key, isKey := in.textOrSkip()
		text, isText := in.textOrSkip()
		if in.Err() != nil {
			return
		}
		if isKey && isText {
			found(key, text)
		}
	}
}

// textOrSkip reads a value that is a string or a symbol, and skips another.
func (d *decoder) textOrSkip() (text []byte, ok bool) {
	switch code := d.U8(); code {
	case 0xa1, 0xb1, 0xa3, 0xb3:
		return d.variable(code), true
	default:
		d.skipOf(code)
		return nil, false
	}
}
