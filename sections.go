package thump

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/thumpmq/thump/internal/amqp10"
)

// This file converts a message's properties to AMQP 1.0 sections and back, for
// whatever carries those; so far that is streams. It does so as RabbitMQ itself does
// for those who publish to a stream or consume from it over AMQP 0-9-1: since 3.13
// as in mc_amqpl.erl, before that as in rabbit_msg_record.erl, which has no header
// section and puts more into annotations and application properties.

const (
	keyType         = "x-basic-type" // annotation, before 3.13 application property
	keyAppID        = "x-basic-app-id"
	keyPriority     = "x-basic-priority" // these are annotations before 3.13
	keyDeliveryMode = "x-basic-delivery-mode"
	keyExpiration   = "x-basic-expiration"

	annotationExchange   = "x-exchange"
	annotationRoutingKey = "x-routing-key"

	// annotationPrefix begins the key of every annotation, and of no application
	// property; over AMQP 0-9-1 both are headers.
	annotationPrefix = "x-"

	// Headers that have another name as annotations, since 3.13.
	headerCC           = "CC"
	annotationCC       = "x-cc"
	annotationDeaths   = "x-opt-deaths" // of headerDeaths, in a form of its own
	headerReceived     = "timestamp_in_ms"
	annotationReceived = "x-opt-rabbitmq-received-time"

	// Headers for the ids that AMQP 0-9-1 can't hold.
	headerMessageID     = "x-message-id"
	headerCorrelationID = "x-correlation-id"

	// replyToPrefix is what RabbitMQ puts before a ReplyTo since 4.2: it makes an
	// address of it, which those who consume over AMQP 1.0 can answer to.
	replyToPrefix = "/queues/"

	// urnPrefix begins the text of an id that is a UUID.
	urnPrefix = "urn:uuid:"
)

// empty reports whether no property is set. It looks at all of them, without a
// branch for each.
func (p *Properties) empty() bool {
	if p == nil {
		return true
	}
	lengths := len(p.Headers) | len(p.ContentType) | len(p.ContentEncoding) | len(p.CorrelationID) |
		len(p.ReplyTo) | len(p.MessageID) | len(p.Type) | len(p.UserID) | len(p.AppID)
	return lengths|int(p.DeliveryMode)|int(p.Priority)|int(p.Format) == 0 && p.Expiration == 0 && !p.ZeroPriority && p.Timestamp.IsZero()
}

// setSections sets the sections of m that hold the properties, which were checked, as
// the broker has them.
func (r *messageRules) setSections(m *amqp10.Message, p *Properties) {
	m.ContentType, m.ContentEncoding = p.ContentType, p.ContentEncoding
	if p.ReplyTo != "" {
		m.ReplyTo = p.ReplyTo
		if r.addresses {
			m.ReplyTo = replyToPrefix + quote(p.ReplyTo)
		}
	}
	m.MessageID, m.CorrelationID = r.sectionID(p.MessageID), r.sectionID(p.CorrelationID)
	if p.UserID != "" {
		m.UserID = []byte(p.UserID)
	}
	if !p.Timestamp.IsZero() {
		m.CreationTime = new(p.Timestamp.Unix() * 1000)
	}
	for i := range p.Headers {
		r.setHeader(m, &p.Headers[i])
	}
	if r.before313 {
		oldBasics(m, p)
		return
	}
	m.GroupID = p.AppID
	if p.Type != "" && (p.Format == FormatData || p.Type != typeSections) { // else the body says so
		m.Annotations = append(m.Annotations, amqp10.Pair{Key: keyType, Value: p.Type})
	}
	if p.DeliveryMode != 0 {
		m.Durable = new(p.DeliveryMode == Persistent)
	}
	if p.Priority != 0 || p.ZeroPriority {
		m.Priority = new(p.Priority)
	}
	if p.Expiration != 0 {
		m.TTL = new(uint32(milliseconds(p.Expiration)))
	}
}

// setHeader adds a header. Before 3.13 AMQP consumers see no annotation.
func (r *messageRules) setHeader(m *amqp10.Message, h *Field) {
	pair := amqp10.Pair{Key: h.Key, Value: sectionValue(h.Value)}
	_, isList := h.Value.([]any)
	switch {
	case !r.before313 && strings.HasPrefix(h.Key, annotationPrefix):
		m.Annotations = append(m.Annotations, pair)
	case !r.before313 && h.Key == headerCC && isList:
		pair.Key = annotationCC
		m.Annotations = append(m.Annotations, pair)
	default:
		m.ApplicationProperties = append(m.ApplicationProperties, pair)
	}
}

// sectionID is a message or correlation id as AMQP 1.0 has it; nil for none.
func (r *messageRules) sectionID(id string) any {
	if id == "" {
		return nil
	}
	if !r.before313 {
		if uuid, ok := parseUUID(id); ok {
			return uuid
		}
	}
	return id
}

// parseUUID reads an id that idText has written.
func parseUUID(id string) (uuid amqp10.UUID, ok bool) {
	text, ok := strings.CutPrefix(id, urnPrefix)
	if !ok {
		return uuid, false
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || copy(uuid[:], raw) != len(uuid) {
		return uuid, false
	}
	return uuid, idText(uuid) == id // an id in another form would come back changed
}

// quote percent-encodes all but the unreserved characters of RFC 3986, as RabbitMQ
// does; net/url leaves some more as they are.
func quote(s string) string {
	const hexadecimal = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hexadecimal[c>>4], hexadecimal[c&15]})
		}
	}
	return b.String()
}

// oldBasics sets them where brokers before 3.13 have them.
func oldBasics(m *amqp10.Message, p *Properties) {
	text := func(to *[]amqp10.Pair, key, value string) {
		if value != "" {
			*to = append(*to, amqp10.Pair{Key: key, Value: value})
		}
	}
	number := func(key string, value uint8, there bool) {
		if there {
			m.Annotations = append(m.Annotations, amqp10.Pair{Key: key, Value: value})
		}
	}
	text(&m.ApplicationProperties, keyType, p.Type)
	text(&m.ApplicationProperties, keyAppID, p.AppID)
	if p.Expiration != 0 {
		text(&m.Annotations, keyExpiration, strconv.FormatUint(milliseconds(p.Expiration), 10))
	}
	number(keyPriority, p.Priority, p.Priority != 0 || p.ZeroPriority)
	number(keyDeliveryMode, p.DeliveryMode, p.DeliveryMode != 0)
}

// sectionValue converts a header's value, which was checked, to one of AMQP 1.0. RabbitMQ
// makes the keys of a table symbols.
func sectionValue(v any) any {
	switch v := v.(type) {
	case int:
		return int64(v)
	case time.Time:
		return amqp10.Timestamp(v.Unix() * 1000)
	case []any:
		list := make(amqp10.List, len(v))
		for i := range v {
			list[i] = sectionValue(v[i])
		}
		return list
	case Table:
		m := make(amqp10.SymbolMap, len(v))
		for i := range v {
			m[i] = amqp10.Pair{Key: v[i].Key, Value: sectionValue(v[i].Value)}
		}
		return m
	default:
		return plain(v)
	}
}

// setPriority sets a priority that is there, of 0 too.
func (p *Properties) setPriority(n uint8) { p.Priority, p.ZeroPriority = n, n == 0 }

// sectionProperties parses the sections of a message.
func sectionProperties(message []byte) (Properties, error) {
	var m amqp10.Message
	if err := amqp10.ParseMessage(message, &m); err != nil {
		return Properties{}, fmt.Errorf("thump: a stream's message: %w", err)
	}
	p := Properties{
		ContentType: m.ContentType, ContentEncoding: m.ContentEncoding, ReplyTo: replyTo(m.ReplyTo),
		UserID: string(m.UserID), AppID: m.GroupID,
	}
	if m.Durable != nil {
		p.DeliveryMode = Transient
		if *m.Durable {
			p.DeliveryMode = Persistent
		}
	}
	if m.Priority != nil {
		p.setPriority(*m.Priority)
	}
	if m.TTL != nil {
		p.Expiration = expirationOf(uint64(*m.TTL))
	}
	if m.CreationTime != nil {
		p.Timestamp = time.UnixMilli(*m.CreationTime).UTC()
	}
	p.addHeaders(m.Annotations)
	p.MessageID = p.idOr(headerMessageID, m.MessageID)
	p.CorrelationID = p.idOr(headerCorrelationID, m.CorrelationID)
	p.addHeaders(m.ApplicationProperties)
	return p, nil
}

// addHeaders adds annotations or application properties.
func (p *Properties) addHeaders(pairs []amqp10.Pair) {
	for _, a := range pairs {
		if p.setBasic(a) {
			continue
		}
		h := Field{Key: a.Key, Value: headerValue(a.Value)}
		switch a.Key {
		case annotationCC:
			h.Key = headerCC
		case annotationReceived:
			if t, ok := a.Value.(amqp10.Timestamp); ok {
				h = Field{Key: headerReceived, Value: int64(t)}
			}
		case annotationDeaths:
			if deaths, ok := deathsOf(a.Value); ok {
				// What the broker says counts, and not what a publisher has passed on.
				p.Headers.Set(headerDeaths, deaths)
				continue
			}
		case headerDeaths:
			if _, there := p.Headers.Get(headerDeaths); there {
				continue
			}
		}
		p.Headers = append(p.Headers, h)
	}
}

// idOr returns the text of an id, or makes a header of one that AMQP 0-9-1 has no room
// for.
func (p *Properties) idOr(header string, id any) string {
	switch v := id.(type) {
	case []byte:
		p.Headers = append(p.Headers, Field{Key: header, Value: v})
		return ""
	case string:
		if len(v) > textMost {
			p.Headers = append(p.Headers, Field{Key: header, Value: v})
			return ""
		}
	}
	return idText(id)
}

// deathsOf makes the value of the header x-death of what RabbitMQ keeps in a stream.
func deathsOf(v any) (deaths []any, ok bool) {
	list, ok := v.(amqp10.List)
	if !ok {
		return nil, false
	}
	for _, entry := range list {
		death, ok := entry.(amqp10.Map)
		if !ok {
			return nil, false
		}
		var t Table
		for _, f := range death {
			switch value := headerValue(f.Value); f.Key {
			case "first-time":
				if first, ok := value.(time.Time); ok {
					value = first.Truncate(time.Second)
				}
				t = append(t, Field{Key: deathTime, Value: value})
			case "last-time":
			case "ttl":
				t = append(t, Field{Key: deathExpiration, Value: fmt.Sprint(value)})
			default:
				t = append(t, Field{Key: f.Key, Value: value})
			}
		}
		deaths = append(deaths, t)
	}
	return deaths, true
}

// setBasic sets the property that an annotation or application property stands
// for, and reports whether a is dealt with: it also is where a says which exchange
// and routing key the message had, which are neither properties nor headers.
func (p *Properties) setBasic(a amqp10.Pair) bool {
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
		p.Expiration = parseExpiration(text)
		return isText
	case keyPriority:
		p.setPriority(number)
		return isNumber
	case keyDeliveryMode:
		p.DeliveryMode = number
		return isNumber
	default:
		return false
	}
	return true
}

// replyTo removes what RabbitMQ 4 puts before a ReplyTo, and the quoting.
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
	case amqp10.UUID:
		return fmt.Sprintf(urnPrefix+"%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	default:
		return fmt.Sprint(id)
	}
}

// pairText returns the text of a value that is a string or a symbol.
func pairText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case amqp10.Symbol:
		return string(v), true
	default:
		return "", false
	}
}

// headerValue converts an AMQP 1.0 value to one that a Table may hold.
func headerValue(v any) any {
	switch v := v.(type) {
	case amqp10.Symbol:
		return string(v)
	case amqp10.Timestamp:
		return time.UnixMilli(int64(v)).UTC()
	case amqp10.UUID:
		return idText(v)
	case uint64:
		return int64(v)
	case amqp10.List:
		list := make([]any, len(v))
		for i := range v {
			list[i] = headerValue(v[i])
		}
		return list
	case amqp10.Map:
		table := make(Table, len(v))
		for i := range v {
			table[i] = Field{Key: v[i].Key, Value: headerValue(v[i].Value)}
		}
		return table
	default:
		return v
	}
}
