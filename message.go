package thump

import (
	"math"
	"strconv"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// Message is what you publish.
//
// Publish and Send copy everything they need, so a Message, its Body, its Properties and
// their Headers may be changed and reused as soon as the call returns, and not before.
type Message struct {
	Body []byte

	// RoutingKey and Exchange replace those of the publisher's target for this
	// message; empty means the target's own. For a super stream the RoutingKey
	// says which partition, the same one for all messages without a key; a stream has
	// no exchange.
	RoutingKey string
	Exchange   string

	// Ref is yours: it comes back in the message's Outcome. thump does not
	// send it and does not look at it.
	Ref uint64

	// PublishingID is for a stream's publisher with a Name: the stream knows this
	// message by it. It must be higher than that of every message before; 0 means one
	// higher than the last.
	PublishingID uint64

	// FilterValue is for a stream's publisher that is Filtered.
	FilterValue string

	// Properties are the message's AMQP properties; nil means none. Messages may
	// share them.
	Properties *Properties

	// Done, where set, is called with the message's outcome, by the goroutine that calls
	// OnOutcomes: for those who publish on and want to know of each message. See
	// PublisherConfig.OnOutcomes for what it may do. Without confirms it is not called.
	Done func(Outcome)
}

// Properties are a message's AMQP properties; the zero value of a field means
// that the property is absent (AMQP 0-9-1, class basic). A text has at most 255 bytes.
type Properties struct {
	ContentType     string
	ContentEncoding string
	Headers         Table
	// DeliveryMode is Persistent or Transient. A message published with 0, or without
	// Properties, goes out as Persistent, unless PublisherConfig.SameDeliveryMode is set; a
	// delivery shows 0 where its sender set none.
	DeliveryMode uint8
	Priority     uint8
	// ZeroPriority says that a Priority of 0 is there, and not left out: a quorum queue of
	// RabbitMQ 4.3 takes a message without a priority for one of 4.
	ZeroPriority  bool
	CorrelationID string
	ReplyTo       string
	// Expiration is the message's time to live in its queue, rounded up to a whole
	// millisecond. A negative one, such as time.Until a moment that is over, is
	// ExpireAtOnce. Of a delivery, one that is no number counts as absent.
	Expiration time.Duration
	MessageID  string
	// Timestamp travels in whole seconds.
	Timestamp time.Time
	Type      string
	// UserID, where set, must be the name that the connection logged in with, because
	// RabbitMQ checks it; see PublisherConfig.AnyUserID. A stream takes any.
	UserID string
	AppID  string
	// Format is what Body is. A relay that publishes the Body and the Properties of a
	// delivery passes on what it got: an AMQP 1.0 value stays one. FormatRaw is for streams,
	// without other properties; nothing takes FormatBatch. To queues and exchanges only
	// RabbitMQ 4.0 and later takes what is not FormatData, because it has to turn it into
	// sections for readers of AMQP 1.0 and of streams; Type must be empty then, or
	// "amqp-1.0", which is how it travels.
	Format Format
}

// Delivery modes (AMQP 0-9-1, basic.delivery-mode).
const (
	// Transient messages may be gone after a broker restart.
	Transient uint8 = 1
	// Persistent messages survive a broker restart in a durable queue.
	Persistent uint8 = 2
)

// ExpireAtOnce is the Expiration of a message that is dropped or dead-lettered unless
// a consumer takes it as soon as it reaches its queue (an expiration of "0").
const ExpireAtOnce time.Duration = -1

// milliseconds is an expiration as it travels.
func milliseconds(expiration time.Duration) uint64 {
	if expiration <= 0 {
		return 0
	}
	return uint64((expiration-1)/time.Millisecond) + 1
}

// expirationOf is an expiration that has travelled.
func expirationOf(milliseconds uint64) time.Duration {
	switch {
	case milliseconds == 0:
		return ExpireAtOnce
	case milliseconds > uint64(math.MaxInt64/time.Millisecond):
		return math.MaxInt64
	default:
		return time.Duration(milliseconds) * time.Millisecond
	}
}

// parseExpiration is expirationOf a text. Others may write what is no number, and that
// is not a reason to keep a message from anybody.
func parseExpiration(text string) time.Duration {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return expirationOf(n)
}

// propertyWriter makes properties for the wire, message after message.
type propertyWriter struct {
	unset uint8 // what a delivery mode of 0 is on the wire

	// The expiration of the last message that had one, and its text: most have the same.
	expiration time.Duration
	text       string

	bare bool // the last message had none
}

// prepare sets wire, which is always the same, to a message's properties, which were
// checked.
func (w *propertyWriter) prepare(wire *amqpproto.Properties, p *Properties) {
	if p == nil {
		if !w.bare {
			*wire = amqpproto.Properties{DeliveryMode: w.unset, Headers: wire.Headers[:0]}
			w.bare = true
		}
		return
	}
	w.bare = false
	// Field by field: to put a whole one together and copy it took 8 ns more.
	wire.ContentType, wire.ContentEncoding = p.ContentType, p.ContentEncoding
	wire.Headers = appendWire(wire.Headers[:0], p.Headers)
	wire.DeliveryMode, wire.Priority, wire.ZeroPriority = p.DeliveryMode, p.Priority, p.ZeroPriority
	wire.CorrelationID, wire.ReplyTo, wire.MessageID = p.CorrelationID, p.ReplyTo, p.MessageID
	wire.Timestamp, wire.Type, wire.UserID, wire.AppID = p.Timestamp, p.Type, p.UserID, p.AppID
	wire.Expiration = ""
	if p.DeliveryMode == 0 {
		wire.DeliveryMode = w.unset
	}
	if p.Expiration != 0 {
		if p.Expiration != w.expiration {
			w.expiration, w.text = p.Expiration, strconv.FormatUint(milliseconds(p.Expiration), 10)
		}
		wire.Expiration = w.text
	}
	if p.Format != FormatData {
		wire.Type = typeSections
	}
}

// propertiesOf are properties that the codec has read.
func propertiesOf(w *amqpproto.Properties) Properties {
	return Properties{
		ContentType: w.ContentType, ContentEncoding: w.ContentEncoding, Headers: tableOf(w.Headers),
		DeliveryMode: w.DeliveryMode, Priority: w.Priority, ZeroPriority: w.ZeroPriority, CorrelationID: w.CorrelationID, ReplyTo: w.ReplyTo,
		Expiration: parseExpiration(w.Expiration), MessageID: w.MessageID, Timestamp: w.Timestamp,
		Type: w.Type, UserID: w.UserID, AppID: w.AppID,
	}
}
