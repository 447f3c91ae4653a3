package thump

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/streamproto"
)

const (
	subEntryDefault      = 500
	subEntryMost         = math.MaxUint16 // a batch has 16 bits for its count
	streamWindowDefault  = 100_000
	creditDefault        = 10
	storeEveryDefault    = 10_000
	storeIntervalDefault = 5 * time.Second
	streamBatchDefault   = 1000
	referenceMost        = 255 // bytes of a publisher's or consumer's name, and of a filter value
)

// Compression is how the messages of a sub-entry batch are compressed.
type Compression = compress.Codec

// The compressions of the stream protocol. Only readers that speak the stream
// protocol can read what is compressed: an AMQP consumer's connection is closed
// by RabbitMQ 3, and RabbitMQ 4 leaves the messages out without a word.
const (
	NoCompression = compress.None
	Gzip          = compress.Gzip
	Snappy        = compress.Snappy
	LZ4           = compress.LZ4
	Zstd          = compress.Zstd
)

// ParseCompression returns the compression called none, gzip, snappy, lz4 or
// zstd.
func ParseCompression(name string) (Compression, error) { return compress.Parse(name) }

// StreamPublishing is what a PublisherConfig says for a stream or super stream.
type StreamPublishing struct {
	// Name is the publisher's name (the protocol's publisher reference, at most
	// 255 bytes). The stream remembers the highest PublishingID of each name and
	// takes no message with that or a lower one, but confirms it: what is
	// published again after a failure, with the ids it had, is stored once. One publisher at a time may use a name, and a
	// stream remembers 255 of them: no random names. Default: none, and no
	// deduplication.
	Name string

	// SubEntry is the most messages that share one entry of the stream (a
	// sub-entry batch, whose cost to the broker is that of one message); 1 sends
	// an entry per message. Batches fill as the connection gets busy: a message
	// is never held back to wait for others. Default 500, at most 65535.
	SubEntry int

	// Compression compresses each sub-entry batch. AMQP readers cannot read what
	// is compressed: see the constants. Default NoCompression, which every
	// reader can read.
	Compression Compression

	// Filtered sends each message's FilterValue along, for consumers that ask
	// for some values only (RabbitMQ 3.13). It can't go with sub-entries, so
	// SubEntry is then 1 by default.
	Filtered bool

	// RouteByKey sends a super stream's messages to the partitions that are
	// bound with exactly their RoutingKey, as the broker says; a message whose
	// key no partition is bound with is Returned. Default: by a hash of the key,
	// as the official clients have it.
	RouteByKey bool
}

// StreamConsuming is what a ConsumerConfig says for a stream or super stream.
type StreamConsuming struct {
	// Start is where to begin where no offset is stored under Name. Default:
	// FromFirst, with what a queue's consumer would get.
	Start Start

	// Until ends the consumer, without an error, once everything that was stored
	// at or before this time has come. It needs RabbitMQ 3.11 and can't go with
	// Filters. Default: never.
	Until time.Time

	// Name is the consumer's name (at most 255 bytes): the offset of what was
	// acked is stored in the stream under it, and a consumer of that name begins
	// behind it. Default: none, and nothing is stored.
	Name string

	// StoreEvery and StoreInterval say after how many acked messages, and how
	// long after an ack at the latest, the offset is stored; Close stores it
	// too. Every store is an entry in the stream. Defaults 10000 and 5 s.
	StoreEvery    int
	StoreInterval time.Duration
	// ManualStore leaves storing to Consumer.StoreOffset.
	ManualStore bool

	// SingleActive has the broker send to one consumer of Name at a time, the
	// others waiting to take its place (RabbitMQ 3.11). OnActive, where set,
	// hears of each change, from a goroutine of the consumer.
	SingleActive bool
	OnActive     func(stream string, active bool)

	// Filters asks for messages with one of these filter values (RabbitMQ 3.13),
	// and with MatchUnfiltered those without any. The broker leaves out chunks,
	// not messages, so Keep must say which of a chunk's messages are wanted.
	Filters         []string
	MatchUnfiltered bool
	Keep            func(*Delivery) bool

	// Credit is how many chunks the broker may send ahead, from 2 to 1000.
	// Default 10.
	Credit int
}

// Start says where in a stream a consumer begins. Its zero value is FromFirst.
type Start struct {
	kind  startKind
	value uint64
}

type startKind uint8

const (
	startFirst startKind = iota
	startLastChunk
	startNext
	startOffset
	startTime
	startLast
)

// FromFirst begins with the oldest message that the stream still has.
func FromFirst() Start { return Start{} }

// FromLastChunk begins with the newest chunk: the messages that the broker
// stored together last.
func FromLastChunk() Start { return Start{kind: startLastChunk} }

// FromNext begins with what is published from now on.
func FromNext() Start { return Start{kind: startNext} }

// FromOffset begins at an offset: with the first message there is at or after
// it. Beyond the end of the stream it waits for the message of that offset.
func FromOffset(offset uint64) Start { return Start{kind: startOffset, value: offset} }

// FromTime begins with the chunk that was stored at or after t, the broker's
// clock deciding.
func FromTime(t time.Time) Start { return Start{kind: startTime, value: uint64(t.UnixMilli())} }

// FromLast begins n offsets before the end of the stream: with its last n
// messages, or a few less where the stream keeps offsets of consumers between
// them. It needs RabbitMQ 3.11.
func FromLast(n uint64) Start { return Start{kind: startLast, value: n} }

// String is the start as thump receive takes it: "first", "1200", "-100".
func (s Start) String() string {
	switch s.kind {
	case startLastChunk:
		return "last"
	case startNext:
		return "next"
	case startOffset:
		return fmt.Sprint(s.value)
	case startTime:
		return time.UnixMilli(int64(s.value)).UTC().Format(time.RFC3339)
	case startLast:
		return fmt.Sprintf("-%d", s.value)
	default:
		return "first"
	}
}

// spec is the start as the protocol has it. FromLast is found out beforehand.
func (s Start) spec() streamproto.OffsetSpec {
	switch s.kind {
	case startLastChunk:
		return streamproto.OffsetSpec{Type: streamproto.OffsetLast}
	case startNext:
		return streamproto.OffsetSpec{Type: streamproto.OffsetNext}
	case startOffset:
		return streamproto.OffsetSpec{Type: streamproto.OffsetNumber, Value: s.value}
	case startTime:
		return streamproto.OffsetSpec{Type: streamproto.OffsetTimestamp, Value: s.value}
	default:
		return streamproto.OffsetSpec{Type: streamproto.OffsetFirst}
	}
}

// validate sets defaults and lists every fault.
func (s *StreamPublishing) validate(to Target) []error {
	if !to.streams() {
		if *s != (StreamPublishing{}) {
			return []error{fmt.Errorf("thump: PublisherConfig.Stream is set, and %v is no stream", to)}
		}
		return nil
	}
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("thump: PublisherConfig.Stream."+format, args...))
	}
	if s.SubEntry == 0 {
		s.SubEntry = subEntryDefault
		if s.Filtered {
			s.SubEntry = 1
		}
	}
	if s.SubEntry < 1 || s.SubEntry > subEntryMost {
		fault("SubEntry is %d, not between 1 and %d", s.SubEntry, subEntryMost)
	}
	if s.Filtered && (s.SubEntry > 1 || s.Compression != NoCompression) {
		fault("Filtered can't go with sub-entries or compression: RabbitMQ would close the connection")
	}
	if s.Compression > Zstd {
		fault("Compression is %d, which is none of those of the protocol", s.Compression)
	}
	if s.Compression != NoCompression && s.SubEntry == 1 {
		fault("Compression needs sub-entries: SubEntry is 1")
	}
	if len(s.Name) > referenceMost {
		fault("Name is %d bytes long, at most %d are allowed", len(s.Name), referenceMost)
	}
	if s.RouteByKey && to.kind != targetSuperStream {
		fault("RouteByKey is for super streams")
	}
	return faults
}

// set reports whether any field is.
func (s *StreamConsuming) set() bool {
	return s.Start != Start{} || !s.Until.IsZero() || s.Name != "" || s.StoreEvery != 0 || s.StoreInterval != 0 ||
		s.ManualStore || s.SingleActive || s.OnActive != nil || s.Filters != nil || s.MatchUnfiltered ||
		s.Keep != nil || s.Credit != 0
}

// validateStream sets the defaults of a stream's consumer and lists every fault.
func (cfg *ConsumerConfig) validateStream() []error {
	faults := cfg.Stream.validate()
	setDefault(&cfg.MaxBatch, streamBatchDefault)
	if cfg.MaxBatch < 0 {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig.MaxBatch is %d", cfg.MaxBatch))
	}
	if cfg.From.name == "" {
		faults = append(faults, errors.New("thump: ConsumerConfig.From has no name"))
	}
	if cfg.Prefetch != 0 || cfg.Exclusive || cfg.Tag != "" || cfg.Arguments != nil {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig: Prefetch, Exclusive, Tag and Arguments are for queues, and %v is none (Stream.Credit says how much may be under way)", cfg.From))
	}
	return faults
}

// validate sets defaults and lists every fault.
func (s *StreamConsuming) validate() []error {
	var faults []error
	fault := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig.Stream."+format, args...))
	}
	setDefault(&s.Credit, creditDefault)
	setDefault(&s.StoreEvery, storeEveryDefault)
	setDefault(&s.StoreInterval, storeIntervalDefault)
	if s.Credit < 2 || s.Credit > 1000 {
		fault("Credit is %d, not between 2 and 1000", s.Credit)
	}
	if s.StoreEvery < 1 || s.StoreInterval < time.Millisecond {
		fault("StoreEvery is %d and StoreInterval %v", s.StoreEvery, s.StoreInterval)
	}
	if len(s.Name) > referenceMost {
		fault("Name is %d bytes long, at most %d are allowed", len(s.Name), referenceMost)
	}
	if s.SingleActive && s.Name == "" {
		fault("SingleActive needs a Name: it is what the consumers of a group have in common")
	}
	if (len(s.Filters) > 0) != (s.Keep != nil) {
		fault("Filters and Keep go together: the broker leaves out chunks, Keep messages")
	}
	if s.MatchUnfiltered && len(s.Filters) == 0 {
		fault("MatchUnfiltered is for a consumer with Filters")
	}
	if !s.Until.IsZero() && len(s.Filters) > 0 {
		fault("Until can't go with Filters: of what the broker leaves out, nothing tells when it ends")
	}
	return faults
}

// setDefault sets a field that was left at its zero value.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// errNotStream is the error of what only a stream's consumer can do.
var errNotStream = errors.New("the consumer is not a stream's")
