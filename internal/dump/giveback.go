package dump

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thumpmq/thump"
)

const (
	// backTimeout bounds the wait for what a dropped connection gives back, and backPause is
	// how often it is looked.
	backTimeout = 30 * time.Second
	backPause   = 10 * time.Millisecond
)

// Counts reports whether a quorum queue of this broker counts a delivery for each message
// that was read and given back. Where it has a delivery limit, it drops or dead-letters what
// was delivered more often: RabbitMQ 4.0 to 4.2 has one of 20 by default.
func Counts(server thump.ServerInfo) bool { return !atLeast(server, 4, 3) }

// atLeast reports whether the broker has this version or a later one.
func atLeast(server thump.ServerInfo, major, minor int) bool {
	var its [2]int
	_, err := fmt.Sscanf(server.Version, "%d.%d", &its[0], &its[1])
	return err == nil && (its[0] > major || its[0] == major && its[1] >= minor)
}

// holder is one consumer of a Browse, and what it holds.
type holder struct {
	consumer *thump.Consumer
	prefetch uint64
	held     uint64
	batches  []thump.Batch // without their deliveries: they are there to be released
	empty    bool          // the queue had no more for it
}

// receive returns the next batch that comes within idlePause, and holds it.
func (h *holder) receive(ctx context.Context) (*thump.Batch, error) {
	ctx, cancel := context.WithTimeout(ctx, idlePause)
	defer cancel()
	batch, err := h.consumer.Receive(ctx)
	if err != nil {
		return nil, err
	}
	kept := *batch
	kept.Deliveries = nil
	h.batches = append(h.batches, kept)
	h.held += uint64(len(batch.Deliveries))
	return batch, nil
}

// giveBack gives everything back in order.
func (b *browser) giveBack(ctx context.Context) error {
	if len(b.holders) == 0 {
		return nil
	}
	giveBack, giveBackOne := b.finish, (*holder).release
	if Counts(b.client.Server()) {
		giveBack, giveBackOne = b.stopEmpty, (*holder).drop
	}
	ready, err := b.ready(ctx)
	err = errors.Join(err, giveBack(ctx))
	for _, h := range b.holders {
		err = errors.Join(err, giveBackOne(h, ctx))
		ready += h.held
		err = errors.Join(err, b.await(ctx, ready))
	}
	if err != nil {
		return fmt.Errorf("giving back what was read of queue %q, which the broker does by itself once the connections have ended: %w", b.Queue, err)
	}
	return nil
}

// await waits until so many messages of the queue are ready: what one connection gives back
// may overtake what another one did. It waits for none that others consume.
func (b *browser) await(ctx context.Context, ready uint64) error {
	waiting, cancel := context.WithTimeout(ctx, backTimeout)
	defer cancel()
	for !b.shared {
		now, err := b.client.InspectQueue(waiting, b.Queue)
		switch {
		case waiting.Err() != nil:
			b.shared = true // somebody has taken some of them
			return ctx.Err()
		case err != nil || now.Messages >= int(ready):
			return err
		}
		select {
		case <-time.After(backPause):
		case <-waiting.Done():
		}
	}
	return ctx.Err()
}

// finish ends the consumers before the first one releases what it holds. A queue puts what
// comes back where it was, or behind what came back before. So all that was sent must have
// come by then; and a consumer that has room would get what another releases.
func (b *browser) finish(ctx context.Context) error {
	var errs []error
	for _, h := range b.holders {
		for h.held < h.prefetch && !h.empty {
			if _, err := h.receive(ctx); err != nil {
				break // nothing more comes
			}
		}
		h.consumer.Stop()
		errs = append(errs, h.consumer.Flush(ctx))
	}
	return errors.Join(errs...)
}

// stopEmpty ends the consumers that have room, and would get what others give back.
func (b *browser) stopEmpty(ctx context.Context) error {
	var errs []error
	for _, h := range b.holders {
		if h.empty {
			h.consumer.Stop()
			errs = append(errs, h.consumer.Flush(ctx))
		}
	}
	return errors.Join(errs...)
}

// release gives back what a consumer holds, uncounted.
func (h *holder) release(ctx context.Context) error {
	var errs []error
	for i := range h.batches {
		errs = append(errs, h.batches[i].Release())
	}
	return errors.Join(append(errs, h.consumer.Close(ctx))...)
}

// drop drops the connection. Before RabbitMQ 4.3 a quorum queue that has no delivery limit
// puts what is released at its end, and only what a lost consumer held back at its
// beginning; both count a delivery.
func (h *holder) drop(ctx context.Context) error {
	ended, end := context.WithCancel(ctx)
	end()
	_ = h.consumer.Close(ended) // it says that nothing was settled
	return nil
}
