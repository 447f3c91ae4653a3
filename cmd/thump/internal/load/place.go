package load

import (
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Place is where messages go and come from: a Queue, Queues, a Stream or a SuperStream.
// Whatever a run does differently for one of them is a method here.
type Place interface {
	// Target is the place as package thump names it.
	Target() thump.Target
	// String is the place as people name it: "queue hello", "super stream orders".
	String() string
	// Readers is how many of the given number of consumers receive each message.
	Readers(consumers int) int
	// reader is which of these, counted from 0, consumer i is.
	reader(consumer int) int
	// Confirms reports whether the broker is to confirm what is published.
	Confirms() bool

	// publisher is how publisher i, counted from 0, of several publishes.
	publisher(i, of int) thump.PublisherConfig
	// batchMessages is the most messages of one call of Publish.
	batchMessages() int
	// routingKeys are the keys that the messages have; none for no key.
	routingKeys() Keys
	// transient reports whether messages are published as transient.
	transient() bool

	// expired is the queue that gets what expires; "" for none.
	expired() string

	// pollInterval is how long a consumer that polls waits where the queue was empty.
	pollInterval() time.Duration
	// consumer is how consumer i, counted from 0, of several consumes.
	consumer(i, of int) thump.ConsumerConfig
	// source is the place as the source of a run's messages.
	source(client *thump.Client) source

	// sending and receiving note the settings of this kind of place.
	sending(s *result.Settings)
	receiving(s *result.Settings)
}

// The most messages of one call of Publish, for a queue and for a stream: enough that
// the cost of the call itself does not matter. batchBytes bounds the call too, so that
// large bodies do not pile up.
const (
	queueMessages  = 256
	streamMessages = 1000
	batchBytes     = 256 << 10
)
