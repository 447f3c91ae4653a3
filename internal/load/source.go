package load

import (
	"context"
	"fmt"
	"time"

	"github.com/thumpmq/thump"
)

// source is where the messages of a run come back from. A queue and a stream
// differ in who gets a message, and in how one knows that no more will come.
type source interface {
	// open looks at the source before anything is published.
	open(ctx context.Context) error
	// consumer says how consumer i of the run consumes.
	consumer(i int) thump.ConsumerConfig
	// nothingMore says whether the wait for deliveries is over. It is asked when
	// there is a reason to think so.
	nothingMore(ctx context.Context, in *intake, at standing) (bool, error)
	// left is what the source still has for this run, once its consumers have
	// closed.
	left(ctx context.Context) (leftover, error)
}

// standing is how far the wait for deliveries has come.
type standing struct {
	came     bool          // everything that must come has come
	stopping bool          // the user has ended the run
	idle     time.Duration // how long nothing has come
}

// leftover is what a run leaves behind, where that can be known.
type leftover struct {
	known     bool
	messages  uint64
	consumers int // somebody else's
}

// queueSource is a queue as the source of a run's messages: it hands each of
// them to one consumer, and says how many it has left.
type queueSource struct {
	client   *thump.Client
	queue    string
	prefetch int
	autoAck  bool
}

func (*queueSource) open(context.Context) error { return nil }

func (q *queueSource) consumer(int) thump.ConsumerConfig {
	return thump.ConsumerConfig{From: thump.Queue(q.queue), Prefetch: q.prefetch, AutoAck: q.autoAck}
}

// nothingMore: the queue is empty, or the broker does not deliver what is in
// it. What comes on top of what was expected shows when the consumers have
// closed.
func (q *queueSource) nothingMore(ctx context.Context, _ *intake, at standing) (bool, error) {
	if at.came || at.stopping {
		return true, nil
	}
	info, err := q.client.InspectQueue(ctx, q.queue)
	switch {
	case err != nil:
		return true, err
	case info.Messages == 0:
		return true, nil
	case at.idle >= stallTimeout:
		return true, fmt.Errorf("stalled: %d messages are in the queue and none was delivered for %.0f s", info.Messages, at.idle.Seconds())
	default:
		return false, nil
	}
}

func (q *queueSource) left(ctx context.Context) (leftover, error) {
	info, err := q.client.InspectQueue(ctx, q.queue)
	if err != nil {
		return leftover{}, err
	}
	return leftover{known: true, messages: uint64(max(0, info.Messages)), consumers: info.Consumers}, nil
}
