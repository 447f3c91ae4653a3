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
	giveBack := b.release
	if Counts(b.client.Server()) {
		giveBack = b.drop
	}
	if err := giveBack(ctx); err != nil {
		return fmt.Errorf("giving back what was read of queue %q, which the broker does by itself once the connections have ended: %w", b.Queue, err)
	}
	return nil
}

// release releases what the consumers hold, the first one's first: a queue puts what comes
// back where it was, or behind what came back before. So all that was sent must have come by
// then, and all consumers have stopped: one that has room would get what another releases.
func (b *browser) release(ctx context.Context) error {
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
	for _, h := range b.holders {
		for i := range h.batches {
			errs = append(errs, h.batches[i].Release())
		}
		errs = append(errs, h.consumer.Close(ctx))
	}
	return errors.Join(errs...)
}

// drop drops the connections, the first consumer's first. Before RabbitMQ 4.3 a quorum queue
// that has no delivery limit puts what is released at its end, and only what a lost
// consumer held back at its beginning; both count a delivery.
func (b *browser) drop(ctx context.Context) error {
	var errs []error
	for _, h := range b.holders {
		if h.empty { // it has room, and would get what another gives back
			h.consumer.Stop()
			errs = append(errs, h.consumer.Flush(ctx))
		}
	}
	for _, h := range b.holders {
		errs = append(errs, b.dropOne(ctx, h))
	}
	return errors.Join(errs...)
}

// dropOne drops a connection and waits until the queue has seen that.
func (b *browser) dropOne(ctx context.Context, h *holder) error {
	ctx, cancel := context.WithTimeout(ctx, backTimeout)
	defer cancel()
	before, err := b.client.InspectQueue(ctx, b.Queue)
	ended, end := context.WithCancel(ctx)
	end()
	_ = h.consumer.Close(ended) // it says that nothing was settled
	for err == nil {
		var now thump.QueueInfo
		now, err = b.client.InspectQueue(ctx, b.Queue)
		if err == nil && (now.Messages >= before.Messages+int(h.held) || now.Consumers < before.Consumers) {
			break
		}
		select {
		case <-time.After(backPause):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return err
}
