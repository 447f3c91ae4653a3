package thump

import (
	"fmt"
	"unicode/utf8"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/amqpproto"
)

// Format says what the bytes in a Body are. Whatever another program puts into a queue or
// a stream comes out with its mark (Delivery.Format), and so do the messages beside it;
// Properties.Format puts it back.
type Format uint8

// The formats. What is read over AMQP 0-9-1 is a run of bytes, but for values and
// sequences that an AMQP 1.0 program published: RabbitMQ marks those by the Type
// "amqp-1.0". The last two are of streams, which keep whatever a program writes.
const (
	// FormatData: Body is the bytes that the sender gave. It is the zero value.
	FormatData Format = iota
	// FormatString: the sender gave a string, an AMQP 1.0 value, as for instance a text
	// message of JMS; Body is that text, in UTF-8.
	FormatString
	// FormatBinary: the sender gave an AMQP 1.0 value that is binary; Body is its bytes.
	FormatBinary
	// FormatValue: the sender gave an AMQP 1.0 value of another type; Body is that, as
	// an amqp-value section (AMQP 1.0, 3.2.8).
	FormatValue
	// FormatSequence: the sender gave sequences of AMQP 1.0 values; Body is those, as
	// amqp-sequence sections (3.2.7).
	FormatSequence
	// FormatRaw: what the stream holds here is not a message of AMQP 1.0, which the
	// clients of RabbitMQ's streams agreed on; Body is all of it. The error of
	// Properties says what is wrong.
	FormatRaw
	// FormatBatch: a sub-entry batch can't be opened, because its compression is
	// unknown or it does not hold what it says; Body is what is in it, as it is in the
	// stream. The delivery stands for all its messages, the error of Properties says how
	// many those are and what is wrong, and Offset is that of the last one.
	FormatBatch
)

// String is the format in a word or two.
func (f Format) String() string {
	names := [...]string{"data", "string", "binary", "AMQP 1.0 value", "AMQP 1.0 sequence", "raw", "unopened batch"}
	if int(f) < len(names) {
		return names[f]
	}
	return fmt.Sprintf("Format(%d)", uint8(f))
}

// kind is the format as a body of AMQP 1.0.
func (f Format) kind() amqp10.BodyKind {
	switch f {
	case FormatString:
		return amqp10.BodyString
	case FormatBinary:
		return amqp10.BodyBinary
	case FormatValue:
		return amqp10.BodyValue
	case FormatSequence:
		return amqp10.BodySequence
	default:
		return amqp10.BodyData
	}
}

// fits reports whether a body is what the format says.
func (f Format) fits(body []byte) bool {
	switch f {
	case FormatString:
		return utf8.Valid(body)
	case FormatValue, FormatSequence:
		o, err := amqp10.ParseBody(body)
		return err == nil && o.Kind == f.kind() && len(o.Body) == len(body)
	default:
		return true
	}
}

// setFormat finds out what the Body of a message of AMQP 0-9-1 is. A program may write
// that Type itself, so what is no such section stays data.
func (d *Delivery) setFormat() {
	if string(amqpproto.TypeProperty(d.properties)) != typeSections {
		return
	}
	if o, err := amqp10.ParseBody(d.Body); err == nil {
		d.setBody(&o)
	}
}

// setBody sets Body and Format.
func (d *Delivery) setBody(o *amqp10.Outline) {
	d.Body = o.Body
	switch o.Kind {
	case amqp10.BodyString:
		d.Format = FormatString
	case amqp10.BodyBinary:
		d.Format = FormatBinary
	case amqp10.BodyValue:
		d.Format = FormatValue
	case amqp10.BodySequence:
		d.Format = FormatSequence
	default:
		d.Format = FormatData
	}
}

// source is the exchange and routing key of the last message that had some: most
// messages share them, and comparing is cheaper than allocating.
type source struct{ exchange, routingKey string }

// readSections takes a stream's message that is more than a body of data. Its
// properties are parsed when they are asked for.
func (d *Delivery) readSections(message []byte, last *source) {
	d.properties = message
	o, err := amqp10.ParseOutline(message)
	if err != nil {
		d.Body, d.Format = message, FormatRaw
		return
	}
	d.setBody(&o)
	o.TextAnnotations(func(key, text []byte) {
		switch string(key) {
		case annotationExchange:
			d.Exchange = again(&last.exchange, text)
		case annotationRoutingKey:
			d.RoutingKey = again(&last.routingKey, text)
		}
	})
}

// again is text as a string: the last one where that is the same.
func again(last *string, text []byte) string {
	if *last != string(text) {
		*last = string(text)
	}
	return *last
}

// setUnopened takes a batch that can't be opened, and why.
func (d *Delivery) setUnopened(batch []byte, why error) {
	d.Body, d.Format, d.properties = batch, FormatBatch, []byte(why.Error())
}
