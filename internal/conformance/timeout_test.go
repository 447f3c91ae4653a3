package conformance

import (
	"errors"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/brokertest"
)

// TestConsumerTimedOut: a consumer that does not settle in time is cancelled by the broker. It
// comes back, what it held is stale, and the message is delivered again, to it. Before
// RabbitMQ 4.3 the broker looks for that once a minute, so only the newest is asked.
func TestConsumerTimedOut(t *testing.T) {
	t.Parallel()
	brokers := brokertest.All(t)
	r := newRig(t, brokers[len(brokers)-1], engines()[0])
	if !r.atLeast("4.3") {
		return
	}
	queue := r.declare(thump.QueueSpec{Name: unique("timeout"), Kind: thump.Quorum, ConsumerTimeout: time.Second})
	r.send(queue, numbered(1)...)
	c := r.consumer(thump.ConsumerConfig{From: thump.Queue(queue)})
	held, err := c.Receive(r.Context())
	r.noError(err)
	again, err := c.Receive(r.Context())
	r.noError(err)
	if !again.Deliveries[0].Redelivered {
		t.Error("it was not delivered before")
	}
	if err := held.Ack(); !errors.Is(err, thump.ErrStale) {
		t.Errorf("what timed out is settled with %v", err)
	}
	r.noError(again.Ack())
	r.noError(c.Close(r.Context()))
	r.eventually(queue, 0)
}
