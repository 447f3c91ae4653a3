package move

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/thumpmq/thump"
)

// identity says which message of a source a delivery is. A queue gives its messages no
// number, so there it is a digest of all that a message has; two messages that are alike
// have the same. In a stream it is the stream and the offset, and no two are the same.
type identity [16]byte

// String is the identity in hexadecimal digits.
func (id identity) String() string { return hex.EncodeToString(id[:]) }

// identifier makes identities. One goroutine at a time may use it.
type identifier struct {
	hash hash.Hash
	buf  []byte
}

// The headers in which a broker counts deliveries. They are another value each time that
// a message comes, so they are no part of its identity.
const (
	headerDeliveryCount = "x-delivery-count"
	headerAcquiredCount = "x-acquired-count"
)

// of returns the identity of a delivery. stream is where it is from, "" for a queue.
func (w *identifier) of(d *thump.Delivery, stream string) identity {
	if stream != "" {
		return inStream(stream, d.Offset)
	}
	if w.hash == nil {
		w.hash = sha256.New()
	}
	w.buf = w.buf[:0]
	w.text(d.Exchange)
	w.text(d.RoutingKey)
	w.properties(d)
	w.number(uint64(len(d.Body)))
	w.hash.Reset()
	w.hash.Write(w.buf)
	w.hash.Write(d.Body)
	w.buf = w.hash.Sum(w.buf[:0])
	return identity(w.buf[:len(identity{})])
}

// inStream is the identity of a message of a stream: half of it is the stream's.
func inStream(stream string, offset uint64) identity {
	sum := sha256.Sum256([]byte(stream))
	id := identity(sum[:len(identity{})])
	binary.BigEndian.PutUint64(id[8:], offset)
	return id
}

// offset is that of a message of a stream.
func (id identity) offset() uint64 { return binary.BigEndian.Uint64(id[8:]) }

// properties appends what a message has beside its body. A list that can't be read is
// appended as that: such a message stays where it is.
func (w *identifier) properties(d *thump.Delivery) {
	p, err := d.Properties()
	if err != nil {
		w.text("unreadable")
		return
	}
	for _, text := range []string{p.ContentType, p.ContentEncoding, p.CorrelationID, p.ReplyTo, p.MessageID, p.Type, p.UserID, p.AppID} {
		w.text(text)
	}
	w.buf = append(w.buf, p.DeliveryMode, p.Priority, byte(p.Format))
	if p.ZeroPriority {
		w.buf = append(w.buf, '0')
	}
	w.number(uint64(p.Expiration))
	w.time(p.Timestamp)
	p.Headers.Del(headerDeliveryCount)
	p.Headers.Del(headerAcquiredCount)
	// A quorum queue of RabbitMQ 3 sorts the headers when it adds one.
	slices.SortStableFunc(p.Headers, func(a, b thump.Field) int { return strings.Compare(a.Key, b.Key) })
	w.table(p.Headers)
}

func (w *identifier) number(n uint64) { w.buf = binary.AppendUvarint(w.buf, n) }

func (w *identifier) text(s string) {
	w.number(uint64(len(s)))
	w.buf = append(w.buf, s...)
}

func (w *identifier) time(t time.Time) {
	if t.IsZero() {
		w.buf = append(w.buf, 0)
		return
	}
	w.buf = append(w.buf, 1)
	w.number(uint64(t.Unix()))
}

func (w *identifier) table(t thump.Table) {
	w.number(uint64(len(t)))
	for i := range t {
		w.text(t[i].Key)
		w.value(t[i].Value)
	}
}

// value appends the type of a value and the value: a byte says which type, so that no two
// are written alike.
func (w *identifier) value(v any) {
	switch v := v.(type) {
	case string:
		w.buf = append(w.buf, 's')
		w.text(v)
	case int64:
		w.buf = append(w.buf, 'l')
		w.number(uint64(v))
	case int32:
		w.buf = append(w.buf, 'i')
		w.number(uint64(v))
	case bool:
		w.buf = append(w.buf, 't')
		if v {
			w.buf = append(w.buf, 1)
		} else {
			w.buf = append(w.buf, 0)
		}
	case float64:
		w.buf = append(w.buf, 'd')
		w.number(math.Float64bits(v))
	case time.Time:
		w.buf = append(w.buf, 'T')
		w.time(v)
	case []byte:
		w.buf = append(w.buf, 'x')
		w.text(string(v))
	case thump.Table:
		w.buf = append(w.buf, 'F')
		w.table(v)
	case []any:
		w.buf = append(w.buf, 'A')
		w.number(uint64(len(v)))
		for _, inner := range v {
			w.value(inner)
		}
	default: // the smaller numbers, Decimal, nil
		w.buf = append(w.buf, '?')
		w.text(fmt.Sprintf("%T %v", v, v))
	}
}

// named is what the user is told of one message, to find it by.
func named(d *thump.Delivery, id identity) string {
	var b strings.Builder
	if name := d.MessageID(); name != "" {
		fmt.Fprintf(&b, "message id %q, ", name)
	}
	if d.Offset > 0 {
		fmt.Fprintf(&b, "offset %d, ", d.Offset)
	}
	fmt.Fprintf(&b, "key %q, %d bytes, digest %s", d.RoutingKey, len(d.Body), id)
	return b.String()
}
