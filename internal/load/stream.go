package load

import (
	"context"
	"fmt"

	"github.com/thumpmq/thump"
)

// streamBatch is the most deliveries of a batch: enough that its cost is nothing
// beside theirs, and no more than the processor's cache holds.
const streamBatch = 1000

// streamSource is a stream or super stream as the source of a run's messages:
// every consumer reads all of them, and is done when it has read as far as the
// stream goes.
type streamSource struct {
	client *thump.Client
	place  Place
	name   string // of the consumers; they get a number where there are several
	many   bool   // several consumers
	// fresh says that the stream holds nothing but what this run publishes.
	fresh bool

	streams []string // the stream, or the super stream's partitions
	// begins is the offset, for each of the streams, that everything of this run
	// is behind.
	begins map[string]uint64
}

// open finds out which streams there are, and how far they go already.
func (s *streamSource) open(ctx context.Context) (err error) {
	s.begins = make(map[string]uint64)
	s.streams, err = streamsOf(ctx, s.client, s.place)
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

// consumer begins with the first message of a stream that was made for the run,
// and else with what comes from now on.
func (s *streamSource) consumer(i int) thump.ConsumerConfig {
	start := thump.FromNext()
	if s.fresh {
		start = thump.FromFirst()
	}
	return thump.ConsumerConfig{
		From: s.place.target(), MaxBatch: streamBatch,
		Stream: thump.StreamConsuming{Start: start, Name: numbered(s.name, i, s.many)},
	}
}

// numbered is the name of number i among several of the same name.
func numbered(name string, i int, several bool) string {
	if name == "" || !several {
		return name
	}
	return fmt.Sprintf("%s-%d", name, i+1)
}

// nothingMore: every consumer has read up to the end of the stream. Where all
// has come this finds what nobody expected, behind it.
func (s *streamSource) nothingMore(ctx context.Context, in *intake, at standing) (bool, error) {
	if at.stopping {
		return at.came || at.idle >= idleBeforeCheck, nil
	}
	for _, stream := range s.streams {
		read := max(in.leastRead(stream), s.begins[stream])
		end, err := s.readToEnd(ctx, stream, read)
		switch {
		case err != nil:
			return true, err
		case end:
		case at.idle >= stallTimeout:
			return true, fmt.Errorf("stalled: the stream %q goes on behind offset %d, and nothing was delivered for %.0f s", stream, read, at.idle.Seconds())
		default:
			return false, nil
		}
	}
	return true, nil
}

// readToEnd says whether a consumer that has read everything below the offset
// has begun with the newest chunk: the rest of it follows by itself.
func (s *streamSource) readToEnd(ctx context.Context, stream string, read uint64) (bool, error) {
	info, err := s.client.InspectStream(ctx, stream)
	if err != nil || info.Known && (info.Empty || read > info.LastChunk) {
		return err == nil, err
	}
	// That chunk may hold no messages but the offsets of consumers, and RabbitMQ
	// 3.10 tells of none: the newest that has messages shows when it is read.
	newest, err := newestChunk(ctx, s.client, stream, false)
	return read >= newest.end, err
}

// left: a stream keeps everything, and what of it this run has not read is not
// known.
func (*streamSource) left(context.Context) (leftover, error) { return leftover{}, nil }
