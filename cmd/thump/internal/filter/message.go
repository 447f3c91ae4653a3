package filter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/thumpmq/thump"
)

const (
	// stepsMax is how many steps one evaluation may take: looking at an item of a list
	// is one, and so is looking at stepBytes bytes of text. Each takes nanoseconds.
	stepsMax  = 10_000_000
	stepBytes = 64

	// jsonMax is how many bytes of a body are read as JSON, which takes up to some
	// twenty times as many bytes of memory. RabbitMQ's own limit of a message is 16 MiB.
	jsonMax = 16 << 20
)

var errSteps = errors.New("evaluating it takes too long for this message, because it compares many of its parts with many others")

// message is a delivery while an expression is evaluated. Its parts are made when they
// are asked for.
type message struct {
	delivery *thump.Delivery
	left     int   // steps
	err      error // why the evaluation can't go on; the first

	body       string
	hasBody    bool
	json       any
	hasJSON    bool
	properties *thump.Properties
	items      []any // the items that the predicates around are at, the innermost last
}

// spend takes steps, and reports whether there were so many.
func (m *message) spend(steps int) bool {
	if m.left -= steps; m.left < 0 {
		m.fail(errSteps)
	}
	return m.err == nil
}

// look spends what it takes to look at a text.
func (m *message) look(text string) bool { return m.spend(len(text)/stepBytes + 1) }

func (m *message) fail(err error) {
	if m.err == nil {
		m.err = err
	}
}

func (m *message) text() string {
	if !m.hasBody {
		m.body, m.hasBody = string(m.delivery.Body), true
	}
	return m.body
}

// parsed is the body as JSON, or nil if it is something else.
func (m *message) parsed() any {
	if m.hasJSON {
		return m.json
	}
	m.hasJSON = true
	body := m.delivery.Body
	if len(body) > jsonMax {
		m.fail(fmt.Errorf("a body of %d bytes is not read as JSON; %d is the most", len(body), jsonMax))
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // a number of 64 bits stays what it is
	var v any
	if decoder.Decode(&v) != nil {
		return nil
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil // something follows
	}
	m.json = plain(v)
	return m.json
}

// all are the properties. A list of them that is malformed counts as none.
func (m *message) all() *thump.Properties {
	if m.properties == nil {
		p, _ := m.delivery.Properties()
		m.properties = &p
	}
	return m.properties
}

// get is what names has under a name.
//
//nolint:cyclop // a table
func (m *message) get(name string) any {
	d := m.delivery
	switch name {
	case "body":
		return m.text()
	case "size":
		return int64(len(d.Body))
	case "json":
		return m.parsed()
	case "exchange":
		return d.Exchange
	case "routing_key":
		return d.RoutingKey
	case "headers":
		return m.all().Headers
	case "redelivered":
		return d.Redelivered
	case "delivery_count":
		n, _ := d.DeliveryCount()
		return int64(n)
	case "offset":
		return int64(d.Offset) //nolint:gosec // no stream has so many messages
	case "content_type":
		return d.ContentType()
	case "content_encoding":
		return m.all().ContentEncoding
	case "delivery_mode":
		return int64(m.all().DeliveryMode)
	case "priority":
		return int64(m.all().Priority)
	case "correlation_id":
		return d.CorrelationID()
	case "reply_to":
		return d.ReplyTo()
	case "expiration":
		return expiration(m.all().Expiration)
	case "message_id":
		return d.MessageID()
	case "timestamp":
		return moment(d.Timestamp())
	case "type":
		return d.Type()
	case "user_id":
		return m.all().UserID
	case "app_id":
		return m.all().AppID
	}
	return nil
}

// expiration is nil for a message that does not expire.
func expiration(d time.Duration) any {
	if d == 0 {
		return nil
	}
	return max(d, 0) // thump.ExpireAtOnce is less
}

func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t
}
