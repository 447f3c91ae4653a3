package amqpproto

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/thumpmq/thump/internal/wire"
)

// Properties are the properties of a message (class basic, AMQP 0-9-1 1.8.1).
// The zero value of a field means that the property is absent, so a property that
// arrives empty or zero counts as absent. The deprecated cluster id, the last of the
// specification's properties, is read and dropped.
//
// Package thump has a type of its own for users, and converts between the two.
type Properties struct {
	ContentType     string    // MIME type of the body
	ContentEncoding string    // MIME encoding of the body
	Headers         Table     // the application's
	DeliveryMode    uint8     // 1 transient, 2 persistent
	Priority        uint8     // 0 to 255, or the queue's x-max-priority
	CorrelationID   string    // of the request that this message answers
	ReplyTo         string    // the queue for the answer
	Expiration      string    // time to live in milliseconds, as decimal digits
	MessageID       string    // the application's
	Timestamp       time.Time // whole seconds on the wire; read as UTC
	Type            string    // the application's name for the kind of message
	UserID          string    // the connection's user: RabbitMQ checks it
	AppID           string    // the application's name

	ZeroPriority bool // a Priority of 0 is there, and not left out
}

// Flags of the properties that are present, the first property's highest (AMQP
// 0-9-1 4.2.6.1). The two lowest are not used.
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

// headerPayloadMin is the size in bytes of the payload of a header frame without
// properties: class, weight, body size and flags.
const headerPayloadMin = 2 + 2 + 8 + 2

// ContentHeader is the payload of a header frame (AMQP 0-9-1 4.2.6.1; drawn at the
// head of frame.go).
type ContentHeader struct {
	ClassID    uint16 // ClassBasic
	BodySize   uint64 // bytes, in all body frames together
	Properties []byte // flags and properties, for ParseProperties; aliases the payload
}

// ParseContentHeader reads the payload of a header frame. It does not parse the
// properties, and allocates nothing. The errors are wire.ErrShort and one for a
// weight that is not zero.
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

// ParseProperties reads the properties of a content header and returns a copy. The
// errors are those of package wire and those that Table names.
//
// RabbitMQ passes these bytes on as the publisher sent them; 3.10.8 did so even for
// a field of type L and a true of 255. They come from another client, so an error
// concerns one message and not the connection. Flags that the specification does not
// define are ignored, as RabbitMQ ignores them.
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
	p.ZeroPriority = flags&flagPriority != 0 && p.Priority == 0
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
		return Properties{}, fmt.Errorf("properties: %w", err)
	}
	return p, nil
}

// TypeProperty finds the type of a message in its properties; nil where there is none,
// or where what comes before it is malformed. It aliases raw, and allocates nothing.
func TypeProperty(raw []byte) []byte {
	if len(raw) < 2 || raw[1]&flagType == 0 {
		return nil
	}
	return typeProperty(raw)
}

// typeProperty is apart so that TypeProperty is inlined: few messages have a type.
func typeProperty(raw []byte) []byte {
	r := wire.NewReader(raw)
	flags := r.U16()
	for flag := uint16(flagContentType); flag > flagType; flag >>= 1 {
		if flags&flag == 0 {
			continue
		}
		switch flag {
		case flagHeaders:
			r.Bytes(int(min(r.U32(), math.MaxInt32)))
		case flagDeliveryMode, flagPriority:
			r.U8()
		case flagTimestamp:
			r.U64()
		default:
			readShort(&r)
		}
	}
	return readShort(&r)
}

// AppendProperties appends the flags and the properties that are present. It
// allocates only to grow dst. The errors are *StringTooLongError and those that
// Table names; after an error dst is unchanged.
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
	if p.Priority != 0 || p.ZeroPriority {
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

// appendProperty appends s and adds its flag, unless s is empty. It writes a wrong
// length for a string that is too long; checkLengths finds those afterwards.
func appendProperty(b []byte, flags, flag uint16, s string) ([]byte, uint16) {
	if s == "" {
		return b, flags
	}
	b = append(b, byte(len(s)))
	return append(b, s...), flags | flag
}

// checkLengths returns a *StringTooLongError for the first string that is too long.
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

// readShort reads a short string: a length of 8 bits and that many bytes. They alias
// the input.
func readShort(r *wire.Reader) []byte { return r.Bytes(int(r.U8())) }
