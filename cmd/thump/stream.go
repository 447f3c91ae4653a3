package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/load"
)

// segmentMax and segmentMin bound the segments of a stream that keeps only so
// much: RabbitMQ deletes whole segments, so a quarter of it is a size that it
// can keep to. Below segmentMin a fast publisher begins a segment every few
// milliseconds, and RabbitMQ 3.10, which can't look for old ones just then, ends
// every stream of the node (osiris_retention: missing_file).
const (
	segmentMax = 500_000_000 // RabbitMQ's default
	segmentMin = 10_000_000
)

// streamBytesMin is the least that a stream can be told to keep.
const streamBytesMin = 4 * segmentMin

// spec is a stream to be made as the flags say.
func (f *placeFlags) spec(name string) thump.StreamSpec {
	s := thump.StreamSpec{Name: name, MaxBytes: int64(f.maxBytes)}
	if f.maxBytes > 0 {
		s.SegmentBytes = int64(f.segmentBytes())
	}
	return s
}

// segmentBytes is the size of a segment of a stream that is made.
func (f *placeFlags) segmentBytes() uint64 {
	if f.maxBytes == 0 {
		return segmentMax
	}
	return min(segmentMax, uint64(f.maxBytes)/4)
}

// prepareStream makes the stream where it is not there, if it may.
func prepareStream(ctx context.Context, client *thump.Client, place load.Place, f *placeFlags, flags *pflag.FlagSet, mayMake bool) (prepared, error) {
	known := prepared{place: place, kind: kindStream}
	_, err := client.InspectStream(ctx, place.Name)
	switch {
	case err == nil && !flags.Changed("stream-max-bytes"):
		return known, nil
	case err == nil:
	case !thump.IsNotFound(err):
		return prepared{}, err
	case !mayMake:
		return prepared{}, fmt.Errorf("the stream %q does not exist", place.Name)
	default:
		known.created = true
	}
	// Declaring what is there changes nothing, and tells whether it is as wanted.
	err = client.DeclareStream(ctx, f.spec(place.Name))
	differs, ok := errors.AsType[*thump.BrokerError](err)
	switch {
	case err == nil:
		return known, nil
	case !ok || differs.Code != preconditionFailedStream:
		return prepared{}, err
	case known.created:
		return prepared{}, fmt.Errorf("the name %q is taken by a queue that is no stream (another name helps): %w", place.Name, err)
	default:
		return prepared{}, fmt.Errorf("the stream %q is there already and is not as --stream-max-bytes says: %w", place.Name, err)
	}
}

// prepareSuperStream makes the super stream where it is not there and the flags
// say of how many partitions.
func prepareSuperStream(ctx context.Context, client *thump.Client, place load.Place, f *placeFlags, flags *pflag.FlagSet) (prepared, error) {
	known := prepared{place: place, kind: kindSuperStream}
	partitions, err := client.Partitions(ctx, place.Name)
	switch {
	case err == nil && f.partitions > 0 && f.partitions != len(partitions):
		return prepared{}, fmt.Errorf("the super stream %q is there already, with %d partitions, not %d", place.Name, len(partitions), f.partitions)
	case err == nil && flags.Changed("stream-max-bytes"):
		return prepared{}, fmt.Errorf("the super stream %q is there already: --stream-max-bytes is for one that is made", place.Name)
	case err == nil:
		known.partitions = len(partitions)
		return known, nil
	case !thump.IsNotFound(err):
		return prepared{}, err
	case f.partitions == 0:
		return prepared{}, fmt.Errorf("the super stream %q does not exist; --partitions N makes it", place.Name)
	}
	known.created, known.partitions = true, f.partitions
	return known, client.DeclareSuperStream(ctx, thump.SuperStreamSpec{StreamSpec: f.spec(place.Name), Partitions: f.partitions})
}
