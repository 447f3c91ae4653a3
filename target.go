package thump

import "fmt"

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

// Queue is the queue called name: published to through the default exchange,
// or consumed from.
func Queue(name string) Target { return Target{kind: targetQueue, name: name, routingKey: name} }

// Exchange is the exchange called name, with the routing key for messages that
// name none. It can be published to, not consumed from.
func Exchange(name, routingKey string) Target {
	return Target{kind: targetExchange, name: name, routingKey: routingKey}
}

// Stream is the stream called name, over the stream protocol. A stream can also
// be reached as Queue(name), over AMQP 0-9-1, at a hundredth of the speed.
func Stream(name string) Target { return Target{kind: targetStream, name: name} }

// SuperStream is the super stream called name. A publisher sends each message
// to one of its partitions, by the message's RoutingKey; a consumer reads all
// of them.
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

// streams reports whether the target is reached over the stream protocol.
func (t Target) streams() bool { return t.kind == targetStream || t.kind == targetSuperStream }

// exchange is the exchange that messages go to; empty for a queue.
func (t Target) exchange() string {
	if t.kind == targetExchange {
		return t.name
	}
	return ""
}
