package amqpconn

import (
	"hash/maphash"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
)

// fingerprint is how a message is known again when the broker returns it, by what comes
// back with it. Rough is of the exchange, the routing key and the body, which come back
// unchanged; it is never 0. Fine is of the properties too, which say where a message goes
// as the routing key does (headers exchanges, CC, hashes of a header). RabbitMQ may
// encode those anew, sort the headers, and drop what repeats a key or was only for
// itself: so two that differ in fine may still be the same message.
type fingerprint struct{ rough, fine uint64 }

// fingerprinter makes fingerprints that nobody else can foresee.
type fingerprinter struct{ seed maphash.Seed }

func newFingerprinter() fingerprinter { return fingerprinter{maphash.MakeSeed()} }

// of makes the fingerprint of a message. properties is nil if they can't be read.
func (f fingerprinter) of(exchange, routingKey string, properties *amqpproto.Properties, body []byte) fingerprint {
	rough := (maphash.Bytes(f.seed, body) ^ f.text(1, routingKey) ^ f.text(2, exchange)) | 1
	if properties == nil {
		return fingerprint{rough: rough}
	}
	return fingerprint{rough: rough, fine: rough ^ f.properties(properties)}
}

// text is the hash of a text in a place; 0 where it is empty.
func (f fingerprinter) text(place uint64, text string) uint64 {
	if text == "" {
		return 0
	}
	return spread(place, maphash.String(f.seed, text))
}

// spread makes a hash mean another thing in each place.
func spread(place, hash uint64) uint64 {
	hash = (hash ^ place*0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	return hash ^ hash>>31
}

func (f fingerprinter) properties(p *amqpproto.Properties) uint64 {
	hash := uint64(p.DeliveryMode)<<8 | uint64(p.Priority)
	if p.ZeroPriority {
		hash |= 1 << 16
	}
	for place, text := range [...]string{
		p.ContentType, p.ContentEncoding, p.CorrelationID, p.ReplyTo, p.Expiration, p.MessageID, p.Type, p.UserID, p.AppID,
	} {
		hash += f.text(uint64(place)+3, text)
	}
	if !p.Timestamp.IsZero() {
		hash += spread(12, uint64(p.Timestamp.Unix()))
	}
	if len(p.Headers) > 0 {
		hash += spread(13, f.table(p.Headers))
	}
	return hash
}

// table is the hash of a table, whatever the order of its fields.
func (f fingerprinter) table(t amqpproto.Table) (hash uint64) {
	for i := range t {
		hash += spread(maphash.String(f.seed, t[i].Key), f.value(t[i].Value))
	}
	return hash
}

func (f fingerprinter) value(v any) uint64 {
	switch v := v.(type) {
	case int: // travels so
		return f.value(int64(v))
	case []byte:
		return spread(14, maphash.Bytes(f.seed, v))
	case time.Time:
		return spread(15, uint64(v.Unix()))
	case amqpproto.Table:
		return spread(16, f.table(v))
	case []any:
		hash := uint64(17)
		for i := range v {
			hash = spread(hash, f.value(v[i]))
		}
		return hash
	default: // comparable: numbers, texts, bool, Decimal, nil
		return maphash.Comparable(f.seed, v)
	}
}
