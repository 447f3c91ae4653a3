package dump

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/version"
)

const (
	// backTimeout bounds the wait for what a connection gives back, and backPause is how often
	// it is looked.
	backTimeout = 30 * time.Second
	backPause   = 10 * time.Millisecond
	// goodbyeTimeout bounds the end of a connection.
	goodbyeTimeout = 5 * time.Second
)

// Counts reports whether a quorum queue of this broker counts a delivery for each message
// that was read and given back. Where it has a delivery limit, it drops or dead-letters what
// was delivered more often: RabbitMQ 4.0 to 4.2 has one of 20 by default.
func Counts(server thump.ServerInfo) bool { return !version.AtLeast(server.Version, 4, 3) }

// holder is one consumer of a Browse, and what it holds.
type holder struct {
	consumer *thump.Consumer
	prefetch uint64
	held     uint64
	empty    bool // the queue had no more for it
}

// receive returns the next batch that comes within idlePause, and holds it.
func (h *holder) receive(ctx context.Context) (*thump.Batch, error) {
	ctx, cancel := context.WithTimeout(ctx, idlePause)
	defer cancel()
	batch, err := h.consumer.Receive(ctx)
	if err != nil {
		return nil, err
	}
	h.held += uint64(len(batch.Deliveries))
	return batch, nil
}

// flush waits until all has come that the queue had sent, and says whether it has: what has come
// and was not received may be more than a consumer keeps.
func (h *holder) flush(ctx context.Context) (bool, error) {
	flushing, cancel := context.WithTimeout(ctx, idlePause)
	defer cancel()
	err := h.consumer.Flush(flushing)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return false, nil
	}
	return err == nil, err
}

// giveBack gives everything back in order.
func (b *browser) giveBack(ctx context.Context) error {
	if len(b.holders) == 0 {
		return nil
	}
	give := (*browser).release
	if Counts(b.client.Server()) {
		give = (*browser).drop
	}
	err := b.finish(ctx)
	if err == nil {
		var ready uint64
		if ready, err = b.ready(ctx); err == nil {
			err = give(b, ctx, ready)
		}
	}
	for _, h := range b.holders {
		h.leave(ctx)
	}
	if err != nil {
		return fmt.Errorf("giving back what was read of queue %q, which the broker does by itself once the connections have ended: %w", b.Queue, err)
	}
	return nil
}

// finish receives what the broker has sent or is about to send: it must all have come before
// it is given back in order.
func (b *browser) finish(ctx context.Context) error {
	for _, h := range b.holders {
		for h.held < h.prefetch && !h.empty {
			if _, err := b.receive(ctx, h); err != nil {
				return err
			}
		}
	}
	return nil
}

// release releases what the consumers hold, the first one's first: a queue puts what comes
// back where it was, or behind what came back before. ready is how many messages are ready
// at the beginning. The connections must stay until the queue has what they release: it would
// count as failed what it learns by their end.
func (b *browser) release(ctx context.Context, ready uint64) error {
	for _, h := range b.holders {
		if err := h.stop(ctx); err != nil {
			return err
		}
	}
	for _, h := range b.holders {
		ready += h.held
		if err := errors.Join(h.consumer.ReleaseAll(ctx), h.consumer.Flush(ctx), b.await(ctx, ready)); err != nil {
			return err
		}
	}
	return nil
}

// drop drops the connections, the first consumer's first. Before RabbitMQ 4.3 a quorum queue
// that has no delivery limit puts what is released at its end, and only what a lost consumer
// held back at its beginning; both count a delivery. To a classic queue both are the same.
func (b *browser) drop(ctx context.Context, ready uint64) error {
	for _, h := range b.holders {
		if !h.empty { // it holds all it may
			continue
		}
		if err := h.stop(ctx); err != nil {
			return err
		}
	}
	for _, h := range b.holders {
		h.drop(ctx)
		ready += h.held
		if err := b.await(ctx, ready); err != nil {
			return err
		}
	}
	return nil
}

// stop keeps what another consumer gives back from this one.
func (h *holder) stop(ctx context.Context) error {
	h.consumer.Stop()
	return h.consumer.Flush(ctx)
}

// drop drops the connection: so does a Close whose context has ended.
func (h *holder) drop(ctx context.Context) {
	ended, end := context.WithCancel(ctx)
	end()
	h.leave(ended)
}

// leave closes the consumer.
func (h *holder) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeTimeout)
	defer cancel()
	_ = h.consumer.Close(ctx) // it says that deliveries are not settled, where that is so
}

// await waits until so many messages of the queue are ready: what one connection gives back
// may overtake what another one did. Where others consume that may never be: it gives up once
// the number has not changed for a while.
func (b *browser) await(ctx context.Context, ready uint64) error {
	timeout := backTimeout
	if b.shared {
		timeout = idlePause
	}
	last, since := -1, time.Now()
	for {
		now, err := b.client.InspectQueue(ctx, b.Queue)
		switch {
		case err != nil || now.Messages >= int(ready):
			return err
		case now.Messages > last:
			last, since = now.Messages, time.Now()
		case time.Since(since) > timeout:
			b.shared = true // somebody takes some of them
			return nil
		}
		select {
		case <-time.After(backPause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
