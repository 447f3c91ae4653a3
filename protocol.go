package thump

import "fmt"

// Protocol is one of RabbitMQ's protocols that this package speaks.
type Protocol uint8

const (
	// AMQP091 is AMQP 0-9-1, which queues and exchanges are reached over. It is
	// the zero value.
	AMQP091 Protocol = iota
	// Streams is RabbitMQ's stream protocol, which streams and super streams are
	// reached over.
	Streams
)

// String returns RabbitMQ's name for the protocol.
func (p Protocol) String() string {
	switch p {
	case AMQP091:
		return "AMQP 0-9-1"
	case Streams:
		return "RabbitMQ Streams"
	default:
		return fmt.Sprintf("protocol %d", uint8(p))
	}
}
