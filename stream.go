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
	subEntryDefault      = 1
	compressedDefault    = 500            // of SubEntry, with Compression
	subEntryMost         = math.MaxUint16 // a batch has 16 bits for its count
	streamWindowDefault  = 100_000
	creditDefault        = 10
	storeEveryDefault    = 10_000
	storeIntervalDefault = 5 * time.Second
	referenceMost        = 255 // bytes of a publisher's or consumer's name, and of a filter value
)

// Compression is how the messages of a sub-entry batch are compressed.
type Compression uint8

// The compressions of the stream protocol. Only clients of the stream protocol can
// read compressed batches: RabbitMQ 3 closes the connection of an AMQP consumer
// that comes to one, and RabbitMQ 4 skips its messages silently.
const (
	NoCompression = Compression(compress.None)
	Gzip          = Compression(compress.Gzip)
	Snappy        = Compression(compress.Snappy)
	LZ4           = Compression(compress.LZ4)
	Zstd          = Compression(compress.Zstd)
)

// ParseCompression returns the compression called none, gzip, snappy, lz4 or zstd, in
// lower or upper case. For another name it returns NoCompression and an error.
func ParseCompression(name string) (Compression, error) {
	c, err := compress.Parse(name)
	if err != nil {
		return NoCompression, fmt.Errorf("thump: unknown compression %q: it is none, gzip, snappy, lz4 or zstd", name)
	}
	return Compression(c), nil
}

// String is the name that ParseCompression reads: "gzip".
func (c Compression) String() string { return compress.Codec(c).String() }

// StreamPublishing is what a PublisherConfig says for a stream or super stream.
type StreamPublishing struct {
	// Name is the publisher's name (the protocol's publisher reference, at most
	// 255 bytes). The stream remembers the highest PublishingID of each name, and
	// drops, but still confirms, a message whose id is not higher: what is published
	// again after a failure, with the same ids, is stored once; and so is what the publisher
	// itself sends again after it has lost its connection. One publisher at a time may use a name, and a stream remembers 255 of them: no random names.
	// Default: none, and no deduplication.
	Name string

	// SubEntry is the most messages that share one entry of the stream: a sub-entry
	// batch, which costs the broker as much as one message. Batches fill while the
	// connection is busy: a message never waits for others. Default 1, an entry for
	// each message, which every client reads; at most 65535.
	//
	// It makes a publisher of small messages many times as fast. Not every client reads
	// sub-entries: docs/streams.md lists those that do, and the rates.
	SubEntry int

	// Compression compresses each sub-entry batch, and SubEntry is then 500 by default.
	// AMQP consumers cannot read compressed batches: see the constants. Default
	// NoCompression.
	Compression Compression

	// Filtered sends each message's FilterValue, for consumers that ask for some
	// values only (RabbitMQ 3.13). It excludes sub-entries and Compression.
	Filtered bool

	// RouteByKey sends a super stream's message to the partition that is bound with
	// exactly its RoutingKey; the broker is asked which that is, and the answer is
	// kept while the publisher lives. If none is, the message is Returned, and the
	// broker is asked again for the next one, at most once a second for each key. A
	// message whose key is bound to several partitions is refused: the official
	// clients send it to each of them, and here a message has one outcome. Default: a
	// hash of the key decides, as in the official clients.
	RouteByKey bool
}

// StreamConsuming is what a ConsumerConfig says for a stream or super stream.
type StreamConsuming struct {
	// Start is where to begin. It is ignored if the stream has an offset stored under
	// Name: then the consumer begins after that offset. Only an ack, or what Keep leaves
	// out, leads to a stored offset: a consumer that left before has stored none, whatever
	// went by before Start, and the next one of that Name begins with its own Start.
	//
	// Where the connection is lost before anything was handed out, the consumer begins at
	// the same place again. FromLastChunk, and before RabbitMQ 3.11 FromNext, then begin at the
	// end that the stream has by that time: the broker can't say where it was.
	// Default: FromFirst.
	Start Start

	// Until ends the consumer, without an error, once it has received everything that
	// was stored at or before this time, by the broker's clock. A time that is to come is
	// waited for by the local clock: if that is ahead of the broker's, what is stored
	// in between is left out. It needs RabbitMQ 3.11 and excludes Filters. Default: never.
	Until time.Time

	// Name is the consumer's name (at most 255 bytes). The offset of what was acked is
	// stored in the stream under it, and the next consumer with that Name continues
	// after it. This one, when it comes back after the loss of a connection, continues after
	// what was acked, stored or not. Default: none, and nothing is stored: an ack then means
	// nothing.
	Name string

	// The offset is stored after StoreEvery acks (of messages), or StoreInterval, whichever
	// comes first; Flush and Close store it too. Every store is an entry in the stream.
	// Defaults 10000 and 5 s.
	StoreEvery    int
	StoreInterval time.Duration
	// ManualStore leaves storing to Consumer.StoreOffset and Flush.
	ManualStore bool

	// SingleActive makes the consumers with the same Name a group: the broker sends
	// to one of them at a time, and the others wait to take its place (RabbitMQ
	// 3.11). The next one begins after the stored offset: what this one was handed
	// and has not acked when it ceases to be active goes to the next one too, and
	// acking it is ErrStale.
	//
	// The loss of its connection ends a consumer's turn. When it is given one again, it begins
	// after the stored offset, or after what it had acked, if that is further on: all of that
	// was handled, whoever has been active in between. Until then Flush and StoreOffset say
	// ErrStale of what was acked and may not be stored.
	//
	// OnActive, where set, is called at each change, from a goroutine of the consumer:
	// one call at a time for each stream, so for a super stream several at once. The
	// broker waits until it returns. It may call Stop and Close, and must not wait for
	// Done.
	SingleActive bool
	OnActive     func(stream string, active bool)

	// Filters asks for messages with one of these filter values (RabbitMQ 3.13), and
	// with MatchUnfiltered also for those without any. The broker skips chunks, not
	// messages, so Keep must say which messages of a chunk are wanted.
	//
	// Keep is called by the goroutine that receives, once for each message of those
	// chunks. The delivery can't be settled there, and is valid only during the call: if Keep
	// returns false, its memory is used again. What Keep leaves out counts as acked. Keep
	// may call Stop; it must not receive from this consumer, nor Close it, which waits for
	// the batch that is being made. After 1024 messages, and each 64 MiB that were
	// uncompressed, the end of a context, Stop and Close are looked at, and what was kept
	// is handed out.
	Filters         []string
	MatchUnfiltered bool
	Keep            func(*Delivery) bool

	// Credit is how many chunks the broker may send ahead, from 2 to 1000; for a super
	// stream, on each partition. Default 10.
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

// FromOffset begins with the first message at or after an offset. Beyond the end of
// the stream it waits for the message with that offset.
func FromOffset(offset uint64) Start { return Start{kind: startOffset, value: offset} }

// FromTime begins with the first chunk that was stored at or after t, by the
// broker's clock, which has milliseconds; everything after that chunk follows. Where t
// is still to come, what is stored before it is left out.
func FromTime(t time.Time) Start { return Start{kind: startTime, value: uint64(t.UnixMilli())} }

// FromLast begins n offsets before the end of the stream: with its last n messages,
// or a few less if offsets of consumers are stored between them. It needs RabbitMQ
// 3.11.
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
	if s.Compression != NoCompression {
		setDefault(&s.SubEntry, compressedDefault)
	}
	setDefault(&s.SubEntry, subEntryDefault)
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
	if err := checkText("Name", s.Name); err != nil {
		fault("%w", err)
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
	setDefault(&cfg.MaxBatch, batchDefault)
	if cfg.MaxBatch < 0 {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig.MaxBatch is %d", cfg.MaxBatch))
	}
	if err := cfg.From.consumable(); err != nil {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig.From: %w", err))
	}
	if cfg.Poll {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig.Poll is for queues, and %v is none: RabbitMQ gives no single messages out of a stream (basic.get)", cfg.From))
	}
	if cfg.Prefetch != 0 || cfg.Exclusive || cfg.Tag != "" || cfg.Arguments != nil {
		faults = append(faults, fmt.Errorf("thump: ConsumerConfig: Prefetch, Exclusive, Tag and Arguments are for queues, and %v is none (Stream.Credit limits what the broker sends ahead)", cfg.From))
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
	if err := checkText("Name", s.Name); err != nil {
		fault("%w", err)
	}
	for i, value := range s.Filters {
		if err := checkText(fmt.Sprintf("Filters[%d]", i), value); err != nil {
			fault("%w", err)
		}
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
