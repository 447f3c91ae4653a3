package thump

import (
	"context"

	"github.com/thumpmq/thump/internal/outcome"
)

// outcomeTotals counts messages, as the connections do.
type outcomeTotals = outcome.Totals

// publishEngine is what a Publisher needs of the protocol it speaks: amqp.go,
// stream_publisher.go and super_publisher.go have one each. It is safe for
// concurrent use.
type publishEngine interface {
	// publish accepts as many of msgs as there is room for, at least one, and
	// waits for that. It returns how many it accepted.
	publish(ctx context.Context, msgs []Message) (int, error)
	// settle waits until what was published has its outcome (without confirms:
	// until the broker has read it), or the engine has ended.
	settle(ctx context.Context) error
	// sources are where outcomes come from: one for each connection.
	sources() []outcomeSource
	counts() Counts
	takeFirstBad() Outcome // the first since the last call that was not Confirmed
	blocked() string

	done() <-chan struct{} // closed when the engine has ended
	err() error            // why, in the words of this package; nil until then

	updateSecret(ctx context.Context, secret, reason string) error
	close(ctx context.Context) // says goodbye to the broker
}

// outcomeSource is where the outcomes of messages come from.
type outcomeSource interface {
	// outcomes waits for outcomes and returns all that are known, in dst's
	// memory or its own; the caller has handed over those in dst. At the end,
	// when none is left, it returns why.
	outcomes(dst []Outcome) ([]Outcome, error)
}

// consumeEngine is what a Consumer needs of the protocol it speaks: amqp.go and
// stream_consumer.go have one each. take and watch are called by one goroutine
// at a time, the others by any.
type consumeEngine interface {
	// watch lets the end of ctx end a take that waits, until stop is called.
	watch(ctx context.Context) (stop func() bool)
	// take waits for deliveries and appends at most limit of them to the batch,
	// with consecutive tags; those of the batch before are no longer valid. When
	// nothing more comes it returns why.
	take(ctx context.Context, b *Batch, limit int) error

	// settle tells the broker what became of the delivery with that tag, or with
	// multiple of all up to it. Consumer.mu is held.
	settle(how settlement, tag uint64, multiple bool) error
	// finished hears that all of a batch is settled, and partly that some of it
	// is. Consumer.mu is held.
	finished(b *Batch)
	partly(b *Batch)

	// stop makes the broker send no more; take returns what has come, and then
	// ErrClosed. leave makes sure that the broker knows what was settled, and
	// drops what has come and was not taken; nobody takes meanwhile.
	stop(ctx context.Context) error
	leave(ctx context.Context) error
	close(ctx context.Context) // says goodbye to the broker
	lost() bool                // nothing can be said to the broker any more

	done() <-chan struct{} // closed when nothing more comes
	err() error            // why, in the words of this package; nil until then
	// unknown says, for an error, what is known of n deliveries that were handed
	// out and not settled.
	unknown(n int) string

	updateSecret(ctx context.Context, secret, reason string) error
}
