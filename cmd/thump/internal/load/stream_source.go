package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thumpmq/thump"
)

// streamSource is a stream or super stream as the source of a run's messages. The
// run is done when every consumer has read to the end of the stream.
type streamSource struct {
	place      Place
	fresh      bool // the stream holds nothing but what this run publishes
	partitions func(context.Context, *thump.Client) ([]string, error)
	client     *thump.Client

	streams []string // the stream, or the super stream's partitions
	// begins is, for each of the streams, an offset below which nothing is this
	// run's.
	begins map[string]uint64
}

// open finds out which streams there are, and how long they are already.
func (s *streamSource) open(ctx context.Context) (err error) {
	s.begins = make(map[string]uint64)
	s.streams, err = s.partitions(ctx, s.client)
	if err != nil || s.fresh {
		return err
	}
	for _, stream := range s.streams {
		newest, err := newestChunk(ctx, s.client, stream, false)
		if err != nil {
			return err
		}
		s.begins[stream] = newest.end
	}
	return nil
}

// consumersFirst: only a consumer that was there before the first message knows
// where this run's messages begin in a stream that holds others.
func (s *streamSource) consumersFirst() bool { return !s.fresh }

// forgets: the offset tells.
func (*streamSource) forgets() bool { return false }

func (s *streamSource) consumer(i, of int) thump.ConsumerConfig {
	cfg := s.place.consumer(i, of)
	cfg.Stream.Until = time.Time{}
	if cfg.Stream.Start = thump.FromNext(); s.fresh {
		cfg.Stream.Start = thump.FromFirst()
	}
	return cfg
}

// done: every consumer has read to the end of the stream. If all messages have
// come, the rest up to the end is what nobody expected.
func (s *streamSource) done(ctx context.Context, in *intake, w waiting) (bool, error) {
	if w.stopping {
		return w.allReceived || w.idle >= idleBeforeCheck, nil
	}
	for _, stream := range s.streams {
		read := max(in.leastRead(stream), s.begins[stream])
		end, err := s.readToEnd(ctx, stream, read)
		switch {
		case err != nil:
			return true, err
		case end:
		case w.idle >= stallTimeout:
			return true, fmt.Errorf("%w: the stream %q continues after offset %d, and nothing was delivered for %.0f s", errStalled, stream, read, w.idle.Seconds())
		default:
			return false, nil
		}
	}
	return true, nil
}

// readToEnd says whether a consumer that has read everything below the offset has
// reached the newest chunk: a chunk arrives as a whole.
func (s *streamSource) readToEnd(ctx context.Context, stream string, read uint64) (bool, error) {
	info, err := s.client.InspectStream(ctx, stream)
	if err != nil || info.Known && (info.Empty || read > info.LastChunk) {
		return err == nil, err
	}
	// The last chunk may hold only offsets that consumers stored, and RabbitMQ 3.10
	// does not tell which is the last. To read the newest chunk with messages shows
	// where it is.
	newest, err := newestChunk(ctx, s.client, stream, false)
	return read >= newest.end, err
}

// remaining: a stream keeps everything, and how much of it the run has not read
// is not known.
func (*streamSource) remaining(context.Context) (remainder, error) { return remainder{}, nil }

// endOf is the offset after the newest message of the longest of some streams.
func endOf(ctx context.Context, client *thump.Client, partitions func(context.Context, *thump.Client) ([]string, error)) (uint64, error) {
	streams, err := partitions(ctx, client)
	if err != nil {
		return 0, err
	}
	var end uint64
	for _, stream := range streams {
		newest, err := newestChunk(ctx, client, stream, true)
		if err != nil {
			return 0, err
		}
		end = max(end, newest.end)
	}
	return end, nil
}

const (
	// firstTimeout is how long to wait for the newest chunk of a stream, which may
	// have none. restTimeout is how long to wait for the rest of a chunk, which came
	// together with its first message.
	firstTimeout = time.Second
	restTimeout  = 100 * time.Millisecond
)

// chunk is the offsets of a chunk's messages: first to end-1. The zero chunk has
// none.
type chunk struct {
	first, end uint64
}

// newestChunk reads the newest chunk of a stream that holds messages: the broker,
// if it tells a stream's end at all, may mean a chunk without any. With toEnd false
// it reads one message only, and end is first+1.
func newestChunk(ctx context.Context, client *thump.Client, stream string, toEnd bool) (chunk, error) {
	info, err := client.InspectStream(ctx, stream)
	if err != nil || info.Known && info.Empty {
		return chunk{}, err
	}
	from := thump.ConsumerConfig{
		From: thump.Stream(stream), MaxBatch: 1,
		Stream: thump.StreamConsuming{Start: thump.FromLastChunk(), Credit: 2},
	}
	if toEnd {
		from.MaxBatch = streamBatch
	}
	con, err := client.Consumer(ctx, from)
	if err != nil {
		return chunk{}, err
	}
	var newest chunk
	for timeout := firstTimeout; ; timeout = restTimeout {
		batch, err := receiveWithin(ctx, con, timeout)
		if batch == nil {
			return newest, errors.Join(err, con.Close(ctx))
		}
		if newest == (chunk{}) {
			newest.first = batch.Deliveries[0].Offset
		}
		newest.end = batch.Deliveries[len(batch.Deliveries)-1].Offset + 1
		if !toEnd {
			return newest, con.Close(ctx)
		}
	}
}

// receiveWithin waits for a batch. If none comes in time it returns none, and no
// error.
func receiveWithin(ctx context.Context, con *thump.Consumer, timeout time.Duration) (*thump.Batch, error) {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	batch, err := con.Receive(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return batch, err
}
