package filter

import (
	"reflect"
	"strings"
	"time"
)

// names are what an expression may ask a delivery for, with types for the checker. What
// a message does not have is nil, whatever its type here: message.get says when.
type names struct {
	Body            string         `expr:"body"`
	Size            int            `expr:"size"`
	JSON            any            `expr:"json"`
	Exchange        string         `expr:"exchange"`
	RoutingKey      string         `expr:"routing_key"`
	Headers         map[string]any `expr:"headers"`
	Redelivered     bool           `expr:"redelivered"`
	DeliveryCount   int            `expr:"delivery_count"`
	Offset          int            `expr:"offset"`
	ContentType     string         `expr:"content_type"`
	ContentEncoding string         `expr:"content_encoding"`
	DeliveryMode    int            `expr:"delivery_mode"`
	Priority        int            `expr:"priority"`
	CorrelationID   string         `expr:"correlation_id"`
	ReplyTo         string         `expr:"reply_to"`
	Expiration      time.Duration  `expr:"expiration"`
	MessageID       string         `expr:"message_id"`
	Timestamp       time.Time      `expr:"timestamp"`
	Type            string         `expr:"type"`
	UserID          string         `expr:"user_id"`
	AppID           string         `expr:"app_id"`
}

// knownNames lists them.
func knownNames() string {
	var list []string
	for field := range reflect.TypeFor[names]().Fields() {
		list = append(list, field.Tag.Get("expr"))
	}
	return strings.Join(list, ", ")
}
