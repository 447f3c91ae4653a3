package record

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/thumpmq/thump"
)

// Append appends a record as one line, with its line break. It allocates only to grow
// dst, and keeps nothing of r. Headers of a type that no thump.Table may hold are null.
func Append(dst []byte, r *Record) []byte {
	w := writer{append(dst, '{')}
	w.text(keyStream, r.Stream)
	if r.Stream != "" || r.Offset != 0 {
		w.key(keyOffset)
		w.b = strconv.AppendUint(w.b, r.Offset, 10)
	}
	w.time(keyStoredAt, r.StoredAt)
	w.text(keyExchange, r.Exchange)
	w.text(keyRoutingKey, r.RoutingKey)
	if r.Redelivered {
		w.key(keyRedelivered)
		w.b = append(w.b, "true"...)
	}
	w.number(keyDeliveryCount, r.DeliveryCount)
	w.properties(&r.Properties)
	w.bytes(keySections, r.Sections)
	w.text(keyUnreadable, r.Unreadable)
	w.bytes(keyRawProperties, r.RawProperties)
	w.body(r.Body)
	return append(w.b, "}\n"...)
}

// writer appends the keys of a record that are not empty.
type writer struct{ b []byte }

func (w *writer) key(key string) {
	if w.b[len(w.b)-1] != '{' {
		w.b = append(w.b, ',')
	}
	w.b = append(w.b, '"')
	w.b = append(w.b, key...)
	w.b = append(w.b, '"', ':')
}

func (w *writer) text(key, text string) {
	if text != "" {
		w.key(key)
		w.b = appendText(w.b, text)
	}
}

func (w *writer) number(key string, n int) {
	if n != 0 {
		w.key(key)
		w.b = strconv.AppendInt(w.b, int64(n), 10)
	}
}

func (w *writer) time(key string, t time.Time) {
	if !t.IsZero() {
		w.key(key)
		w.b = appendTime(w.b, t)
	}
}

func (w *writer) properties(p *thump.Properties) {
	w.text(keyContentType, p.ContentType)
	w.text(keyContentEncoding, p.ContentEncoding)
	if len(p.Headers) > 0 {
		w.key(keyHeaders)
		w.b = appendTable(w.b, p.Headers)
	}
	w.number(keyDeliveryMode, int(p.DeliveryMode))
	if w.number(keyPriority, int(p.Priority)); p.ZeroPriority && p.Priority == 0 {
		w.key(keyPriority)
		w.b = append(w.b, '0')
	}
	w.text(keyCorrelationID, p.CorrelationID)
	w.text(keyReplyTo, p.ReplyTo)
	if p.Expiration != 0 {
		w.key(keyExpiration)
		w.b = strconv.AppendUint(w.b, milliseconds(p.Expiration), 10)
	}
	w.text(keyMessageID, p.MessageID)
	w.time(keyTimestamp, p.Timestamp)
	w.text(keyType, p.Type)
	w.text(keyUserID, p.UserID)
	w.text(keyAppID, p.AppID)
	if p.Format != thump.FormatData {
		w.text(keyFormat, formats[p.Format])
	}
}

// body appends the body: as text where it is UTF-8.
func (w *writer) body(body []byte) {
	if utf8.Valid(body) {
		w.key(keyBody)
		w.b = appendText(w.b, body)
		return
	}
	w.bytes(keyBodyBase64, body)
}

func (w *writer) bytes(key string, bytes []byte) {
	if len(bytes) > 0 {
		w.key(key)
		w.b = append(base64.StdEncoding.AppendEncode(append(w.b, '"'), bytes), '"')
	}
}

// milliseconds is an expiration as it travels: rounded up, so that none becomes 0.
func milliseconds(d time.Duration) uint64 {
	if d <= 0 {
		return 0 // thump.ExpireAtOnce
	}
	return uint64((d-1)/time.Millisecond) + 1
}

// duration is an expiration that has travelled.
func duration(milliseconds uint64) time.Duration {
	switch {
	case milliseconds == 0:
		return thump.ExpireAtOnce
	case milliseconds > uint64(math.MaxInt64/time.Millisecond):
		return math.MaxInt64
	default:
		return time.Duration(milliseconds) * time.Millisecond
	}
}
