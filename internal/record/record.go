// Package record is a message outside of the broker: a line of JSON that holds all of
// it, or its body alone. docs/format.md says what is in such a line.
//
// Append writes a record and a Parser reads one. Readers and writers of whole files, in
// this and the simpler formats, are NewReader and NewWriter.
package record

import (
	"time"

	"github.com/thumpmq/thump"
)

// Record is one message, and what its broker said about it.
type Record struct {
	// Body is the message's bytes, and Properties.Format what they are.
	Body       []byte
	Exchange   string
	RoutingKey string
	Properties thump.Properties

	Redelivered bool
	// DeliveryCount is how many deliveries have failed (x-delivery-count, which is among
	// the headers as well); 0 where the queue does not say.
	DeliveryCount int

	// Stream, Offset and StoredAt are of a stream; "" and zero for a queue. StoredAt is in
	// whole milliseconds.
	Stream   string
	Offset   uint64
	StoredAt time.Time

	// Sections is a stream's message as it is in the stream, where it has something that
	// Properties has no place for; nil otherwise. See thump.Delivery.Sections.
	Sections []byte

	// Unreadable is why the properties can't be read; "" where they can. Properties then
	// has what could be read before, and RawProperties, of a queue's message, all as it came.
	Unreadable    string
	RawProperties []byte
}

// Set makes r the record of a delivery, whose bytes it shares. batch is where the delivery
// is from; nil where it is from no batch.
func (r *Record) Set(d *thump.Delivery, batch *thump.Batch) {
	*r = Record{Body: d.Body, Exchange: d.Exchange, RoutingKey: d.RoutingKey, Redelivered: d.Redelivered}
	var err error
	r.Properties, err = d.Properties()
	if err != nil && d.Format != thump.FormatRaw { // which is in Body, whole
		r.Unreadable, r.RawProperties = err.Error(), d.RawProperties()
	}
	r.Sections = d.Sections()
	r.DeliveryCount, _ = d.DeliveryCount()
	if batch != nil && batch.Stream != "" {
		r.Stream, r.Offset, r.StoredAt = batch.Stream, d.Offset, batch.StoredAt
	}
}

// Message returns the message as it can be published: its body, exchange, routing key and
// properties. It shares their memory with r.
func (r *Record) Message() thump.Message {
	m := thump.Message{Body: r.Body, Exchange: r.Exchange, RoutingKey: r.RoutingKey}
	if !bare(&r.Properties) {
		m.Properties = &r.Properties
	}
	return m
}

// StreamMessage returns the message as it can be published to a stream, with all that only
// streams keep. It has no exchange. It shares memory with r.
func (r *Record) StreamMessage() thump.Message {
	if r.Sections == nil {
		m := r.Message()
		m.Exchange = ""
		return m
	}
	return thump.Message{Body: r.Sections, RoutingKey: r.RoutingKey, Properties: &rawProperties}
}

// rawProperties are those of messages that are whole.
//
//nolint:gochecknoglobals // constant in all but syntax
var rawProperties = thump.Properties{Format: thump.FormatRaw}

// bare reports whether no property is set.
func bare(p *thump.Properties) bool {
	lengths := len(p.Headers) | len(p.ContentType) | len(p.ContentEncoding) | len(p.CorrelationID) |
		len(p.ReplyTo) | len(p.MessageID) | len(p.Type) | len(p.UserID) | len(p.AppID)
	return lengths|int(p.DeliveryMode)|int(p.Priority)|int(p.Format) == 0 && p.Expiration == 0 && !p.ZeroPriority && p.Timestamp.IsZero()
}
