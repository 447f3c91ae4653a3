package amqp10

import (
	"fmt"
	"math"
)

// Section codes (3.2).
const (
	sectionHeader                = 0x70
	sectionDeliveryAnnotations   = 0x71
	sectionMessageAnnotations    = 0x72
	sectionProperties            = 0x73
	sectionApplicationProperties = 0x74
	sectionData                  = 0x75
	sectionSequence              = 0x76
	sectionValue                 = 0x77
	sectionFooter                = 0x78
)

// Message is a message: its properties and its body (3.2). The zero value of a field
// means that it is absent; pointers tell an absent number from a zero.
//
// A message that was published over AMQP 0-9-1 has its exchange and routing key in the
// annotations "x-exchange" and "x-routing-key", and its headers in the application
// properties, without tables and arrays, which RabbitMQ drops.
type Message struct {
	// Header section.
	Durable  *bool
	Priority *uint8
	TTL      *uint32 // milliseconds

	// Message annotations. Their keys are symbols.
	Annotations []Pair

	// Properties section.
	MessageID       any // string, uint64, UUID, []byte or nil
	UserID          []byte
	To              string
	Subject         string
	ReplyTo         string
	CorrelationID   any // string, uint64, UUID, []byte or nil
	ContentType     string
	ContentEncoding string
	ExpiryTime      *int64 // milliseconds since 1970
	CreationTime    *int64 // milliseconds since 1970
	GroupID         string
	GroupSequence   *uint32
	ReplyToGroupID  string

	// Application properties.
	ApplicationProperties []Pair

	// Body is the body. With BodyEncoded it is not data, but a value of AMQP 1.0
	// or sequences of values, and Body is those sections as on the wire.
	Body        []byte
	BodyEncoded bool

	// More says that what was read had more: delivery annotations, a footer, unknown
	// sections, fields that are not above, keys that are no strings, or values of a type
	// that became another. AppendMessage ignores it.
	More bool
}

// AppendMessage appends m: the sections that are not empty, and always a body. It
// keeps nothing of m, and allocates only to grow dst. With BodyEncoded it appends Body
// unchecked. The errors are *ValueTypeError and *DepthError, wrapped with the place;
// after an error dst is unchanged.
func AppendMessage(dst []byte, m *Message) ([]byte, error) {
	b := appendHeader(dst, m)
	b, err := appendMapSection(b, sectionMessageAnnotations, 0xa3, m.Annotations)
	if err != nil {
		return dst, fmt.Errorf("annotation %w", err)
	}
	if b, err = appendProperties(b, m); err != nil {
		return dst, fmt.Errorf("%w", err)
	}
	if b, err = appendMapSection(b, sectionApplicationProperties, 0xa1, m.ApplicationProperties); err != nil {
		return dst, fmt.Errorf("application property %w", err)
	}
	if m.BodyEncoded {
		return append(b, m.Body...), nil
	}
	return AppendData(b, m.Body), nil
}

// BodySize is how many bytes AppendBody appends.
func BodySize(kind BodyKind, body []byte) int {
	switch {
	case kind == BodyValue || kind == BodySequence:
		return len(body)
	case len(body) <= math.MaxUint8:
		return len(body) + 5
	default:
		return len(body) + 8
	}
}

// AppendBody appends the section of a body that is no data: a string or a binary is put
// into an amqp-value section; a value of another type and sequences are sections already.
// It allocates only to grow dst.
func AppendBody(dst []byte, kind BodyKind, body []byte) []byte {
	switch kind {
	case BodyString:
		return appendVariable(append(dst, 0x00, 0x53, sectionValue), 0xa1, body)
	case BodyBinary:
		return appendVariable(append(dst, 0x00, 0x53, sectionValue), 0xa0, body)
	case BodyValue, BodySequence:
		return append(dst, body...)
	default:
		return AppendData(dst, body)
	}
}

// fieldWriter appends the fields of a section that is a list. Nulls at its end are left
// out (1.4).
type fieldWriter struct {
	b       []byte
	start   int // of the list
	count   int // fields, nulls included
	end     int // of the last field that is not null
	written int // fields up to that one
}

// beginFields appends the descriptor of a section and the beginning of its list.
func beginFields(b []byte, section byte) fieldWriter {
	b = append(b, 0x00, 0x53, section, 0xc0, 0, 0)
	return fieldWriter{b: b, start: len(b) - 3, end: len(b)}
}

// null appends an absent field.
func (w *fieldWriter) null() {
	w.b = append(w.b, 0x40)
	w.count++
}

// done counts the field that was appended to b.
func (w *fieldWriter) done() {
	w.count++
	w.end, w.written = len(w.b), w.count
}

func (w *fieldWriter) text(v string) {
	if v == "" {
		w.null()
		return
	}
	w.b = appendVariable(w.b, 0xa1, v)
	w.done()
}

func (w *fieldWriter) symbol(v string) {
	if v == "" {
		w.null()
		return
	}
	w.b = appendVariable(w.b, 0xa3, v)
	w.done()
}

func (w *fieldWriter) u32(v *uint32) {
	if v == nil {
		w.null()
		return
	}
	w.b = appendUint32(w.b, *v)
	w.done()
}

func (w *fieldWriter) timestamp(v *int64) {
	if v == nil {
		w.null()
		return
	}
	w.b, _ = appendValue(w.b, Timestamp(*v), 0) // can't fail for this type
	w.done()
}

// id appends a message id or correlation id.
func (w *fieldWriter) id(name string, v any) error {
	switch v.(type) {
	case nil:
		w.null()
		return nil
	case string, uint64, UUID, []byte:
	default:
		return fmt.Errorf("%s: %w", name, &ValueTypeError{Type: fmt.Sprintf("%T", v)})
	}
	w.b, _ = appendValue(w.b, v, 0) // can't fail for these types
	w.done()
	return nil
}

// section ends the list. It removes a section that has only nulls.
func (w *fieldWriter) section() []byte {
	if w.written == 0 {
		return w.b[:w.start-3]
	}
	return endCompound(w.b[:w.end], w.start, w.written)
}

func appendHeader(b []byte, m *Message) []byte {
	w := beginFields(b, sectionHeader)
	if m.Durable == nil {
		w.null()
	} else {
		w.b = appendBool(w.b, *m.Durable)
		w.done()
	}
	if m.Priority == nil {
		w.null()
	} else {
		w.b = append(w.b, 0x50, *m.Priority)
		w.done()
	}
	w.u32(m.TTL)
	return w.section()
}

func appendProperties(b []byte, m *Message) ([]byte, error) {
	w := beginFields(b, sectionProperties)
	if err := w.id("message id", m.MessageID); err != nil {
		return b, err
	}
	if m.UserID == nil {
		w.null()
	} else {
		w.b = appendVariable(w.b, 0xa0, m.UserID)
		w.done()
	}
	w.text(m.To)
	w.text(m.Subject)
	w.text(m.ReplyTo)
	if err := w.id("correlation id", m.CorrelationID); err != nil {
		return b, err
	}
	w.symbol(m.ContentType)
	w.symbol(m.ContentEncoding)
	w.timestamp(m.ExpiryTime)
	w.timestamp(m.CreationTime)
	w.text(m.GroupID)
	w.u32(m.GroupSequence)
	w.text(m.ReplyToGroupID)
	return w.section(), nil
}

// appendMapSection appends a section that is a map, unless it is empty. Its errors
// begin with the key that is at fault.
func appendMapSection(b []byte, section, keyCode byte, pairs []Pair) ([]byte, error) {
	if len(pairs) == 0 {
		return b, nil
	}
	b = append(b, 0x00, 0x53, section, 0xc1, 0, 0)
	start := len(b) - 3
	for i := range pairs {
		b = appendVariable(b, keyCode, pairs[i].Key)
		var err error
		if b, err = appendValue(b, pairs[i].Value, 1); err != nil {
			return b, fmt.Errorf("%.60q: %w", pairs[i].Key, err)
		}
	}
	return endCompound(b, start, 2*len(pairs)), nil
}
