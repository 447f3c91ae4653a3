package thump

import "context"

// publishEngine is what a Publisher needs of the protocol it speaks: amqp_publisher.go,
// stream_publisher.go and super_publisher.go have one each. What is in flight is
// in the Publisher's window. When an engine ends, it has resolved what it carries
// of that, and has failed the window with its reason. It is safe for concurrent
// use.
type publishEngine interface {
	// publish accepts as many of msgs as there is room for, at least one, and
	// waits for that. It returns how many it accepted. watches has who waits for each.
	publish(ctx context.Context, msgs []Message, watches watches) (int, error)
	// barrier waits, without confirms, until the broker has read what was published.
	barrier(ctx context.Context) error
	blocked() string

	done() <-chan struct{} // closed when the engine has ended
	err() error            // why, in the words of this package; nil until then

	// away adds to the error of whoever waited that there is no connection, while that is
	// so; otherwise it returns err.
	away(err error) error

	// bytes are those of the bodies so far, and of the frames that carried them, where that
	// is known.
	bytes() (bodies, wire uint64)
	reconnects() uint64 // so far

	// updateSecret gives it to the connections that live.
	updateSecret(ctx context.Context, secret, reason string) error
	close(ctx context.Context) // says goodbye to the broker
}

// consumeEngine is what a Consumer needs of the protocol it speaks: amqp_consumer.go
// and stream_consumer.go have one each. It calls its onEnd once, when nothing more is taken
// and no callback runs; that waits for the end of a take. take and watch are called by one goroutine
// at a time, the others by any. What has a ctx may wait for the broker; none of it
// waits for user code.
type consumeEngine interface {
	// watch lets the end of ctx end a take that waits, until stop is called.
	watch(ctx context.Context) (stop func() bool)
	// take waits for deliveries, appends at most limit of them to the batch, with
	// consecutive tags, and notes what the batch is settled through. With Poll it asks for one,
	// and appends none where the queue is empty. With ReuseBuffers
	// those of the batch before are no longer valid. When nothing more comes, or what has
	// come could not be settled, it returns why; when ctx has ended, its error.
	take(ctx context.Context, b *Batch, limit int) error

	// halt lets take return ErrClosed from now on; where deliveries would be lost
	// with that, once it has taken what has come.
	halt()
	// drain, after halt, says that perhaps nobody takes any more: what comes and has no
	// room is dropped, instead of holding up the broker's answers.
	drain()
	// stop, after halt, makes the broker send no more, and gives back what was not
	// taken; with release, also what was handed out and is not settled.
	stop(ctx context.Context, release bool) error
	// release, after stop, gives back what was handed out and is not settled.
	release() error
	// settled waits, after stop, until what was handed out is settled.
	settled(ctx context.Context) error
	// flush makes sure that the broker has read what was settled.
	flush(ctx context.Context) error
	close(ctx context.Context) // says goodbye to the broker
	drop()                     // ends the connections without a word
	lost() bool                // nothing can be settled any more

	err() error // why it ended, in the words of this package; nil while more may come
	// unknown says, for an error, what is known of the deliveries that were handed out
	// and not settled.
	unknown() string
	unsettled() int     // how many those are
	reconnects() uint64 // so far

	// updateSecret gives it to the connections that live.
	updateSecret(ctx context.Context, secret, reason string) error
}
