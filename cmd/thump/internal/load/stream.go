package load

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

const (
	// streamBatch is the most deliveries of a batch from a stream: enough that the
	// cost of the batch itself does not matter, and few enough for the processor's
	// cache.
	streamBatch = 1000

	// routingKeys is how many routing keys the messages to a super stream have in
	// turn: many times the number of partitions.
	routingKeys = 4096
)

// Stream is a stream. It keeps its messages, and every consumer reads all of them.
type Stream struct {
	Name string

	// Fresh says that the stream was made for the run and holds nothing else. From
	// a stream that existed before, a run receives only what comes after its start.
	Fresh bool

	// How to publish. Of several publishers with a name, each gets a number.
	SubEntry      int
	Compression   thump.Compression
	PublisherName string
	Filtered      bool // messages have their filter values

	// How to consume: Start and Until are for Receive alone. Of several consumers
	// with a name, each gets a number.
	Start        thump.Start
	Until        time.Time
	ConsumerName string
	// FilterValues has the broker leave out chunks without a message of these values. What
	// else is in the others comes as well: Selection is for that.
	FilterValues []string
}

// Target is the stream as package thump names it.
func (s Stream) Target() thump.Target { return thump.Stream(s.Name) }

// String is "stream" and the name.
func (s Stream) String() string { return "stream " + s.Name }

// Readers is the number of consumers: each receives every message.
func (Stream) Readers(consumers int) int { return consumers }

func (Stream) reader(consumer int) int { return consumer }

// Confirms is true: a stream confirms everything.
func (Stream) Confirms() bool { return true }

func (s Stream) publisher(i, of int) thump.PublisherConfig {
	return thump.PublisherConfig{To: s.Target(), Stream: thump.StreamPublishing{
		Name: numbered(s.PublisherName, i, of), SubEntry: s.SubEntry, Compression: s.Compression, Filtered: s.Filtered,
	}}
}

func (Stream) expired() string    { return "" }
func (Stream) batchMessages() int { return streamMessages }
func (Stream) routingKeys() Keys  { return Keys{} }
func (Stream) transient() bool    { return false }

func (Stream) pollInterval() time.Duration { return 0 } // nobody polls one

func (s Stream) consumer(i, of int) thump.ConsumerConfig {
	cfg := thump.ConsumerConfig{From: s.Target(), MaxBatch: streamBatch, Stream: thump.StreamConsuming{
		Start: s.Start, Until: s.Until, Name: numbered(s.ConsumerName, i, of), Filters: s.FilterValues,
	}}
	if len(s.FilterValues) > 0 {
		cfg.Stream.Keep = func(*thump.Delivery) bool { return true } // which the selection decides
	}
	return cfg
}

func (s Stream) source(client *thump.Client) source {
	return &streamSource{place: s, fresh: s.Fresh, partitions: s.partitions, client: client}
}

func (s Stream) sending(r *result.Settings) {
	r.Confirms, r.SubEntry, r.Compression, r.PublisherName = true, s.SubEntry, s.Compression.String(), s.PublisherName
}

func (s Stream) receiving(r *result.Settings) { r.ConsumerName = s.ConsumerName }

// partitions are the streams that the place consists of: itself.
func (s Stream) partitions(context.Context, *thump.Client) ([]string, error) {
	return []string{s.Name}, nil
}

// End is the offset after the stream's newest message: every message has a lower
// one.
func (s Stream) End(ctx context.Context, client *thump.Client) (uint64, error) {
	return endOf(ctx, client, s.partitions)
}

// SuperStream is a super stream: several streams under one name, each message in
// one of them. The messages are in order within each stream.
type SuperStream struct {
	Stream
	Keys Keys // of messages that are made up; none for so many that they come to every stream
}

// Target is the super stream as package thump names it.
func (s SuperStream) Target() thump.Target { return thump.SuperStream(s.Name) }

// String is "super stream" and the name.
func (s SuperStream) String() string { return "super stream " + s.Name }

func (s SuperStream) publisher(i, of int) thump.PublisherConfig {
	cfg := s.Stream.publisher(i, of)
	cfg.To = s.Target()
	return cfg
}

func (s SuperStream) routingKeys() Keys {
	if s.Keys.Keys != nil {
		return s.Keys
	}
	keys := make([]string, routingKeys)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	return Keys{Keys: keys}
}

func (s SuperStream) consumer(i, of int) thump.ConsumerConfig {
	cfg := s.Stream.consumer(i, of)
	cfg.From = s.Target()
	return cfg
}

func (s SuperStream) source(client *thump.Client) source {
	return &streamSource{place: s, fresh: s.Fresh, partitions: s.partitions, client: client}
}

func (s SuperStream) sending(r *result.Settings) {
	s.Stream.sending(r)
	r.RoutingKeys = s.Keys.Text
}

func (s SuperStream) partitions(ctx context.Context, client *thump.Client) ([]string, error) {
	return client.Partitions(ctx, s.Name)
}

// End is the offset after the newest message of the longest of its streams.
func (s SuperStream) End(ctx context.Context, client *thump.Client) (uint64, error) {
	return endOf(ctx, client, s.partitions)
}

// numbered is the name of number i, counted from 0, of several with one name.
func numbered(name string, i, of int) string {
	if name == "" || of < 2 {
		return name
	}
	return fmt.Sprintf("%s-%d", name, i+1)
}
