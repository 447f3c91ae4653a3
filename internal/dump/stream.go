package dump

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/thumpmq/thump"
)

const (
	// chunkMost is more than there are in a chunk, and chunkBytes less than is uncompressed
	// at a time: a batch with less of both is a whole chunk.
	chunkMost  = 1 << 20
	chunkBytes = 32 << 20

	// lastChunkTimeout is how long the newest chunk may take to come. A stream may hold
	// nothing but offsets of consumers, and RabbitMQ 3.10 can't say that it is empty.
	lastChunkTimeout = 10 * time.Second

	// endsAtOnce is how many streams are asked for their ends at a time.
	endsAtOnce = 16
)

// Begin is where in a stream to begin.
type Begin struct {
	Start thump.Start
	// Offset or Time are that of Start, where it is one of those; else zero.
	Offset uint64
	Time   time.Time
}

// End is the end of a stream.
type End struct {
	Offset   uint64    // of its last message
	StoredAt time.Time // when the chunk of that was stored
}

// before reports whether nothing is stored from b on.
func (end *End) before(b *Begin) bool {
	return b.Offset > end.Offset || !b.Time.IsZero() && b.Time.UnixMilli() > end.StoredAt.UnixMilli()
}

// Reading says what to read of a stream.
type Reading struct {
	Stream string
	From   Begin
	// End is where to end; see StreamEnd.
	End End
	// Until, where set, ends the reading with what was stored up to then.
	Until time.Time
	// Each is called with each message. Both are valid during the call. An error ends the
	// reading.
	Each func(*thump.Batch, *thump.Delivery) error
	// Interrupted, where set, ends the reading in order once it is closed.
	Interrupted <-chan struct{}
}

// StreamEnd returns where the last message of a stream is; found is false where there is none.
func StreamEnd(ctx context.Context, client *thump.Client, stream string) (end End, found bool, err error) {
	info, err := client.InspectStream(ctx, stream)
	if err != nil || info.Known && info.Empty {
		return End{}, false, err
	}
	consumer, err := client.Consumer(ctx, thump.ConsumerConfig{
		From: thump.Stream(stream), MaxBatch: chunkMost, ReuseBuffers: true, AutoAck: true,
		Stream: thump.StreamConsuming{Start: thump.FromLastChunk(), Credit: 2},
	})
	if err != nil {
		return End{}, false, err
	}
	defer closeReader(ctx, consumer)
	waiting, cancel := context.WithTimeout(ctx, lastChunkTimeout)
	defer cancel()
	for {
		batch, err := consumer.Receive(waiting)
		switch {
		case err != nil && ctx.Err() == nil && waiting.Err() != nil:
			return end, found, nil
		case err != nil:
			return End{}, false, err
		}
		bytes := 0
		for i := range batch.Deliveries {
			bytes += len(batch.Deliveries[i].Body)
		}
		end, found = End{batch.Deliveries[len(batch.Deliveries)-1].Offset, batch.StoredAt}, true
		if bytes < chunkBytes {
			return end, true, nil
		}
		cancel() // what is left of the chunk is here already; it is not waited for more
		waiting, cancel = context.WithTimeout(ctx, idlePause)
		defer cancel()
	}
}

// StreamEnds is StreamEnd of several streams, as near to one instant as may be; nil where there is no
// message. It ends with ErrInterrupted once interrupted, which may be nil, is closed.
func StreamEnds(ctx context.Context, client *thump.Client, streams []string, interrupted <-chan struct{}) ([]*End, error) {
	ctx, cancel := unlessInterrupted(ctx, interrupted, 0)
	defer cancel()
	ends, errs := make([]*End, len(streams)), make([]error, len(streams))
	var asking sync.WaitGroup
	turns := make(chan struct{}, endsAtOnce)
	for i, stream := range streams {
		turns <- struct{}{}
		asking.Go(func() {
			defer func() { <-turns }()
			end, found, err := StreamEnd(ctx, client, stream)
			if errs[i] = err; found {
				ends[i] = &end
			}
		})
	}
	asking.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return ends, errors.Join(errs...)
}

// ReadStream reads a part of a stream, which changes nothing there, and returns how many
// messages it had. With an error that is not all: ErrInterrupted, that of Each or of ctx, or
// why nothing more came.
func ReadStream(ctx context.Context, client *thump.Client, r Reading) (read uint64, err error) {
	if r.End.before(&r.From) {
		return 0, nil // waiting for it would be in vain
	}
	consumer, err := client.Consumer(ctx, thump.ConsumerConfig{
		From: thump.Stream(r.Stream), MaxBatch: batchMost, ReuseBuffers: true, AutoAck: true,
		Stream: thump.StreamConsuming{Start: r.From.Start},
	})
	if err != nil {
		return 0, err
	}
	defer closeReader(ctx, consumer)
	for {
		if isClosed(r.Interrupted) {
			return read, ErrInterrupted
		}
		batch, err := r.receive(ctx, consumer)
		if err != nil {
			return read, err
		}
		if !r.Until.IsZero() && batch.StoredAt.After(r.Until) {
			return read, nil
		}
		for i := range batch.Deliveries {
			d := &batch.Deliveries[i]
			if d.Offset > r.End.Offset {
				return read, nil
			}
			if err := r.Each(batch, d); errors.Is(err, ErrEnough) {
				return read + 1, nil
			} else if err != nil {
				return read, err
			}
			read++
			if d.Offset == r.End.Offset {
				return read, nil
			}
		}
	}
}

// receive returns the next batch.
func (r *Reading) receive(ctx context.Context, consumer *thump.Consumer) (*thump.Batch, error) {
	for since := time.Now(); ; {
		waiting, cancel := context.WithTimeout(ctx, idlePause)
		batch, err := consumer.Receive(waiting)
		cancel()
		switch {
		case err == nil:
			return batch, nil
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return nil, err
		case time.Since(since) > idleMost:
			return nil, fmt.Errorf("reading stream %q: nothing has come for %v, and it reaches to offset %d: %w", r.Stream, idleMost, r.End.Offset, err)
		}
		if isClosed(r.Interrupted) {
			return nil, ErrInterrupted
		}
	}
}

// closeReader closes a consumer that has nothing to settle.
func closeReader(ctx context.Context, consumer *thump.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), idlePause)
	defer cancel()
	_ = consumer.Close(ctx) // what was read is read
}
