package dump

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thumpmq/thump"
)

const (
	// prefetchMost is how many deliveries one consumer may hold. For more of them there is
	// another consumer after it, which gets nothing before the first one holds all it may, so
	// that the order is that of the queue. Without a limit a quorum queue sends only 2,000.
	prefetchMost = 65535
	// prefetchFirst is the limit of the first one, and prefetchBytes about how much each of the
	// others may hold: what has been sent must be received before it is given back in order.
	prefetchFirst = 4096
	prefetchBytes = 64 << 20
	// holdersMost bounds the connections of one Browse.
	holdersMost = 500
	// batchMost is how many deliveries one Receive may return.
	batchMost = 1024

	// idlePause is how long nothing comes before the queue is asked why.
	idlePause = time.Second
	// idleMost is how long nothing may come from a queue that has messages.
	idleMost = 20 * time.Second
)

// ErrEnough is for Each of Browsing and Reading: it ends the reading in order, before all is
// read, and is no error of Browse or ReadStream.
var ErrEnough = errors.New("no more is wanted")

// Browsing says what to read of a queue.
type Browsing struct {
	Queue string
	// Most is how many messages to read; 0 for all that are ready at the start.
	Most uint64
	// Each is called with each message, in the order of the queue. The delivery is valid
	// during the call and must not be settled. An error ends the reading.
	Each func(*thump.Delivery) error
	// Interrupted, where set, ends the reading in order once it is closed.
	Interrupted <-chan struct{}
}

// Browse reads messages from the front of a queue, and then gives all of them back, in
// order; it acks none. It returns how many were read. Meanwhile nobody else gets them. When
// the process or a connection dies, the broker gives them back by itself.
//
// What that changes: the messages are marked as redelivered. A quorum queue counts, before
// RabbitMQ 4.3, a delivery of each. Order is kept as long as nobody else consumes from the
// queue, and, where connections die, within 65,535 messages.
//
// With an error not all was read: ErrInterrupted, that of Each or of ctx, or why nothing more
// came. All that was read was given back then too. When ctx ends, the connections are dropped
// at once.
func Browse(ctx context.Context, client *thump.Client, b Browsing) (read uint64, err error) {
	info, err := client.InspectQueue(ctx, b.Queue)
	if err != nil {
		return 0, err
	}
	working, cancel := unlessInterrupted(ctx, b.Interrupted, 0)
	defer cancel()
	r := browser{client: client, Browsing: b, shared: info.Consumers > 0}
	if err = r.readAll(working, uint64(info.Messages)); err == nil {
		err = r.lost()
	}
	switch {
	case working.Err() != nil:
		err = context.Cause(working)
	case errors.Is(err, ErrEnough):
		err = nil
	}
	return r.read, errors.Join(err, r.giveBack(ctx))
}

// browser is a Browse at work.
type browser struct {
	client *thump.Client
	Browsing

	holders []*holder
	read    uint64
	bytes   uint64 // of the bodies that were read
	empty   bool   // the queue had less than was expected
	shared  bool   // others consume from it
}

// readAll reads all that is to be read of a queue that says how many messages are ready.
func (b *browser) readAll(ctx context.Context, ready uint64) error {
	if ready == 0 {
		// It may be empty, or a quorum queue that was too busy to answer (see ready): what a
		// consumer gets tells.
		if err := b.readWith(ctx, 1); err != nil || b.empty {
			return err
		}
		var err error
		if ready, err = b.ready(ctx); err != nil {
			return err
		}
		ready++
	}
	if b.Most > 0 {
		ready = min(ready, b.Most)
	}
	if ready > holdersMost*prefetchMost {
		return fmt.Errorf("queue %q has %d messages, more than the %d that can be held to be given back", b.Queue, ready, holdersMost*prefetchMost)
	}
	for !b.empty && b.read < ready {
		if err := b.readWith(ctx, b.prefetch(ready-b.read)); err != nil {
			return err
		}
	}
	return nil
}

// ready asks how many messages of the queue are ready, while there is a consumer: a quorum
// queue that is too busy to answer within 250 ms has no messages and no consumers, says
// RabbitMQ (rabbit_quorum_queue.erl, stat).
func (b *browser) ready(ctx context.Context) (uint64, error) {
	for {
		info, err := b.client.InspectQueue(ctx, b.Queue)
		if err != nil || info.Consumers > 0 {
			b.shared = b.shared || info.Consumers > len(b.holders)
			return uint64(info.Messages), err
		}
		select {
		case <-time.After(backPause):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// prefetch is how many messages the next consumer takes, of those that are left.
func (b *browser) prefetch(left uint64) uint64 {
	n := uint64(prefetchFirst)
	if b.read > 0 {
		n = prefetchBytes / max(1, b.bytes/b.read)
	}
	n = max(n, left/uint64(max(1, holdersMost-len(b.holders)))+1)
	return min(n, left, prefetchMost)
}

// readWith reads the next messages, with a consumer of their own.
func (b *browser) readWith(ctx context.Context, prefetch uint64) error {
	h, err := b.hold(ctx, prefetch)
	if err != nil {
		return err
	}
	for h.held < prefetch {
		if isClosed(b.Interrupted) {
			return ErrInterrupted
		}
		batch, err := b.receive(ctx, h)
		if err != nil || b.empty {
			return err
		}
		for i := range batch.Deliveries {
			d := &batch.Deliveries[i]
			if err := b.Each(d); err != nil {
				return err
			}
			b.read++
			b.bytes += uint64(len(d.Body))
		}
	}
	return nil
}

// hold makes a consumer that holds what it is sent.
func (b *browser) hold(ctx context.Context, prefetch uint64) (*holder, error) {
	consumer, err := b.client.Consumer(ctx, thump.ConsumerConfig{
		From: thump.Queue(b.Queue), Prefetch: int(prefetch), MaxBatch: batchMost, ReuseBuffers: true, Tag: "thump-browse",
	})
	if err != nil {
		return nil, err
	}
	h := &holder{consumer: consumer, prefetch: prefetch}
	b.holders = append(b.holders, h)
	return h, nil
}

// lost is an error if one of the consumers has lost its connection: the broker has sent what
// that held to the next one, or will.
func (b *browser) lost() error {
	for _, h := range b.holders {
		if h.consumer.Stats().Reconnects > 0 {
			return fmt.Errorf("reading queue %q: a connection was lost after %d messages, and the broker has taken back what was read over it", b.Queue, b.read)
		}
	}
	return nil
}

// receive returns the next batch, which h holds. It sets empty where the queue has no more: it
// has none ready, and none on its way, which would come before the answer to a flush.
func (b *browser) receive(ctx context.Context, h *holder) (*thump.Batch, error) {
	for since, flushed := time.Now(), false; ; {
		batch, err := h.receive(ctx)
		lost := b.lost()
		switch {
		case lost != nil:
			return nil, lost
		case err == nil:
			return batch, nil
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return nil, err
		}
		ready, err := b.ready(ctx)
		switch {
		case err != nil:
			return nil, err
		case ready == 0 && flushed:
			b.empty, h.empty = true, true
			return nil, nil
		case ready == 0:
			if flushed, err = h.flush(ctx); err != nil {
				return nil, err
			}
		case time.Since(since) > idleMost:
			return nil, fmt.Errorf("reading queue %q: it has %d messages, and has sent none of them for %v, after %d: another consumer may be its single active one", b.Queue, ready, idleMost, b.read)
		}
	}
}
