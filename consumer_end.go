package thump

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// consumerEnd is how far a Consumer is with its end: stopped, closed, done.
type consumerEnd struct {
	// life is what the stopping and closing may wait for. It ends when a Close gives
	// up, with why. It is there, as the channels below are, from the first Stop on:
	// see begin.
	life      context.Context
	cut       context.CancelCauseFunc
	beginning sync.Once

	stopping sync.Once
	asked    atomic.Bool   // Stop was called
	said     atomic.Bool   // Receive or Batches has returned why it ended
	stopped  chan struct{} // the broker sends no more; stopErr is why it could not be told
	stopErr  error

	release atomic.Bool // ReleaseAll was called
	freeing sync.Once
	freed   chan struct{} // what was held is on its way back; freeErr is why it is not
	freeErr error

	closing sync.Once
	result  error         // what Close returns
	flushed chan struct{} // result is known
	closed  chan struct{} // and the connections are closed

	done chan struct{} // nothing more is handed out or called

	mu     sync.Mutex
	took   sync.Cond // taking is false
	taking bool
	over   bool // a Close has given up: what is being taken comes too late
}

func (e *consumerEnd) open(ctx context.Context) {
	e.life = context.WithoutCancel(ctx)
	e.done = make(chan struct{})
	e.took.L = &e.mu
}

// begin makes ready for the end, once: many consumers live long before that.
func (e *consumerEnd) begin() {
	e.beginning.Do(func() {
		e.life, e.cut = context.WithCancelCause(e.life)
		e.stopped, e.freed = make(chan struct{}), make(chan struct{})
		e.flushed, e.closed = make(chan struct{}), make(chan struct{})
	})
}

func (e *consumerEnd) beginTake() {
	e.mu.Lock()
	e.taking = true
	e.mu.Unlock()
}

// endTake reports whether what was taken is not to be handed out: a Close has returned
// meanwhile.
func (e *consumerEnd) endTake() (tooLate bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.taking = false
	e.took.Broadcast()
	return e.over
}

// why is the error of the Close that gave up.
func (e *consumerEnd) why() error { return context.Cause(e.life) }

// giveUp ends what the end waits for.
func (e *consumerEnd) giveUp(why error) {
	e.cut(why)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
}

// lastTake waits until nothing is being taken. It is for when the next take would be
// in vain: what was taken before counts as handed out.
func (e *consumerEnd) lastTake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.taking {
		e.took.Wait()
	}
}

// Stop takes no more: a loop over Batches ends after the batch it has, Receive returns
// ErrClosed, and what was not handed out goes back to the queue at once, as if by
// Release: with one frame where nothing is unsettled, and otherwise with one for each
// message, which a classic queue may need half a minute for if they are 20,000. What was
// handed out can still be settled. Close is still needed.
//
// With AutoAck nothing can go back: the broker sends no more, and the loop ends once
// it has taken what has come. A stream keeps its messages: the next consumer of that
// Name gets what was not handed out. A single active consumer makes way for the next
// one of its group once everything that was handed out is acked; with ManualStore, at
// Close.
//
// Stop does not wait; a Flush after it does, until the broker has stopped too. Stop may be
// called anywhere, any number of times: inside the loop, and in callbacks.
func (c *Consumer) Stop() {
	if c.engine == nil {
		return
	}
	c.end.stopping.Do(func() {
		c.end.begin()
		c.engine.halt()
		c.end.asked.Store(true)
		go c.stop()
	})
}

// ReleaseAll is Stop, and gives back to the queue also what was handed out and is not
// settled, with one frame: that is much quicker for a classic queue that gets many back than
// to release them one batch after another. They are delivered again in their order, and
// before what is still in the queue; but a quorum queue before RabbitMQ 4.3 without a delivery
// limit delivers them after that. It waits until they are on their way to the broker, or ctx
// ends, which does not call them back; Flush and Close wait until the broker has read it. What is
// given back counts as Release says, and can't be settled any more (ErrSettled).
//
// The error is ErrAutoAck with AutoAck, and a stream has nothing to be given back, which is an
// error, too; neither stops the consumer.
func (c *Consumer) ReleaseAll(ctx context.Context) error {
	var err error
	switch {
	case c.engine == nil:
		return errNoConsumer
	case c.cfg.From.streams():
		err = errNothingBack
	case c.cfg.AutoAck:
		err = ErrAutoAck
	default:
		c.end.release.Store(true)
		c.Stop()
		c.end.freeing.Do(func() { go c.free() })
		err = c.awaitStop(ctx)
	}
	if err != nil {
		return fmt.Errorf("thump: giving all back that came from %v: %w", c.cfg.From, err)
	}
	return nil
}

// free gives back what was handed out, unless stop has done that already: it may have been on
// its way when ReleaseAll was called.
func (c *Consumer) free() {
	defer close(c.end.freed)
	<-c.end.stopped
	if c.end.freeErr = c.end.stopErr; c.end.freeErr == nil {
		c.end.freeErr = c.engine.release()
	}
}

// awaitStop waits, where Stop was called, until the broker knows, and where ReleaseAll was,
// until all is on its way back.
func (c *Consumer) awaitStop(ctx context.Context) error {
	if !c.end.asked.Load() {
		return nil
	}
	select {
	case <-c.end.stopped:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !c.end.release.Load() {
		return c.end.stopErr
	}
	select {
	case <-c.end.freed:
		return c.end.freeErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stop tells the broker.
func (c *Consumer) stop() {
	defer close(c.end.stopped)
	if !c.cfg.AutoAck { // with it, a loop may go on
		c.end.lastTake()
	}
	c.end.stopErr = c.engine.stop(c.end.life, c.end.release.Load())
}

// Close is Stop; then it waits until everything that was handed out is settled, by
// whichever goroutine, makes sure that the broker has read that, and closes the
// connection. With AutoAck, and for a stream without a Name, there is nothing to wait
// for. With AutoAck, what has come and was not taken is lost: to have it, call Stop
// first, and Close once the loop has ended.
//
// For a batch that nobody settles Close waits until ctx ends: give it one that ends.
// Then the connection is dropped and the error says how many deliveries were not
// settled; they go back to the queue. With a ctx that has ended already, Close does that at
// once and says nothing to the broker before. No callback and no handler can hold Close up for
// longer. Inside a loop over Batches, settle the batch first. If the consumer had failed,
// Close says why, unless Receive or Batches has. Where it has no connection, it does not
// wait for one, and Close says why that was lost. When the ctx of one call ends, all give
// up. Every call returns nil, or an error with the same cause.
//
// A quorum queue applies an ack shortly after the broker has read it: on RabbitMQ 3.10 a
// message that was acked right before Close was seen to come again.
func (c *Consumer) Close(ctx context.Context) error {
	if c.engine == nil {
		return errNoConsumer
	}
	if ctx.Err() != nil {
		c.end.begin()
		c.end.giveUp(ctx.Err()) // so that Stop tells the broker nothing
	}
	c.Stop()
	c.engine.drain()
	c.end.closing.Do(func() { go c.close() })
	select {
	case <-c.end.closed:
		return c.end.result
	case <-ctx.Done():
		c.end.giveUp(ctx.Err())
	case <-c.end.life.Done(): // another Close has given up
	}
	c.engine.drop()
	c.client.forget(c)
	select {
	case <-c.end.flushed: // only the goodbye was missing
		return c.end.result
	default:
		return c.unfinished(c.end.why())
	}
}

// close does what Close says, within its life.
func (c *Consumer) close() {
	c.end.result = c.finish()
	close(c.end.flushed)
	c.engine.close(c.end.life)
	c.end.lastTake() // with AutoAck, a loop may have gone on
	c.client.forget(c)
	close(c.end.closed)
}

// finish waits until everything is settled and the broker knows.
func (c *Consumer) finish() error {
	ctx := c.end.life
	<-c.end.stopped // stop ends with life
	err := c.end.stopErr
	if err == nil {
		c.end.lastTake()
		err = c.engine.settled(ctx)
	}
	if err == nil && !c.cfg.Stream.ManualStore {
		err = c.engine.flush(ctx)
	}
	switch {
	case err == nil, c.engine.lost() && c.end.said.Load():
		return nil
	case ctx.Err() != nil:
		return c.unfinished(c.end.why())
	}
	return c.explain(err)
}

// unfinished says what a Close that was cut short leaves.
func (c *Consumer) unfinished(why error) error {
	return fmt.Errorf("thump: closing the consumer of %v: %w; %s", c.cfg.From, why, c.engine.unknown())
}

// leave is for a consumer that has failed and has said so, when nothing can be settled any
// more: its Close would have nothing to do or to say.
func (c *Consumer) leave() {
	c.engine.close(context.Background()) // which bounds it
	c.client.forget(c)
}

// ended closes done: the engine takes nothing more, and no callback runs.
func (c *Consumer) ended() {
	c.end.lastTake()
	close(c.end.done)
}

// Done is closed when the consumer has ended, nothing more is handed out, and no callback
// runs any more: after Stop or Close, or a failure after which it does not come back. A
// queue's consumer with AutoAck hands out what has come first, if it is asked.
func (c *Consumer) Done() <-chan struct{} {
	if c.engine == nil {
		done := make(chan struct{})
		close(done)
		return done
	}
	return c.end.done
}

// Err is nil while the consumer lives, then why it ended: ErrClosed after Stop or
// Close, ErrEnd after a stream's Until.
func (c *Consumer) Err() error {
	if c.engine == nil {
		return errNoConsumer
	}
	return c.engine.err()
}
