package thump

import (
	"errors"
	"fmt"
)

// Target is where a publisher publishes to and a consumer consumes from. Its
// kind decides how: queues and exchanges over AMQP 0-9-1, streams and super
// streams over RabbitMQ's stream protocol.
type Target struct {
	kind             targetKind
	name, routingKey string
}

type targetKind uint8

const (
	targetNone targetKind = iota // the zero Target
	targetQueue
	targetExchange
	targetStream
	targetSuperStream
)

// Queue is the queue called name: to consume from, or to publish to through the
// default exchange.
func Queue(name string) Target { return Target{kind: targetQueue, name: name, routingKey: name} }

// Exchange is the exchange called name, with the routing key for messages that
// have none of their own. It can be published to, not consumed from.
func Exchange(name, routingKey string) Target {
	return Target{kind: targetExchange, name: name, routingKey: routingKey}
}

// Stream is the stream called name, over the stream protocol. A stream can also
// be reached as Queue(name), over AMQP 0-9-1, which is much slower.
func Stream(name string) Target { return Target{kind: targetStream, name: name} }

// SuperStream is the super stream called name. A publisher sends each message
// to one of its partitions, by the message's RoutingKey; a consumer reads all
// of them. Messages without a RoutingKey have the key "": they all go to the one
// partition that its hash leads to.
func SuperStream(name string) Target { return Target{kind: targetSuperStream, name: name} }

// String names the target for errors and settings: `queue "hello"`.
func (t Target) String() string {
	switch t.kind {
	case targetExchange:
		return fmt.Sprintf("exchange %q", t.name)
	case targetStream:
		return fmt.Sprintf("stream %q", t.name)
	case targetSuperStream:
		return fmt.Sprintf("super stream %q", t.name)
	default:
		return fmt.Sprintf("queue %q", t.name)
	}
}

// check says what is wrong with a target to publish to, or to consume from.
func (t Target) check() error {
	switch t.kind {
	case targetNone:
		return errors.New("it is not set: it is made by Queue, Exchange, Stream or SuperStream")
	case targetExchange: // "" is the default exchange
		const what = "the name of an exchange"
		if err := checkNoURL(what, t.name); err != nil {
			return err
		}
		return errors.Join(checkFound(what, t.name), checkKey("the routing key", t.routingKey))
	case targetStream:
		return t.checkName("stream")
	case targetSuperStream:
		return t.checkName("super stream")
	default:
		return t.checkName("queue")
	}
}

// checkName says what is wrong with the name, which is that of a what.
func (t Target) checkName(what string) error {
	if err := checkNoURL("the name of a "+what, t.name); err != nil {
		return err
	}
	return checkName(what, t.name)
}

// consumable says what is wrong with a target to consume from.
func (t Target) consumable() error {
	if t.kind == targetExchange {
		return errors.New("an exchange holds no messages: bind a queue to it, and consume from that")
	}
	return t.check()
}

// streams reports whether the target is reached over the stream protocol.
func (t Target) streams() bool { return t.kind == targetStream || t.kind == targetSuperStream }

// exchange returns the exchange that messages go to; "" for a queue.
func (t Target) exchange() string {
	if t.kind == targetExchange {
		return t.name
	}
	return ""
}
