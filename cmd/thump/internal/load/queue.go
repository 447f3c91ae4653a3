package load

import (
	"context"
	"fmt"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Queue is a classic or quorum queue. It hands each message to one consumer, and
// drops it when that consumer has acked it.
type Queue struct {
	Name string

	NoConfirms bool // publish without confirms
	Transient  bool // publish messages that need not survive a restart of the broker

	// Expired is the queue that gets what expires, of a run; "" if nothing does, after TTL.
	Expired string
	TTL     time.Duration

	Prefetch int // unsettled deliveries for each consumer
	AutoAck  bool

	// Poll lets consumers ask for each message (basic.get), and PollInterval is how long one waits
	// where the queue was empty.
	Poll         bool
	PollInterval time.Duration
}

// Target is the queue as package thump names it.
func (q Queue) Target() thump.Target { return thump.Queue(q.Name) }

// String is "queue" and the name.
func (q Queue) String() string { return "queue " + q.Name }

// Readers is 1: each message goes to one consumer.
func (Queue) Readers(int) int { return 1 }

func (Queue) reader(int) int { return 0 }

// Confirms reports whether confirms are on.
func (q Queue) Confirms() bool { return !q.NoConfirms }

func (q Queue) publisher(int, int) thump.PublisherConfig {
	return thump.PublisherConfig{To: q.Target(), NoConfirms: q.NoConfirms}
}

func (q Queue) expired() string  { return q.Expired }
func (Queue) batchMessages() int { return queueMessages }
func (Queue) routingKeys() Keys  { return Keys{} }
func (q Queue) transient() bool  { return q.Transient }

func (q Queue) pollInterval() time.Duration { return q.PollInterval }

func (q Queue) consumer(int, int) thump.ConsumerConfig {
	if q.Poll {
		return thump.ConsumerConfig{From: q.Target(), Poll: true, AutoAck: q.AutoAck}
	}
	return thump.ConsumerConfig{From: q.Target(), Prefetch: q.Prefetch, AutoAck: q.AutoAck}
}

func (q Queue) source(client *thump.Client) source {
	return &queueSource{place: q, names: []string{q.Name}, client: client}
}

func (q Queue) sending(s *result.Settings) {
	s.Confirms, s.TTLSeconds = !q.NoConfirms, q.TTL.Seconds()
}

func (q Queue) receiving(s *result.Settings) {
	switch s.AutoAck = q.AutoAck; {
	case q.Poll:
		s.Poll, s.PollIntervalSeconds = true, q.PollInterval.Seconds()
	case !q.AutoAck:
		s.Prefetch = q.Prefetch
	}
}

// queueSource is one queue or several as the source of a run's messages.
type queueSource struct {
	place  Place
	names  []string
	client *thump.Client
}

func (*queueSource) open(context.Context) error { return nil }

func (*queueSource) consumersFirst() bool { return false }

func (q *queueSource) consumer(i, of int) thump.ConsumerConfig { return q.place.consumer(i, of) }

func (*queueSource) forgets() bool { return true }

// done: the queues are empty, or the broker does not deliver what is in them. Messages
// that nobody expected show once the consumers have closed.
func (q *queueSource) done(ctx context.Context, _ *intake, w waiting) (bool, error) {
	if w.allReceived || w.stopping {
		return true, nil
	}
	left, err := q.remaining(ctx)
	switch {
	case err != nil:
		return true, err
	case left.messages == 0:
		return true, nil
	case w.idle >= stallTimeout:
		return true, fmt.Errorf("%w: %d messages are in the queue, and none was delivered for %.0f s", errStalled, left.messages, w.idle.Seconds())
	default:
		return false, nil
	}
}

func (q *queueSource) remaining(ctx context.Context) (remainder, error) {
	infos := make([]thump.QueueInfo, len(q.names))
	err := Together(len(q.names), func(i int) (err error) {
		infos[i], err = q.client.InspectQueue(ctx, q.names[i])
		return err
	})
	if err != nil {
		return remainder{}, err
	}
	left := remainder{known: true}
	for _, info := range infos {
		left.messages += uint64(max(0, info.Messages))
		left.consumers += info.Consumers
	}
	return left, nil
}
