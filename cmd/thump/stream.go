package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/broker"
)

const windowOfStream = 100_000

// segmentMax and segmentMin bound the segments of a stream with --stream-max-bytes.
// RabbitMQ deletes whole segments, so with a quarter of the limit it can keep to it.
// Below segmentMin a fast publisher begins a segment every few milliseconds. Then
// RabbitMQ 3.10 may fail to look for old ones, and ends every stream of the node
// (osiris_retention: missing_file).
const (
	segmentMax = 500_000_000 // RabbitMQ's default
	segmentMin = 10_000_000
)

// streamBytesMin is the least that --stream-max-bytes may be.
const streamBytesMin = 4 * segmentMin

// streamPlace is what streams and super streams have in common.
type streamPlace struct{ cfg *config }

func (streamPlace) window() int { return windowOfStream }

func (streamPlace) misused(given func(string) bool) error {
	var errs []error
	for _, f := range []struct{ name, why string }{
		{"transient", "a stream is always durable"},
		{"no-confirms", "a stream always confirms"},
		{"prefetch", "its consumers read ahead by chunks, and ack nothing"},
		{"auto-ack", "a stream keeps its messages, whoever has read them"},
		{"poll", "it gives out no single messages"},
		{"poll-interval", "it gives out no single messages"},
	} {
		if given(f.name) {
			errs = append(errs, fmt.Errorf("--%s has no meaning for a stream: %s", f.name, f.why))
		}
	}
	return faults(errs...)
}

// misusedWithAll says which of the given flags mean nothing for a stream, with
// --kind all. The runs through queues must not differ in them. Flags that mean nothing
// for a queue are for the stream alone.
func misusedWithAll(given func(string) bool) error {
	for _, flag := range []string{"transient", "no-confirms", "auto-ack", "poll", "poll-interval"} {
		if given(flag) {
			return fmt.Errorf("--%s can't go with --kind all: it has no meaning for a stream", flag)
		}
	}
	return nil
}

// blocksSilently: the stream protocol has no frame that says it.
func (streamPlace) blocksSilently() bool { return true }

func (streamPlace) checkUnused() error { return nil } // a run takes nothing from others

// segmentBytes is the size of a segment of a stream that is made.
func (p streamPlace) segmentBytes() uint64 {
	if p.cfg.maxBytes == 0 {
		return segmentMax
	}
	return min(segmentMax, uint64(p.cfg.maxBytes)/4)
}

// spec is the stream that the flags say.
func (p streamPlace) spec(name string) thump.StreamSpec {
	s := thump.StreamSpec{Name: name, MaxBytes: int64(p.cfg.maxBytes)}
	if p.cfg.maxBytes > 0 {
		s.SegmentBytes = int64(p.segmentBytes())
	}
	return s
}

// checkDisk refuses what the disk has no room for if it is this machine's: RabbitMQ
// would block all publishers for lack of disk space, not only those of this stream.
func (p streamPlace) checkDisk(conn *connection, send *load.SendConfig, s *result.Settings) error {
	need := send.StreamBytes(p.cfg.stream.SubEntry)
	if limit := uint64(p.cfg.maxBytes); limit > 0 {
		// One segment above the limit, and one that is being written.
		need = min(need, limit+2*p.segmentBytes())
	} else if send.Count == 0 {
		return nil // it is the time that ends it
	}
	s.DiskBytes = &need
	if conn.node == nil {
		return nil
	}
	free, ok := conn.node.DiskFree()
	if !ok {
		return nil
	}
	s.DiskFreeBytes = &free
	if need+broker.DiskReserve > free {
		return fmt.Errorf("the stream would take about %.1f GB of disk, RabbitMQ needs %.1f GB for itself, and %.1f GB are free in %s: "+
			"use a lower --count, a stream that keeps less than everything (--stream-max-bytes), or a larger disk (THUMP_HOME)",
			gigabytes(need), gigabytes(broker.DiskReserve), gigabytes(free), conn.node.Dir)
	}
	return nil
}

func gigabytes(bytes uint64) float64 { return float64(bytes) / 1e9 }

// checkOffset refuses an --offset after the end of the stream. end finds it. It also
// notes in s which part of the stream is to be received.
func (p streamPlace) checkOffset(ctx context.Context, client *thump.Client, name string, end func(context.Context, *thump.Client) (uint64, error), s *result.Settings) error {
	s.Offset, s.Until = p.cfg.offset.String(), p.cfg.until.text
	offset := p.cfg.offset.offset
	if offset == 0 {
		return nil
	}
	last, err := end(ctx, client)
	if err == nil && offset > last {
		err = fmt.Errorf("offset %d is beyond the end of the %s, which is at %d (use --offset next for what comes from now on)", offset, name, last)
	}
	return err
}

// plainStream is a stream that a command works on. Its Fresh says that declare made it.
type plainStream struct {
	load.Stream
	streamPlace
}

func (p *plainStream) describe(s *result.Settings) {
	s.Queue, s.Kind, s.StreamMaxBytes = p.Name, result.Stream, uint64(p.cfg.maxBytes)
}

func (p *plainStream) declare(ctx context.Context, client *thump.Client, _ *result.Settings) error {
	p.Fresh = false // an earlier run may have made it
	_, err := client.InspectStream(ctx, p.Name)
	switch {
	case err == nil && !p.cfg.given("stream-max-bytes"):
		return nil
	case err != nil && !thump.IsNotFound(err):
		return err
	}
	exists := err == nil
	if !exists {
		if err := p.cfg.refuseSuperStream(ctx, client, "stream"); err != nil {
			return err
		}
	}
	// To declare a stream that exists changes nothing, and tells whether it is as
	// wanted.
	err = client.DeclareStream(ctx, p.spec(p.Name))
	differs, ok := errors.AsType[*thump.BrokerError](err)
	switch {
	case err == nil:
		p.Fresh = !exists
		return nil
	case !ok || differs.Code != preconditionFailedStream:
		return err
	case exists:
		return fmt.Errorf("the stream %q exists already and is not as --stream-max-bytes says: %w", p.Name, err)
	default:
		return p.cfg.isAnother("queue", "stream")
	}
}

func (p *plainStream) find(ctx context.Context, client *thump.Client, s *result.Settings) error {
	if _, err := client.InspectStream(ctx, p.Name); err != nil {
		if thump.IsNotFound(err) {
			err = p.cfg.noStream(ctx, client, "stream")
		}
		return err
	}
	if p.cfg.given("stream-max-bytes") {
		if err := p.declare(ctx, client, s); err != nil {
			return err
		}
	}
	return p.checkOffset(ctx, client, p.String(), p.End, s)
}

func (p *plainStream) watched() watched {
	return watched{[]string{p.Name}, func(ctx context.Context, client *thump.Client) (uint64, error) {
		return stored(ctx, client, p.Name)
	}}
}

// stored is how many messages a stream holds, up to its newest chunk.
func stored(ctx context.Context, client *thump.Client, name string) (uint64, error) {
	info, err := client.InspectStream(ctx, name)
	switch {
	case err != nil || info.Empty:
		return 0, err
	case !info.Known:
		return 0, errors.New("the broker does not say how far the stream reaches")
	default:
		return info.LastChunk - min(info.LastChunk, info.FirstOffset), nil
	}
}

func (p *plainStream) remove(ctx context.Context, client *thump.Client) error {
	if !p.Fresh {
		return nil
	}
	if err := client.DeleteStream(ctx, p.Name); err != nil {
		return stillThere(p, err)
	}
	return nil
}

// superStream is a super stream that a command works on. Its Fresh says that declare
// made it.
type superStream struct {
	load.SuperStream
	streamPlace
}

func (p *superStream) describe(s *result.Settings) {
	s.Queue, s.Kind, s.StreamMaxBytes = p.Name, result.SuperStream, uint64(p.cfg.maxBytes)
}

func (p *superStream) declare(ctx context.Context, client *thump.Client, s *result.Settings) error {
	p.Fresh = false // an earlier run may have made it
	want := p.cfg.partitions
	partitions, err := client.Partitions(ctx, p.Name)
	switch {
	case err == nil && want > 0 && want != len(partitions):
		return fmt.Errorf("the super stream %q exists already, with %d partitions, not %d", p.Name, len(partitions), want)
	case err == nil && p.cfg.given("stream-max-bytes"):
		return fmt.Errorf("the super stream %q exists already: --stream-max-bytes is for a new one", p.Name)
	case err == nil:
		s.Partitions = len(partitions)
		return nil
	case !thump.IsNotFound(err):
		return err
	case want == 0:
		return p.cfg.noStream(ctx, client, "super stream")
	}
	if err := client.DeclareSuperStream(ctx, thump.SuperStreamSpec{StreamSpec: p.spec(p.Name), Partitions: want}); err != nil {
		return err
	}
	p.Fresh, s.Partitions = true, want
	return nil
}

func (p *superStream) find(ctx context.Context, client *thump.Client, s *result.Settings) error {
	if err := p.declare(ctx, client, s); err != nil {
		return err
	}
	return p.checkOffset(ctx, client, p.String(), p.End, s)
}

func (p *superStream) watched() watched {
	return watched{nil, func(ctx context.Context, client *thump.Client) (sum uint64, err error) {
		partitions, err := client.Partitions(ctx, p.Name)
		for _, partition := range partitions {
			n, err := stored(ctx, client, partition)
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, err
	}}
}

func (p *superStream) remove(ctx context.Context, client *thump.Client) error {
	if !p.Fresh {
		return nil
	}
	if err := client.DeleteSuperStream(ctx, p.Name); err != nil {
		return stillThere(p, err)
	}
	return nil
}
