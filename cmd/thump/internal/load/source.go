package load

import (
	"context"
	"errors"
	"time"

	"github.com/thumpmq/thump"
)

// source is where the messages of a run come back from. Queues and streams differ
// in who receives a message, and in how a run knows that no more will come.
type source interface {
	// open looks at the source before anything is published.
	open(ctx context.Context) error
	// consumersFirst reports whether the consumers must be there before the first
	// message is published.
	consumersFirst() bool
	// consumer is how consumer i, counted from 0, of several consumes.
	consumer(i, of int) thump.ConsumerConfig
	// forgets reports whether what a consumer has received may come again without being
	// marked as redelivered, after a connection was lost.
	forgets() bool
	// done says whether the wait for deliveries is over. It is called when there is
	// a reason to think so.
	done(ctx context.Context, in *intake, w waiting) (bool, error)
	// remaining is what the source still holds for this run, once the run's
	// consumers have closed.
	remaining(ctx context.Context) (remainder, error)
}

// errStalled is that the source holds messages, and delivers none.
var errStalled = errors.New("stalled")

// waiting is the state of the wait for deliveries.
type waiting struct {
	allReceived bool          // everything that was expected has come
	stopping    bool          // the user has ended the run
	idle        time.Duration // how long nothing has come
}

// remainder is what a run leaves in its source.
type remainder struct {
	known     bool
	messages  uint64
	consumers int // those of others
}
