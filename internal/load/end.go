package load

import (
	"context"
	"errors"
	"time"

	"github.com/thumpmq/thump"
)

const (
	// firstTimeout is how long to wait for the newest chunk of a stream, which may
	// have none; restTimeout for more of a chunk, which has come with its first
	// message.
	firstTimeout = time.Second
	restTimeout  = 100 * time.Millisecond
)

// End is the offset behind the newest message of a stream, or of the longest
// stream of a super stream: no message there is at it or above.
func End(ctx context.Context, client *thump.Client, place Place) (uint64, error) {
	streams, err := streamsOf(ctx, client, place)
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

// streamsOf are the streams of a place: itself, or a super stream's partitions.
func streamsOf(ctx context.Context, client *thump.Client, place Place) ([]string, error) {
	if place.Kind == SuperStream {
		return client.Partitions(ctx, place.Name)
	}
	return []string{place.Name}, nil
}

// chunk is where in a stream the messages of a chunk are: from first on, up to
// before end. Without any it is the zero chunk.
type chunk struct {
	first, end uint64
}

// newestChunk reads the newest chunk of a stream that has messages: what the
// broker says of a stream's end, if anything, may be of a chunk without any.
// Unless it is to be read to its end, end is just behind first.
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
	for wait := firstTimeout; ; wait = restTimeout {
		batch, err := receiveWithin(ctx, con, wait)
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

// receiveWithin waits for a batch; it returns none, and no error, where none
// comes in time.
func receiveWithin(ctx context.Context, con *thump.Consumer, wait time.Duration) (*thump.Batch, error) {
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	batch, err := con.Receive(waiting)
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return nil, nil
	}
	return batch, err
}
