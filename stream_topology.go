package thump

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
)

// StreamSpec is a stream to declare. The zero value of everything but Name is
// RabbitMQ's default: a stream that keeps everything.
type StreamSpec struct {
	Name string

	// MaxBytes and MaxAge are how much the stream keeps, in bytes and in time;
	// 0 for any amount. What is over goes by whole segments, and never the
	// newest.
	MaxBytes int64
	MaxAge   time.Duration
	// SegmentBytes is the size of a segment file; default 500 MB.
	SegmentBytes int64
	// FilterBytes is the size of a chunk's Bloom filter, from 16 to 255;
	// default 16 (RabbitMQ 3.13).
	FilterBytes int
	// LeaderLocator is where in a cluster the leader goes: "client-local" or
	// "balanced" ("least-leaders" before 3.13); InitialClusterSize is on how
	// many nodes the stream is.
	LeaderLocator      string
	InitialClusterSize int
}

// arguments are those of the Create command (PROTOCOL.adoc Create).
func (s StreamSpec) arguments() []streamproto.Property {
	var list []streamproto.Property
	add := func(key string, n int64) {
		if n != 0 {
			list = append(list, streamproto.Property{Key: key, Value: strconv.FormatInt(n, 10)})
		}
	}
	add("max-length-bytes", s.MaxBytes)
	if s.MaxAge > 0 {
		// The broker reads units; a second is the smallest.
		seconds := (s.MaxAge + time.Second - 1) / time.Second
		list = append(list, streamproto.Property{Key: "max-age", Value: fmt.Sprintf("%ds", int64(seconds))})
	}
	add("stream-max-segment-size-bytes", s.SegmentBytes)
	add("stream-filter-size-bytes", int64(s.FilterBytes))
	if s.LeaderLocator != "" {
		list = append(list, streamproto.Property{Key: "queue-leader-locator", Value: s.LeaderLocator})
	}
	add("initial-cluster-size", int64(s.InitialClusterSize))
	return list
}

// validate refuses what RabbitMQ would take, and not as it is meant.
func (s StreamSpec) validate() error {
	switch {
	case s.Name == "":
		return errors.New("thump: a stream needs a name")
	case s.MaxBytes < 0 || s.MaxAge < 0 || s.SegmentBytes < 0 || s.FilterBytes < 0 || s.InitialClusterSize < 0:
		return fmt.Errorf("thump: stream %q: a size or age is below zero: MaxBytes %d, MaxAge %v, SegmentBytes %d, FilterBytes %d, InitialClusterSize %d",
			s.Name, s.MaxBytes, s.MaxAge, s.SegmentBytes, s.FilterBytes, s.InitialClusterSize)
	default:
		return nil
	}
}

// SuperStreamSpec is a super stream to declare: an exchange and streams bound
// to it, the partitions. Either Partitions says how many there are, which are
// then called name-0, name-1 and so on and bound with "0", "1" …; or BindingKeys
// names a key for each, and they are called name-key.
type SuperStreamSpec struct {
	StreamSpec

	Partitions  int
	BindingKeys []string
}

// StreamInfo is a stream as the broker described it.
type StreamInfo struct {
	Name string
	// Leader and Replicas are the nodes as they are advertised, host:port. A
	// stream without a leader at the moment has an empty one.
	Leader   string
	Replicas []string

	// Known says that the fields below are; RabbitMQ 3.10 does not tell.
	Known bool
	Empty bool // nothing was ever stored, or everything has gone
	// FirstOffset is the oldest message's; LastChunk the offset of the first
	// message of the newest chunk that a majority has.
	FirstOffset uint64
	LastChunk   uint64
}

// DeclareStream makes a stream, or makes sure that it is there just so. One
// that is there with other settings is a *BrokerError with code 17.
func (c *Client) DeclareStream(ctx context.Context, s StreamSpec) error {
	if err := s.validate(); err != nil {
		return err
	}
	_, err := c.askStream(ctx, &streamproto.Create{Stream: s.Name, Arguments: s.arguments()}, "declaring stream %q", s.Name)
	return named(ignore(err, streamproto.CodeStreamExists))
}

// DeleteStream deletes a stream. To delete one that is not there is no error.
func (c *Client) DeleteStream(ctx context.Context, name string) error {
	_, err := c.askStream(ctx, &streamproto.Delete{Stream: name}, "deleting stream %q", name)
	return named(ignore(err, streamproto.CodeStreamDoesNotExist))
}

// DeclareSuperStream makes a super stream, or makes sure that there is one of
// the name with these partitions; their settings are not compared. It needs
// RabbitMQ 3.13.
func (c *Client) DeclareSuperStream(ctx context.Context, s SuperStreamSpec) error {
	partitions, keys, err := s.partitions()
	if err != nil {
		return err
	}
	_, err = c.askStream(ctx, &streamproto.CreateSuperStream{
		Name: s.Name, Partitions: partitions, BindingKeys: keys, Arguments: s.arguments(),
	}, "declaring super stream %q", s.Name)
	if err == nil || ignore(err, streamproto.CodeStreamExists) != nil {
		return named(err)
	}
	// The broker says so as well where one of the partitions' names is taken.
	there, asking := c.partitionsOf(ctx, s.Name)
	if asking != nil || !slices.Equal(slices.Sorted(slices.Values(there)), slices.Sorted(slices.Values(partitions))) {
		return fmt.Errorf("thump: %w, with the partitions %.200q, and not %.200q", err, there, partitions)
	}
	return nil
}

// partitionsMost is what RabbitMQ allows (rabbit_stream_manager.erl).
const partitionsMost = 1000

// partitions names the partitions and their binding keys.
func (s SuperStreamSpec) partitions() (names, keys []string, err error) {
	if err := s.validate(); err != nil {
		return nil, nil, err
	}
	keys = s.BindingKeys
	if s.Partitions != 0 && keys != nil || s.Partitions < 0 {
		return nil, nil, fmt.Errorf("thump: super stream %q: Partitions is %d, and there are %d BindingKeys: set one of them", s.Name, s.Partitions, len(keys))
	}
	for i := range s.Partitions {
		keys = append(keys, strconv.Itoa(i))
	}
	if len(keys) < 1 || len(keys) > partitionsMost {
		return nil, nil, fmt.Errorf("thump: super stream %q: %d partitions, not between 1 and %d", s.Name, len(keys), partitionsMost)
	}
	for _, key := range keys {
		names = append(names, s.Name+"-"+key)
	}
	return names, keys, nil
}

// DeleteSuperStream deletes a super stream with its partitions. To delete one
// that is not there is no error.
func (c *Client) DeleteSuperStream(ctx context.Context, name string) error {
	_, err := c.askStream(ctx, &streamproto.DeleteSuperStream{Name: name}, "deleting super stream %q", name)
	return named(ignore(err, streamproto.CodeStreamDoesNotExist))
}

// Partitions returns the streams that a super stream consists of, in order.
func (c *Client) Partitions(ctx context.Context, superStream string) ([]string, error) {
	streams, err := c.partitionsOf(ctx, superStream)
	return streams, named(err)
}

func (c *Client) partitionsOf(ctx context.Context, superStream string) ([]string, error) {
	r, err := c.askStream(ctx, &streamproto.Partitions{SuperStream: superStream}, "asking for the partitions of super stream %q", superStream)
	if err != nil {
		return nil, err
	}
	streams := r.(*streamproto.PartitionsResponse).Streams
	if len(streams) == 0 {
		return nil, fmt.Errorf("super stream %q has no partitions", superStream)
	}
	return streams, nil
}

// InspectStream asks for a stream. IsNotFound tells whether the error is that it
// is not there.
func (c *Client) InspectStream(ctx context.Context, name string) (StreamInfo, error) {
	info, err := c.inspectStream(ctx, name)
	if err != nil {
		return StreamInfo{}, fmt.Errorf("thump: inspecting stream %q: %w", name, public(err))
	}
	return info, nil
}

func (c *Client) inspectStream(ctx context.Context, name string) (StreamInfo, error) {
	leader, replicas, err := c.nodesOf(ctx, name)
	if err != nil {
		return StreamInfo{}, err
	}
	info := StreamInfo{Name: name, Leader: leader, Replicas: replicas}
	conn, err := c.streamControl(ctx)
	if err != nil {
		return StreamInfo{}, err
	}
	if conn.Server().Supports("", streamproto.KeyStreamStats, 1) != nil {
		return info, nil
	}
	// Only a node that has the stream knows.
	own := nodeAddress(conn.Server().AdvertisedHost, conn.Server().AdvertisedPort)
	if own != leader && !slices.Contains(replicas, own) {
		if conn, err = c.dialReplica(ctx, name); err != nil {
			return StreamInfo{}, err
		}
		defer goodbye(ctx, conn)
	}
	stats, err := statsOf(ctx, conn, name)
	if err != nil {
		return StreamInfo{}, err
	}
	info.Known, info.Empty, info.FirstOffset, info.LastChunk = true, stats.empty, stats.first, stats.lastChunk
	return info, nil
}

// streamStats is what the broker says of a stream's extent.
type streamStats struct {
	empty            bool
	first, lastChunk uint64 // offsets of the first messages of the first and the last committed chunk
}

// statsOf asks for a stream's extent (PROTOCOL.adoc StreamStats; -1 stands for
// none).
func statsOf(ctx context.Context, conn *streamconn.Conn, stream string) (streamStats, error) {
	r, err := conn.Call(ctx, &streamproto.StreamStats{Stream: stream})
	if err != nil {
		return streamStats{}, err
	}
	first, last := int64(-1), int64(-1)
	for _, s := range r.(*streamproto.StreamStatsResponse).Stats {
		switch s.Name {
		case "first_chunk_id":
			first = s.Value
		case "committed_chunk_id":
			last = s.Value
		}
	}
	if first < 0 || last < 0 {
		return streamStats{empty: true}, nil
	}
	return streamStats{first: uint64(first), lastChunk: uint64(last)}, nil
}

// QueryOffset returns the offset that is stored in a stream under a consumer's
// name; found is false where there is none.
func (c *Client) QueryOffset(ctx context.Context, stream, consumer string) (offset uint64, found bool, err error) {
	conn, err := c.streamControl(ctx)
	if err == nil {
		offset, found, err = queryOffset(ctx, conn, stream, consumer)
	}
	if err != nil {
		return 0, false, fmt.Errorf("thump: asking for the offset of consumer %q of stream %q: %w", consumer, stream, public(err))
	}
	return offset, found, nil
}

// queryOffset asks a node for a stored offset (PROTOCOL.adoc QueryOffset).
func queryOffset(ctx context.Context, conn *streamconn.Conn, stream, consumer string) (offset uint64, found bool, err error) {
	r, err := conn.Call(ctx, &streamproto.QueryOffset{Reference: consumer, Stream: stream})
	if server, ok := errors.AsType[*streamconn.ServerError](err); ok && server.Code == streamproto.CodeNoOffset {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	return r.(*streamproto.QueryOffsetResponse).Offset, true, nil
}
