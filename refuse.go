package thump

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/amqpproto"
)

// This file is why a message is refused before anything of it leaves. What RabbitMQ does
// not take would close the channel, and make Unknown of everything in flight; what it
// takes and does not mean would be lost in silence.

// fault is a reason to refuse a message.
type fault int

const (
	faultBody fault = iota
	faultLong
	faultExchange
	faultDeliveryMode
	faultExpiration
	faultUserID
	faultDirectReply
	faultReplyTo
	faultSections
	faultCopies
	faultKey
	faultType
	faultFloat
	faultDepth
	faultKept
	faultKeptDecimal
	faultFrame
	faultStreamExchange
	faultStreamName
	faultStreamFilter
	faultFormat
	faultFormatBroker
	faultFormatBody
	faultFormatType
	faultFormatRaw
)

// faults has the sentence of each.
//
//nolint:gochecknoglobals // constant in all but syntax
var faults = [...]string{
	faultBody:           "a body of %d bytes is over the limit of %d (MaxMessageBytes)",
	faultLong:           "%s is %d bytes long, at most %d are allowed",
	faultExchange:       "the Exchange %q has a line break: RabbitMQ removes those when an exchange is declared, so there is none of that name",
	faultDeliveryMode:   "Properties.DeliveryMode is %d: it is Persistent, Transient, or 0 for Persistent",
	faultExpiration:     "Properties.Expiration is %v, and the longest that %s is %v",
	faultUserID:         "Properties.UserID is %q, and the connection logged in as %q: RabbitMQ would close the channel (PublisherConfig.AnyUserID is for those whom it lets)",
	faultDirectReply:    "Properties.ReplyTo is %q, which needs a consumer on the publisher's own channel, and that has none: name a queue instead",
	faultReplyTo:        "Properties.ReplyTo is %q, which is not UTF-8: RabbitMQ would close the connection where a stream gets the message",
	faultSections:       "Properties.Type is %q, which says that the body is of AMQP 1.0 sections, and it is not: RabbitMQ would close the connection where a stream gets the message",
	faultCopies:         "the header %q is a %s: RabbitMQ routes by it, and wants a list of strings ([]any)",
	faultKey:            "the %s %q has a key of %d bytes, at most %d are allowed",
	faultType:           "the %s %q is a %s, which a Table can't hold",
	faultFloat:          "the %s %q is %v: RabbitMQ closes the connection for a number that is not finite",
	faultDepth:          "the %s %.60q has tables and lists nested more than %d deep",
	faultKept:           "the header %q is a %s, which a stream keeps only under a key that begins with \"x-\", and only since RabbitMQ 3.13",
	faultKeptDecimal:    "the header %q is or holds a Decimal, which a stream can't keep",
	faultFrame:          "the message's properties take a frame of %d bytes, and the connection's are of at most %d (Config.FrameMax)",
	faultStreamExchange: "the message names exchange %q, and a stream has none",
	faultStreamName:     "the message has a PublishingID, and the publisher no Stream.Name to remember it by",
	faultStreamFilter:   "the message has a FilterValue, and the publisher is not Stream.Filtered",
	faultFormat:         "Properties.Format is %v, which %s can't hold",
	faultFormatBroker:   "Properties.Format is %v: only RabbitMQ 4.0 and later takes that for a queue or an exchange",
	faultFormatBody:     "Properties.Format is %v, and the Body can't be read as one",
	faultFormatType:     "Properties.Format is %v, which takes the place of Properties.Type, and that is %q",
	faultFormatRaw:      "Properties.Format is %v: such an entry of a stream has no other properties",
}

// of makes the error.
func (f fault) of(args ...any) error { return mistake(fmt.Errorf(faults[f], args...)) }

// textMost is the most bytes of a name, a routing key, a property and a header's key
// (AMQP 0-9-1 4.2.5.3).
const textMost = math.MaxUint8

// directReplyTo is RabbitMQ's name for the channel itself as the place for an answer.
const directReplyTo = "amq.rabbitmq.reply-to"

// typeSections is the Type that RabbitMQ gives to a message whose body is not bytes but
// AMQP 1.0 sections, and takes for one when it stores a message in a stream
// (mc_amqpl.erl).
const typeSections = "amqp-1.0"

// messageRules are what the broker and the protocol of a publisher ask of a message.
type messageRules struct {
	limit int // bytes of a body

	user    string // AMQP: the only UserID that the broker takes; "" for any
	before4 bool   // AMQP: the broker takes no body for sections

	stream    *StreamPublishing // nil for AMQP
	before313 bool              // the stream keeps no tables and lists, and some properties elsewhere
	addresses bool              // the stream keeps a ReplyTo as an address (since 4.2)
}

// check says why a message can't be published. Most have no properties, and those it
// takes a few comparisons.
func (r *messageRules) check(m *Message) error {
	if len(m.Body) > r.limit {
		return faultBody.of(len(m.Body), r.limit)
	}
	if r.stream != nil {
		if err := r.checkStream(m); err != nil {
			return err
		}
	} else if len(m.Exchange)|len(m.RoutingKey) != 0 {
		if err := checkRoute(m); err != nil {
			return err
		}
	}
	p := m.Properties
	if p == nil {
		return nil
	}
	switch {
	case p.Format != FormatData:
		if err := r.checkFormat(m); err != nil {
			return err
		}
	case p.Type == typeSections && r.stream == nil && amqp10.ParseMessage(m.Body, new(amqp10.Message)) != nil:
		return faultSections.of(p.Type)
	}
	return r.checkProperties(p)
}

// checkFormat checks a body that is no data.
func (r *messageRules) checkFormat(m *Message) error {
	p := m.Properties
	others := *p
	others.Format = FormatData
	switch {
	case p.Format >= FormatBatch:
		return faultFormat.of(p.Format, "a message")
	case p.Format == FormatRaw && r.stream == nil:
		return faultFormat.of(p.Format, "a queue")
	case p.Format == FormatRaw && !others.empty():
		return faultFormatRaw.of(p.Format)
	case r.stream == nil && r.before4:
		return faultFormatBroker.of(p.Format)
	case r.stream == nil && p.Type != "" && p.Type != typeSections:
		return faultFormatType.of(p.Format, p.Type)
	case !p.Format.fits(m.Body), r.stream == nil && !readable(p.Format, m.Body):
		return faultFormatBody.of(p.Format)
	}
	// RabbitMQ measures a body as it comes: with what says that it is a string, for instance.
	if size := amqp10.BodySize(p.Format.kind(), m.Body); r.stream == nil && size > r.limit {
		return faultBody.of(size, r.limit)
	}
	return nil
}

// readable reports whether RabbitMQ can read a body all through, which it does with what
// comes over AMQP.
func readable(f Format, body []byte) bool {
	return f != FormatValue && f != FormatSequence || amqp10.CheckBody(body) == nil
}

// afterwards turns what the codec says of a message, which only it can know, into the
// words of this package.
func afterwards(err error) error {
	if large, ok := errors.AsType[*amqpproto.HeaderTooLargeError](err); ok {
		return faultFrame.of(large.Size, large.FrameMax)
	}
	return err
}

// checkRoute checks where a message is published to over AMQP.
func checkRoute(m *Message) error {
	switch {
	case len(m.RoutingKey) > textMost:
		return faultLong.of("the RoutingKey", len(m.RoutingKey), textMost)
	case len(m.Exchange) > textMost:
		return faultLong.of("the Exchange", len(m.Exchange), textMost)
	case strings.ContainsAny(m.Exchange, "\r\n"):
		return unfit("the Exchange", m.Exchange, faultExchange.of(m.Exchange))
	default:
		return nil
	}
}

// checkStream checks what is for streams alone.
func (r *messageRules) checkStream(m *Message) error {
	switch {
	case m.Exchange != "":
		return unfit("the Exchange", m.Exchange, faultStreamExchange.of(m.Exchange))
	case m.PublishingID != 0 && r.stream.Name == "":
		return faultStreamName.of()
	case len(m.FilterValue) > referenceMost:
		return faultLong.of("the FilterValue", len(m.FilterValue), referenceMost)
	case m.FilterValue != "" && !r.stream.Filtered:
		return faultStreamFilter.of()
	default:
		return nil
	}
}

// The longest times to live: RabbitMQ's own limit, and that of AMQP 1.0, as which a
// stream keeps them since 3.13.
const (
	expirationMost       = 10 * 365 * 24 * time.Hour
	streamExpirationMost = math.MaxUint32 * time.Millisecond
)

func (r *messageRules) checkProperties(p *Properties) error {
	longest := max(len(p.ContentType), len(p.ContentEncoding), len(p.CorrelationID), len(p.ReplyTo),
		len(p.MessageID), len(p.Type), len(p.UserID), len(p.AppID))
	switch {
	case longest > textMost:
		return p.longText()
	case p.DeliveryMode > Persistent:
		return faultDeliveryMode.of(p.DeliveryMode)
	case p.Expiration > expirationMost:
		return faultExpiration.of(p.Expiration, "RabbitMQ takes", expirationMost)
	case r.stream != nil && !r.before313 && p.Expiration > streamExpirationMost:
		return faultExpiration.of(p.Expiration, "a stream keeps", streamExpirationMost)
	case r.stream == nil && p.UserID != "" && r.user != "" && p.UserID != r.user:
		return faultUserID.of(p.UserID, r.user)
	case r.stream == nil && p.ReplyTo == directReplyTo:
		return faultDirectReply.of(p.ReplyTo)
	case r.stream == nil && !utf8.ValidString(p.ReplyTo):
		return faultReplyTo.of(p.ReplyTo)
	case len(p.Headers) == 0:
		return nil
	}
	if err := checkTable("header", p.Headers); err != nil {
		return err
	}
	if r.stream == nil {
		return p.Headers.checkCopies()
	}
	return r.checkKept(p.Headers)
}

// longText names the property that is too long.
func (p *Properties) longText() error {
	for _, s := range [...]struct{ name, value string }{
		{"ContentType", p.ContentType},
		{"ContentEncoding", p.ContentEncoding},
		{"CorrelationID", p.CorrelationID},
		{"ReplyTo", p.ReplyTo},
		{"MessageID", p.MessageID},
		{"Type", p.Type},
		{"UserID", p.UserID},
		{"AppID", p.AppID},
	} {
		if len(s.value) > textMost {
			return faultLong.of("Properties."+s.name, len(s.value), textMost)
		}
	}
	return nil
}

// checkCopies checks CC and BCC, which name further routing keys. RabbitMQ closes the channel for another type than a
// list, and passes over what in a list is no string.
func (t Table) checkCopies() error {
	for _, key := range [...]string{headerCC, "BCC"} {
		v, there := t.Get(key)
		if !there {
			continue
		}
		list, isList := v.([]any)
		if !isList {
			return faultCopies.of(key, kindOf(v))
		}
		for i := range list {
			if _, isText := list[i].(string); !isText {
				return faultCopies.of(key, "list with a "+kindOf(list[i]))
			}
		}
	}
	return nil
}

// checkKept refuses the headers that a stream would lose.
func (r *messageRules) checkKept(t Table) error {
	for i := range t {
		key, v := t[i].Key, t[i].Value
		if hasDecimal(v) {
			return faultKeptDecimal.of(key)
		}
		_, isTable := v.(Table)
		_, isList := v.([]any)
		if !isTable && !isList {
			continue
		}
		kept := strings.HasPrefix(key, annotationPrefix) || isList && key == headerCC
		if r.before313 || !kept {
			return faultKept.of(key, kindOf(v))
		}
	}
	return nil
}

// hasDecimal reports whether v is a Decimal or has one in it.
func hasDecimal(v any) bool {
	switch v := v.(type) {
	case Decimal:
		return true
	case Table:
		return slices.ContainsFunc(v, func(f Field) bool { return hasDecimal(f.Value) })
	case []any:
		return slices.ContainsFunc(v, hasDecimal)
	default:
		return false
	}
}

// kindOf is a value's type in the words of users.
func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "nil value"
	case Table:
		return "Table"
	case Decimal:
		return "Decimal"
	case []any:
		return "list"
	default:
		return fmt.Sprintf("%T", v)
	}
}

// tableDepthMost is how deep tables and lists may nest, the outermost table included.
const tableDepthMost = 32

// checkTable checks headers or arguments; what says which.
func checkTable(what string, t Table) error {
	for i := range t {
		if bad := t[i].bad(1); bad != nil {
			return bad.fault.of(append([]any{what, bad.path}, bad.details...)...)
		}
	}
	return nil
}

// badValue is what is wrong with a value, and where in its table it is.
type badValue struct {
	path    string // "x-death[0].count"
	fault   fault
	details []any // for the sentence, after the path
}

// inside prepends a key or an index to the path.
func (b *badValue) inside(segment string) *badValue {
	switch {
	case b == nil:
	case b.path == "" || strings.HasPrefix(b.path, "["):
		b.path = segment + b.path
	default:
		b.path = segment + "." + b.path
	}
	return b
}

// bad is what is wrong with a field of a table at that depth; nil if nothing is.
func (f *Field) bad(depth int) *badValue {
	if len(f.Key) > textMost {
		return &badValue{path: f.Key[:20] + "...", fault: faultKey, details: []any{len(f.Key), textMost}}
	}
	switch v := f.Value.(type) {
	case string, int64, int, int32, bool: // most, quickly
		return nil
	default:
		return badIn(v, depth).inside(f.Key)
	}
}

// badIn is what is wrong with a value in a table or list at that depth.
func badIn(v any, depth int) *badValue {
	switch v := v.(type) {
	case nil, bool, int8, int16, int32, int64, int, uint8, uint16, uint32, Decimal, string, []byte, time.Time,
		QueueKind, Overflow, DeadLetterStrategy, RetryType:
		return nil
	case float32:
		return badFloat(float64(v))
	case float64:
		return badFloat(v)
	case Table:
		if depth == tableDepthMost {
			return &badValue{fault: faultDepth, details: []any{tableDepthMost}}
		}
		for i := range v {
			if bad := v[i].bad(depth + 1); bad != nil {
				return bad
			}
		}
		return nil
	case []any:
		if depth == tableDepthMost {
			return &badValue{fault: faultDepth, details: []any{tableDepthMost}}
		}
		for i := range v {
			if bad := badIn(v[i], depth+1); bad != nil {
				return bad.inside(fmt.Sprintf("[%d]", i))
			}
		}
		return nil
	default:
		return &badValue{fault: faultType, details: []any{kindOf(v)}}
	}
}

// badFloat refuses NaN and the infinities, which Erlang does not have.
func badFloat(v float64) *badValue {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return &badValue{fault: faultFloat, details: []any{v}}
	}
	return nil
}
