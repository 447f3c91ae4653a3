package thump

import (
	"errors"
	"slices"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// Delivery is one message as a consumer receives it.
//
// It is yours, and so are its bytes; with ConsumerConfig.ReuseBuffers they are lent
// until the next batch is asked for. The Body is a slice of a read buffer, which
// other bodies share: keep a Clone of what you keep for long.
//
// Properties and what asks for one of them (Header, MessageID and so on) parse the
// properties at the first call and keep them: one goroutine at a time may call them on
// the same Delivery. Settling it is safe at any time.
type Delivery struct {
	Body       []byte
	Exchange   string
	RoutingKey string

	// Redelivered says that RabbitMQ may have delivered this message before.
	// Neither value is proof: see "Redelivered" in the package documentation.
	Redelivered bool

	// Format says what Body is: nearly always bytes as the sender gave them.
	Format Format

	sections bool // properties is a whole AMQP 1.0 message

	// Offset is the message's place in its stream; 0 for a queue.
	Offset uint64

	tag uint64
	// properties are as they came: flags and property list; with sections the message; of
	// a batch that can't be opened, what is wrong with it. nil: there are none.
	properties []byte
	parsed     *parsedProperties // nil while nobody has asked
	hold       *hold             // of the batch; nil where it can't be settled
}

// parsedProperties are a delivery's properties, or why they can't be read.
type parsedProperties struct {
	Properties
	err error
}

// none is what a message without properties has.
//
//nolint:gochecknoglobals // constant in all but syntax
var none parsedProperties

// parse parses the properties, once.
func (d *Delivery) parse() *parsedProperties {
	switch {
	case d.parsed != nil:
	case d.properties == nil:
		d.parsed = &none
	case d.Format == FormatBatch:
		d.parsed = &parsedProperties{Properties: Properties{Format: FormatBatch}, err: errors.New("thump: " + string(d.properties))}
	case d.sections:
		p := &parsedProperties{}
		p.Properties, p.err = sectionProperties(d.properties)
		p.Format = d.Format
		d.parsed = p
	default:
		p := &parsedProperties{}
		wire, err := amqpproto.ParseProperties(d.properties)
		p.Properties, p.err = propertiesOf(&wire), err
		p.Format = d.Format
		d.parsed = p
	}
	return d.parsed
}

// Properties returns the message's properties. They are a copy, as are the fields of
// Headers; the tables and lists inside of those are not. An error means that the
// sender's property list is malformed; the body is not affected.
func (d *Delivery) Properties() (Properties, error) {
	p := d.parse()
	properties := p.Properties
	properties.Headers = slices.Clone(properties.Headers)
	return properties, p.err
}

// The methods below return one property, and its zero value where it is absent or the
// sender's property list is malformed.

// Header returns the value of the first header with that key, of one of the types that
// Table lists; nil where there is none.
func (d *Delivery) Header(key string) any {
	v, _ := d.parse().Headers.Get(key)
	return v
}

// ContentType returns the MIME type of the body, as the sender gave it.
func (d *Delivery) ContentType() string { return d.parse().ContentType }

// Type returns the sender's name for the kind of message.
func (d *Delivery) Type() string { return d.parse().Type }

// MessageID returns the id that the sender gave the message.
func (d *Delivery) MessageID() string { return d.parse().MessageID }

// CorrelationID returns the id of the request that the message answers.
func (d *Delivery) CorrelationID() string { return d.parse().CorrelationID }

// ReplyTo returns the queue that the sender wants the answer in.
func (d *Delivery) ReplyTo() string { return d.parse().ReplyTo }

// Timestamp returns the sender's time, in whole seconds.
func (d *Delivery) Timestamp() time.Time { return d.parse().Timestamp }

// Death says that a queue dead-lettered a message: how often, and why.
type Death struct {
	Queue string
	// Reason is "rejected", "expired", "maxlen" or "delivery_limit".
	Reason string
	// Count is how often this queue dead-lettered the message for this reason.
	Count int
	// Exchange and RoutingKeys are what the message was published with; CC keys are
	// among them.
	Exchange    string
	RoutingKeys []string
	// Time is when the first of these deaths happened, by the broker's clock, in whole
	// seconds.
	Time time.Time
	// Expiration is what the message had; RabbitMQ takes it away.
	Expiration time.Duration
}

// Deaths returns how often the message was dead-lettered, a Death for each queue and
// reason, the latest first (header x-death). It is nil for one that never was.
func (d *Delivery) Deaths() []Death {
	list, _ := d.Header(headerDeaths).([]any)
	var deaths []Death
	for _, entry := range list {
		if t, ok := entry.(Table); ok {
			deaths = append(deaths, deathOf(t))
		}
	}
	return deaths
}

// deathOf reads an entry of x-death. What is missing in it stays zero.
func deathOf(t Table) Death {
	text := func(key string) string {
		v, _ := t.Get(key)
		s, _ := v.(string)
		return s
	}
	d := Death{
		Queue: text(deathQueue), Reason: text(deathReason), Exchange: text(deathExchange),
		Expiration: parseExpiration(text(deathExpiration)),
	}
	count, _ := t.Get(deathCount)
	d.Count, _ = number(count)
	first, _ := t.Get(deathTime)
	d.Time, _ = first.(time.Time)
	keys, _ := t.Get(deathRoutingKeys)
	list, _ := keys.([]any)
	for _, key := range list {
		if s, ok := key.(string); ok {
			d.RoutingKeys = append(d.RoutingKeys, s)
		}
	}
	return d
}

// The header of dead-lettered messages and the fields of its entries.
const (
	headerDeaths     = "x-death"
	deathQueue       = "queue"
	deathReason      = "reason"
	deathCount       = "count"
	deathExchange    = "exchange"
	deathRoutingKeys = "routing-keys"
	deathTime        = "time"
	deathExpiration  = "original-expiration"
)

// DeliveryCount returns how many deliveries of the message have failed, which is what
// a quorum queue's delivery limit counts (header x-delivery-count). ok is false if the
// queue does not say: a classic queue never does, nor does a quorum queue at the first
// delivery.
func (d *Delivery) DeliveryCount() (count int, ok bool) { return number(d.Header("x-delivery-count")) }

// number is a whole number of any type that a Table may hold.
func number(v any) (n int, ok bool) {
	switch v := v.(type) {
	case int64:
		return int(v), true
	case int32:
		return int(v), true
	case int16:
		return int(v), true
	case int8:
		return int(v), true
	case uint32:
		return int(v), true
	case uint16:
		return int(v), true
	case uint8:
		return int(v), true
	default:
		return 0, false
	}
}

// Clone returns a copy of d that owns its bytes. It can still be settled, as d
// can.
func (d *Delivery) Clone() Delivery {
	c := *d
	c.Body = append([]byte(nil), d.Body...)
	if c.parsed != nil && c.parsed.err == nil && !d.sections { // which aliases nothing, and has all
		c.properties = nil
	} else {
		c.properties = slices.Clone(d.properties)
	}
	return c
}

// RawProperties returns the property flags and the property list of AMQP 0-9-1 as they came
// where Properties can't read them, and nil otherwise. They are as valid as Body.
func (d *Delivery) RawProperties() []byte {
	if d.sections || d.Format == FormatBatch || d.parse().err == nil {
		return nil
	}
	return d.properties
}

// Sections returns a stream's message as it is in the stream, with its body, where it has
// something that Properties has no place for, or another type for: fields and sections of
// AMQP 1.0 such as To, Subject and the footer, a time with milliseconds, a symbol. It is nil
// where Body and Properties say it all. Published to a stream with FormatRaw, it is the same
// message. It is as valid as Body.
func (d *Delivery) Sections() []byte {
	if !d.sections || d.properties == nil || d.Format == FormatRaw || sayAll(&d.parse().Properties, d.properties) {
		return nil
	}
	return d.properties
}
