package thump

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"github.com/thumpmq/thump/internal/amqp10"
)

// sayAll reports whether properties that were read from a stream's message say all that it
// has beside its body: published again, they become the same sections. Where the message was
// published to, which a Delivery has apart, does not count.
func sayAll(p *Properties, message []byte) bool {
	var original, again amqp10.Message
	if amqp10.ParseMessage(message, &original) != nil || original.More {
		return false
	}
	rules := messageRules{
		addresses: strings.HasPrefix(original.ReplyTo, replyToPrefix),
		before313: slices.ContainsFunc(original.Annotations, isOldBasic) || slices.ContainsFunc(original.ApplicationProperties, isOldBasic),
	}
	rules.setSections(&again, p)
	// Written and read, so that types which are written alike are alike.
	encoded, err := amqp10.AppendMessage(nil, &again)
	if err != nil || amqp10.ParseMessage(encoded, &again) != nil {
		return false
	}
	for _, m := range []*amqp10.Message{&original, &again} {
		m.Body, m.BodyEncoded = nil, false
		m.Annotations = inOrder(slices.DeleteFunc(m.Annotations, func(a amqp10.Pair) bool {
			return a.Key == annotationExchange || a.Key == annotationRoutingKey
		}))
		m.ApplicationProperties = inOrder(m.ApplicationProperties)
	}
	return reflect.DeepEqual(&original, &again)
}

// isOldBasic reports whether a pair is a property as brokers before 3.13 keep it.
func isOldBasic(a amqp10.Pair) bool {
	switch a.Key {
	case keyAppID, keyPriority, keyDeliveryMode, keyExpiration:
		return true
	default:
		return false
	}
}

// inOrder sorts pairs by their keys, and makes no pairs nil.
func inOrder(pairs []amqp10.Pair) []amqp10.Pair {
	if len(pairs) == 0 {
		return nil
	}
	slices.SortStableFunc(pairs, func(a, b amqp10.Pair) int { return cmp.Compare(a.Key, b.Key) })
	return pairs
}
