package thump

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/thumpmq/thump/internal/streamproto"
)

// How a message's properties travel in a stream: as AMQP 1.0 sections, in the
// way that RabbitMQ itself converts them for those who publish to a stream or
// consume from it over AMQP 0-9-1 (mc_amqpl.erl; before 3.13 rabbit_msg_record.erl,
// which has no header section and puts more into annotations and application
// properties).

const (
	keyType         = "x-basic-type" // annotation, before 3.13 application property
	keyAppID        = "x-basic-app-id"
	keyPriority     = "x-basic-priority" // these are annotations before 3.13
	keyDeliveryMode = "x-basic-delivery-mode"
	keyExpiration   = "x-basic-expiration"

	annotationExchange   = "x-exchange"
	annotationRoutingKey = "x-routing-key"

	// annotationPrefix is what annotations and no application properties begin
	// with; over AMQP 0-9-1 both are headers.
	annotationPrefix = "x-"

	// replyToPrefix is what RabbitMQ 4 puts before a ReplyTo.
	replyToPrefix = "/queues/"
)

// empty reports whether no property is set. It looks at all of them, without a
// branch for each: nearly always they are.
func (p *Properties) empty() bool {
	lengths := len(p.Headers) | len(p.ContentType) | len(p.ContentEncoding) | len(p.CorrelationID) |
		len(p.ReplyTo) | len(p.Expiration) | len(p.MessageID) | len(p.Type) | len(p.UserID) | len(p.AppID)
	return lengths|int(p.DeliveryMode)|int(p.Priority) == 0 && p.Timestamp.IsZero()
}

// streamSections sets the sections of m that hold the properties, for a broker
// before or since 3.13.
func streamSections(m *streamproto.Message, p *Properties, before313 bool) error {
	m.ReplyTo, m.ContentType, m.ContentEncoding = p.ReplyTo, p.ContentType, p.ContentEncoding
	if p.MessageID != "" {
		m.MessageID = p.MessageID
	}
	if p.CorrelationID != "" {
		m.CorrelationID = p.CorrelationID
	}
	if p.UserID != "" {
		m.UserID = []byte(p.UserID)
	}
	if !p.Timestamp.IsZero() {
		m.CreationTime = new(p.Timestamp.Unix() * 1000)
	}
	for _, h := range p.Headers {
		v, err := streamValue(h.Value)
		if err != nil {
			return fmt.Errorf("the header %q: %w", h.Key, err)
		}
		pair := streamproto.Pair{Key: h.Key, Value: v}
		// Before 3.13 AMQP consumers see no annotation.
		if strings.HasPrefix(h.Key, annotationPrefix) && !before313 {
			m.Annotations = append(m.Annotations, pair)
		} else {
			m.ApplicationProperties = append(m.ApplicationProperties, pair)
		}
	}
	if before313 {
		oldBasics(m, p)
		return nil
	}
	return basics(m, p)
}

// basics sets what the versions keep in different places.
func basics(m *streamproto.Message, p *Properties) error {
	m.GroupID = p.AppID
	if p.Type != "" {
		m.Annotations = append(m.Annotations, streamproto.Pair{Key: keyType, Value: p.Type})
	}
	if p.DeliveryMode != 0 {
		m.Durable = new(p.DeliveryMode == Persistent)
	}
	if p.Priority != 0 {
		m.Priority = new(p.Priority)
	}
	if p.Expiration != "" {
		ms, err := strconv.ParseUint(p.Expiration, 10, 32)
		if err != nil {
			return fmt.Errorf("the property Expiration is %q, which is no number of milliseconds", p.Expiration)
		}
		m.TTL = new(uint32(ms))
	}
	return nil
}

// oldBasics is basics for brokers before 3.13.
func oldBasics(m *streamproto.Message, p *Properties) {
	text := func(to *[]streamproto.Pair, key, value string) {
		if value != "" {
			*to = append(*to, streamproto.Pair{Key: key, Value: value})
		}
	}
	number := func(key string, value uint8) {
		if value != 0 {
			m.Annotations = append(m.Annotations, streamproto.Pair{Key: key, Value: value})
		}
	}
	text(&m.ApplicationProperties, keyType, p.Type)
	text(&m.ApplicationProperties, keyAppID, p.AppID)
	text(&m.Annotations, keyExpiration, p.Expiration)
	number(keyPriority, p.Priority)
	number(keyDeliveryMode, p.DeliveryMode)
}

// streamValue makes the AMQP 1.0 value of a header's.
func streamValue(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, int8, uint8, int16, uint16, int32, uint32, int64, float32, float64, string, []byte:
		return v, nil
	case int:
		return int64(v), nil
	case time.Time:
		return streamproto.Timestamp(v.Unix() * 1000), nil
	case Table, []any, Decimal:
		return nil, fmt.Errorf("a value of type %T can't be kept in a stream", v)
	default:
		return nil, fmt.Errorf("a value of type %T has no counterpart in AMQP", v)
	}
}

// streamProperties parses the sections of a message; nil stands for one that
// has nothing but a body.
func streamProperties(message []byte) (Properties, error) {
	if message == nil {
		return Properties{}, nil
	}
	var m streamproto.Message
	if err := streamproto.ParseMessage(message, &m); err != nil {
		return Properties{}, fmt.Errorf("thump: a stream's message: %w", err)
	}
	p := Properties{
		ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, ReplyTo: replyTo(m.ReplyTo),
		MessageID: idText(m.MessageID), CorrelationID: idText(m.CorrelationID),
		UserID: string(m.UserID), AppID: m.GroupID,
	}
	if m.Durable != nil {
		p.DeliveryMode = Transient
		if *m.Durable {
			p.DeliveryMode = Persistent
		}
	}
	if m.Priority != nil {
		p.Priority = *m.Priority
	}
	if m.TTL != nil {
		p.Expiration = strconv.FormatUint(uint64(*m.TTL), 10)
	}
	if m.CreationTime != nil {
		p.Timestamp = time.UnixMilli(*m.CreationTime).UTC()
	}
	for _, pairs := range [][]streamproto.Pair{m.Annotations, m.ApplicationProperties} {
		for _, a := range pairs {
			if !p.setBasic(a) {
				p.Headers = append(p.Headers, Field{Key: a.Key, Value: headerValue(a.Value)})
			}
		}
	}
	return p, nil
}

// setBasic takes an annotation or application property that stands for a
// property, and reports whether it is one; where a delivery came from is none,
// and no header either.
func (p *Properties) setBasic(a streamproto.Pair) bool {
	text, isText := pairText(a.Value)
	number, isNumber := a.Value.(uint8)
	switch a.Key {
	case annotationExchange, annotationRoutingKey:
	case keyType:
		p.Type = text
		return isText
	case keyAppID:
		p.AppID = text
		return isText
	case keyExpiration:
		p.Expiration = text
		return isText
	case keyPriority:
		p.Priority = number
		return isNumber
	case keyDeliveryMode:
		p.DeliveryMode = number
		return isNumber
	default:
		return false
	}
	return true
}

// replyTo takes off what RabbitMQ 4 puts before it.
func replyTo(text string) string {
	quoted, found := strings.CutPrefix(text, replyToPrefix)
	if !found {
		return text
	}
	if name, err := url.PathUnescape(quoted); err == nil {
		return name
	}
	return text
}

// idText is a message or correlation id as AMQP 0-9-1 has it.
func idText(id any) string {
	switch id := id.(type) {
	case nil:
		return ""
	case string:
		return id
	case []byte:
		return string(id)
	case streamproto.UUID:
		return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	default:
		return fmt.Sprint(id)
	}
}

// pairText is a value that is text, whichever kind.
func pairText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case streamproto.Symbol:
		return string(v), true
	default:
		return "", false
	}
}

// headerValue makes a header's value of an AMQP 1.0 value: one that a Table
// has.
func headerValue(v any) any {
	switch v := v.(type) {
	case streamproto.Symbol:
		return string(v)
	case streamproto.Timestamp:
		return time.UnixMilli(int64(v)).UTC()
	case streamproto.UUID:
		return idText(v)
	case uint64:
		return int64(v)
	case streamproto.List:
		list := make([]any, len(v))
		for i := range v {
			list[i] = headerValue(v[i])
		}
		return list
	case streamproto.Map:
		table := make(Table, len(v))
		for i := range v {
			table[i] = Field{Key: v[i].Key, Value: headerValue(v[i].Value)}
		}
		return table
	default:
		return v
	}
}

// setSource fills in what is known of a message that was published over AMQP:
// where it came from.
func (d *Delivery) setSource(m *streamproto.Message) {
	for _, a := range m.Annotations {
		text, _ := pairText(a.Value)
		switch a.Key {
		case annotationExchange:
			d.Exchange = text
		case annotationRoutingKey:
			d.RoutingKey = text
		}
	}
}
