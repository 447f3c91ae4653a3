package amqpproto

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/thumpmq/thump/internal/wire"
)

// Properties are the properties of a message (class basic, AMQP 0-9-1 1.8.1).
// The zero value of a field means that the property is absent: an empty string,
// an empty table, 0, the zero time. A property that arrives empty or zero is
// therefore taken as absent. The deprecated cluster id, the last of the
// specification's properties, is read and dropped.
//
// The public package has a type of the same shape and converts between them, so
// the fields, their types and their order are part of both.
type Properties struct {
	ContentType     string    // MIME type of the body
	ContentEncoding string    // MIME encoding of the body
	Headers         Table     // the application's own
	DeliveryMode    uint8     // 1 transient, 2 persistent
	Priority        uint8     // 0 to 255, or the queue's x-max-priority
	CorrelationID   string    // of the request this message answers
	ReplyTo         string    // queue for the answer
	Expiration      string    // time to live in milliseconds, as decimal digits
	MessageID       string    // the application's
	Timestamp       time.Time // whole seconds on the wire; read as UTC
	Type            string    // the application's name for the kind of message
	UserID          string    // RabbitMQ checks that it is the connection's user
	AppID           string    // the application's name
}

// Flags of the properties that are present, from the first, which has the
// highest bit, to the last (AMQP 0-9-1 4.2.6.1). The two lowest are not used.
const (
	flagContentType     = 1 << 15
	flagContentEncoding = 1 << 14
	flagHeaders         = 1 << 13
	flagDeliveryMode    = 1 << 12
	flagPriority        = 1 << 11
	flagCorrelationID   = 1 << 10
	flagReplyTo         = 1 << 9
	flagExpiration      = 1 << 8
	flagMessageID       = 1 << 7
	flagTimestamp       = 1 << 6
	flagType            = 1 << 5
	flagUserID          = 1 << 4
	flagAppID           = 1 << 3
	flagClusterID       = 1 << 2
)

// headerPayloadMin is the payload of a header frame without properties: class,
// weight, body size and flags.
const headerPayloadMin = 2 + 2 + 8 + 2

// ContentHeader is the payload of a header frame (AMQP 0-9-1 4.2.6.1):
//
//	 0          2          4             12      14
//	+----------+----------+-------------+-------+------------------+
//	| class id | weight 0 |  body size  | flags | properties ...   |
//	+----------+----------+-------------+-------+------------------+
//	  uint16     uint16      uint64      uint16   those with a flag
type ContentHeader struct {
	ClassID    uint16 // ClassBasic
	BodySize   uint64 // bytes, over all body frames
	Properties []byte // flags and properties, for ParseProperties; aliases the payload
}

// ParseContentHeader reads the payload of a header frame. It does not look into
// the properties, and allocates nothing.
func ParseContentHeader(payload []byte) (h ContentHeader, err error) {
	r := wire.NewReader(payload)
	h.ClassID = r.U16()
	weight := r.U16()
	h.BodySize = r.U64()
	if r.Len() < 2 {
		return ContentHeader{}, wire.ErrShort
	}
	if weight != 0 {
		return ContentHeader{}, errWeight
	}
	h.Properties = r.Rest()
	return h, nil
}

// ParseProperties reads the properties of a content header; what it returns is
// a copy. The errors are wire's and those of ParseTable.
//
// RabbitMQ hands on these bytes as the publisher sent them (3.10.8 did so even
// with a field of type L and a true of 255). They are another client's doing,
// and an error here is one message's, not the connection's. Flags that the
// specification does not define are ignored, as RabbitMQ ignores them.
func ParseProperties(raw []byte) (Properties, error) {
	r := wire.NewReader(raw)
	flags := r.U16()
	str := func(flag uint16) string {
		if flags&flag == 0 {
			return ""
		}
		return string(readShort(&r))
	}
	octet := func(flag uint16) uint8 {
		if flags&flag == 0 {
			return 0
		}
		return r.U8()
	}
	var p Properties
	p.ContentType = str(flagContentType)
	p.ContentEncoding = str(flagContentEncoding)
	if flags&flagHeaders != 0 {
		p.Headers = readTable(&r, 1)
	}
	p.DeliveryMode = octet(flagDeliveryMode)
	p.Priority = octet(flagPriority)
	p.CorrelationID = str(flagCorrelationID)
	p.ReplyTo = str(flagReplyTo)
	p.Expiration = str(flagExpiration)
	p.MessageID = str(flagMessageID)
	if flags&flagTimestamp != 0 {
		p.Timestamp = unixTime(r.U64())
	}
	p.Type = str(flagType)
	p.UserID = str(flagUserID)
	p.AppID = str(flagAppID)
	str(flagClusterID)
	if err := r.Finish(); err != nil {
		return Properties{}, fmt.Errorf("amqpproto: properties: %w", err)
	}
	return p, nil
}

// AppendProperties appends the flags and the properties that are present. It
// allocates nothing unless dst has to grow. The errors are *StringTooLongError
// and those of AppendTable; on an error it returns dst as it was.
func AppendProperties(dst []byte, p *Properties) ([]byte, error) {
	start := len(dst)
	flags := uint16(0)
	b := append(dst, 0, 0)
	b, flags = appendProperty(b, flags, flagContentType, p.ContentType)
	b, flags = appendProperty(b, flags, flagContentEncoding, p.ContentEncoding)
	if len(p.Headers) > 0 {
		var err error
		if b, err = appendTable(b, p.Headers, 1); err != nil {
			return dst, inside("headers", err)
		}
		flags |= flagHeaders
	}
	if p.DeliveryMode != 0 {
		b = append(b, p.DeliveryMode)
		flags |= flagDeliveryMode
	}
	if p.Priority != 0 {
		b = append(b, p.Priority)
		flags |= flagPriority
	}
	b, flags = appendProperty(b, flags, flagCorrelationID, p.CorrelationID)
	b, flags = appendProperty(b, flags, flagReplyTo, p.ReplyTo)
	b, flags = appendProperty(b, flags, flagExpiration, p.Expiration)
	b, flags = appendProperty(b, flags, flagMessageID, p.MessageID)
	if !p.Timestamp.IsZero() {
		b = binary.BigEndian.AppendUint64(b, uint64(p.Timestamp.Unix()))
		flags |= flagTimestamp
	}
	b, flags = appendProperty(b, flags, flagType, p.Type)
	b, flags = appendProperty(b, flags, flagUserID, p.UserID)
	b, flags = appendProperty(b, flags, flagAppID, p.AppID)
	if err := p.checkLengths(); err != nil {
		return dst, err
	}
	binary.BigEndian.PutUint16(b[start:], flags)
	return b, nil
}

// appendProperty appends s, unless it is empty, and adds its flag. A string that
// is too long is written with a wrong length; checkLengths finds it afterwards.
func appendProperty(b []byte, flags, flag uint16, s string) ([]byte, uint16) {
	if s == "" {
		return b, flags
	}
	b = append(b, byte(len(s)))
	return append(b, s...), flags | flag
}

// checkLengths finds the first string that is too long for the wire.
func (p *Properties) checkLengths() error {
	longest := max(len(p.ContentType), len(p.ContentEncoding), len(p.CorrelationID),
		len(p.ReplyTo), len(p.Expiration), len(p.MessageID), len(p.Type), len(p.UserID), len(p.AppID))
	if longest <= math.MaxUint8 {
		return nil
	}
	for _, s := range [...]struct{ field, value string }{
		{"content-type", p.ContentType},
		{"content-encoding", p.ContentEncoding},
		{"correlation-id", p.CorrelationID},
		{"reply-to", p.ReplyTo},
		{"expiration", p.Expiration},
		{"message-id", p.MessageID},
		{"type", p.Type},
		{"user-id", p.UserID},
		{"app-id", p.AppID},
	} {
		if len(s.value) > math.MaxUint8 {
			return &StringTooLongError{Field: s.field, Length: len(s.value)}
		}
	}
	return nil
}

// readShort reads a short string: a length of 8 bits and that many bytes, which
// alias the input.
func readShort(r *wire.Reader) []byte { return r.Bytes(int(r.U8())) }
