package thump

import (
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// Message is what you publish.
//
// Publish copies everything it needs, so a Message and its Body may be reused
// as soon as the call returns.
type Message struct {
	Body []byte

	// RoutingKey and Exchange replace those of the publisher's target for this
	// message; empty means the target's own. For a super stream the RoutingKey
	// says which partition; a stream has no exchange.
	RoutingKey string
	Exchange   string

	// Ref is yours: it comes back in the message's Outcome. thump does not
	// send it and does not look at it.
	Ref uint64

	// PublishingID is for a stream's publisher with a Name: what the stream knows
	// this message by, above that of every message before it. 0 counts on from
	// the last.
	PublishingID uint64

	// FilterValue is for a stream's publisher that is Filtered.
	FilterValue string

	Properties Properties
}

// Properties are a message's AMQP properties; the zero value of a field means
// that the property is absent (AMQP 0-9-1, class basic).
type Properties struct {
	ContentType     string
	ContentEncoding string
	Headers         Table
	// DeliveryMode is Persistent or Transient. A message published with 0 goes
	// out as Persistent; a delivery shows 0 where its sender set none.
	DeliveryMode  uint8
	Priority      uint8
	CorrelationID string
	ReplyTo       string
	// Expiration is the message's time to live, in milliseconds, as text.
	Expiration string
	MessageID  string
	// Timestamp travels in whole seconds.
	Timestamp time.Time
	Type      string
	// UserID, where set, must be the name that the connection logged in with:
	// RabbitMQ closes the channel otherwise.
	UserID string
	AppID  string
}

// Delivery modes (AMQP 0-9-1, basic.delivery-mode).
const (
	// Transient messages may be gone after a broker restart.
	Transient uint8 = 1
	// Persistent messages survive a broker restart in a durable queue.
	Persistent uint8 = 2
)

// Table is an ordered AMQP field table, as used for headers and for the
// arguments of queues, exchanges, bindings and consumers: a slice of
// Field{Key, Value}. Order and repeated keys are kept by thump and RabbitMQ 3;
// RabbitMQ 4 sorts the headers of a message and drops repeated keys. Table.Get
// finds a value.
//
// A value is one of bool, int8, uint8, int16, uint16, int32, uint32, int64,
// int (sent as int64), float32, float64, Decimal, string, []byte, time.Time,
// Table, []any of these, and nil.
type Table = amqpproto.Table

// Field is one entry of a Table: Key string, Value any.
type Field = amqpproto.Field

// Decimal is an AMQP decimal: Value divided by ten to the power of Scale.
type Decimal = amqpproto.Decimal

// Delivery is one message as a consumer receives it.
//
// Body and what Properties aliases belong to the Batch that the delivery came
// in, and are valid until the next batch is asked for; Clone keeps a copy.
// The strings are yours to keep.
type Delivery struct {
	Body       []byte
	Exchange   string
	RoutingKey string

	// Redelivered says that RabbitMQ may have delivered this message before.
	// Neither value is proof: see "Redelivered" in the package documentation.
	Redelivered bool

	// Offset is the message's place in its stream; 0 for a queue.
	Offset uint64

	tag uint64
	// properties are not yet parsed: flags and property list as they came; for a
	// stream the whole message, or nil where that is a body and nothing else.
	properties []byte
	batch      *Batch
}

// Properties parses the message's properties. It does so on every call: keep
// the result. Everything in it is a copy. An error means that the sender's
// property list is malformed; the body is not affected.
func (d *Delivery) Properties() (Properties, error) {
	if d.batch != nil && d.batch.position != nil {
		return streamProperties(d.properties)
	}
	p, err := amqpproto.ParseProperties(d.properties)
	return Properties(p), err
}

// Clone returns a copy of d that owns its bytes. It can still be settled, as d
// can.
func (d *Delivery) Clone() Delivery {
	c := *d
	c.Body = append([]byte(nil), d.Body...)
	c.properties = append([]byte(nil), d.properties...)
	return c
}

// setProperties makes the wire's properties of a message to be published.
func setProperties(wire *amqpproto.Properties, p *Properties) {
	*wire = amqpproto.Properties(*p)
	if wire.DeliveryMode == 0 {
		wire.DeliveryMode = Persistent
	}
}
