package record

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/thumpmq/thump"
)

// SetProperty sets a property to what a text says. The key is that of a record,
// "content_type", or has dashes instead, "content-type"; a number, a time to live in
// milliseconds and a time are as in a record, without quotes.
func SetProperty(p *thump.Properties, key, text string) error {
	number := func(most uint64) (uint64, error) {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n > most {
			return 0, fmt.Errorf("%s must be a number from 0 to %d", key, most)
		}
		return n, nil
	}
	var n uint64
	var err error
	switch strings.ReplaceAll(key, "-", "_") {
	case keyContentType:
		p.ContentType = text
	case keyContentEncoding:
		p.ContentEncoding = text
	case keyCorrelationID:
		p.CorrelationID = text
	case keyReplyTo:
		p.ReplyTo = text
	case keyMessageID:
		p.MessageID = text
	case keyType:
		p.Type = text
	case keyUserID:
		p.UserID = text
	case keyAppID:
		p.AppID = text
	case keyDeliveryMode:
		n, err = number(uint64(thump.Persistent))
		p.DeliveryMode = uint8(n)
	case keyPriority:
		n, err = number(math.MaxUint8)
		p.Priority, p.ZeroPriority = uint8(n), n == 0
	case keyExpiration:
		n, err = number(math.MaxUint64)
		p.Expiration = duration(n)
	case keyTimestamp:
		p.Timestamp, err = time.Parse(time.RFC3339, text)
		if err != nil {
			err = errors.New("timestamp must be a time like 2026-11-27T10:00:00Z")
		}
	default:
		err = fmt.Errorf("there is no property %q: docs/format.md lists them", key)
	}
	return err
}

// ParseValue reads a header's value, as it is in a record.
func ParseValue(text string) (any, error) {
	var p Parser
	p.s.line = []byte(text)
	v := p.value(0)
	p.s.end()
	if p.s.err != nil {
		return nil, p.s.err
	}
	return v, nil
}
