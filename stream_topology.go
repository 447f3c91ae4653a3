package thump

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
)

// StreamSpec is a stream to declare. The zero value of everything but Name is
// RabbitMQ's default: a stream that keeps everything.
type StreamSpec struct {
	Name string

	// MaxBytes and MaxAge limit what the stream keeps, in bytes and in time; 0 is
	// no limit. RabbitMQ deletes the oldest messages by whole segments, and never
	// the newest segment.
	MaxBytes int64
	MaxAge   time.Duration
	// SegmentBytes is the size of a segment file; default 500 MB.
	SegmentBytes int64
	// FilterBytes is the size of a chunk's Bloom filter, from 16 to 255;
	// default 16 (RabbitMQ 3.13).
	FilterBytes int
	// LeaderLocator says on which node of a cluster the leader is placed:
	// "client-local" or "balanced" ("least-leaders" before 3.13).
	LeaderLocator string
	// InitialClusterSize is how many nodes of the cluster get the stream.
	InitialClusterSize int
}

// arguments returns those of the Create command (PROTOCOL.adoc Create).
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

// validate refuses what RabbitMQ would accept and take for something else.
func (s StreamSpec) validate() error {
	switch {
	case s.MaxBytes < 0 || s.MaxAge < 0 || s.SegmentBytes < 0 || s.FilterBytes < 0 || s.InitialClusterSize < 0:
		return fmt.Errorf("stream %q: a size or age is below zero: MaxBytes %d, MaxAge %v, SegmentBytes %d, FilterBytes %d, InitialClusterSize %d",
			s.Name, s.MaxBytes, s.MaxAge, s.SegmentBytes, s.FilterBytes, s.InitialClusterSize)
	default:
		return nil
	}
}

// SuperStreamSpec is a super stream to declare: an exchange, and the partitions,
// which are streams bound to it. Either Partitions or BindingKeys must be set.
type SuperStreamSpec struct {
	StreamSpec // of the super stream's name, and each partition's settings

	// Partitions is how many there are. They are called name-0, name-1 and so on,
	// and bound with "0", "1" and so on.
	Partitions int
	// BindingKeys has one key for each partition, which is called name-key.
	BindingKeys []string
}

// StreamInfo is a stream as the broker described it.
type StreamInfo struct {
	Name string
	// Leader and Replicas are nodes, by the host:port that they advertise. Leader
	// is empty while the stream has none.
	Leader   string
	Replicas []string

	// Known reports whether the fields below are set. RabbitMQ 3.10 can't say, and a
	// stream whose replicas are not up again can't either.
	Known bool
	Empty bool // nothing was ever stored, or everything has gone
	// FirstOffset is the oldest message's; LastChunk the offset of the first
	// message of the newest chunk that a majority has.
	FirstOffset uint64
	LastChunk   uint64
}

// SuperStreamInfo is a super stream as the broker described it.
type SuperStreamInfo struct {
	Name       string
	Partitions []Partition // in the order that Client.Partitions has
}

// Partition is one of the streams that a super stream consists of.
type Partition struct {
	Name string
	// BindingKey is what the partition is bound with, where Known is set. No command tells
	// that. But a partition that DeclareSuperStream or RabbitMQ's own tools have made is
	// called name-key, and the broker can be asked whether that key leads to it, and to no
	// other. One that has another name, or several bindings, is not Known.
	BindingKey string
	Known      bool
}

// DeclareStream makes a stream, or checks that the one of that name has these
// settings; one with others is a *BrokerError with code 17.
func (c *Client) DeclareStream(ctx context.Context, s StreamSpec) error {
	if err := errors.Join(checkStreamName(c.vhost(), s.Name), s.validate()); err != nil {
		return withPrefix(mistake(err))
	}
	_, err := c.askStream(ctx, &streamproto.Create{Stream: s.Name, Arguments: s.arguments()}, "declaring stream %q", s.Name)
	if refused, ok := errors.AsType[*BrokerError](err); ok && refused.Code == uint16(streamproto.CodePreconditionFailed) {
		err = fmt.Errorf("%w (a stream with other settings is there, or a queue, or the settings are none)", err)
	}
	return withPrefix(ignore(err, streamproto.CodeStreamExists))
}

// DeleteStream deletes a stream with its messages. Deleting one that does not exist is
// no error.
func (c *Client) DeleteStream(ctx context.Context, name string) error {
	if err := checkName("stream", name); err != nil {
		return withPrefix(mistake(err))
	}
	_, err := c.askStream(ctx, &streamproto.Delete{Stream: name}, "deleting stream %q", name)
	return withPrefix(ignore(err, streamproto.CodeStreamDoesNotExist))
}

// DeclareSuperStream makes a super stream, or checks that the one of that name has
// these partitions; their settings are not compared. It needs RabbitMQ 3.13.
func (c *Client) DeclareSuperStream(ctx context.Context, s SuperStreamSpec) error {
	partitions, keys, err := s.partitions(c.vhost())
	if err != nil {
		return withPrefix(mistake(err))
	}
	_, err = c.askStream(ctx, &streamproto.CreateSuperStream{
		Name: s.Name, Partitions: partitions, BindingKeys: keys, Arguments: s.arguments(),
	}, "declaring super stream %q", s.Name)
	if err == nil || ignore(err, streamproto.CodeStreamExists) != nil {
		return withPrefix(err)
	}
	// The broker also says that it exists where the name of a partition is taken.
	there, asking := c.partitionsOf(ctx, s.Name)
	if asking != nil || !slices.Equal(slices.Sorted(slices.Values(there)), slices.Sorted(slices.Values(partitions))) {
		return withPrefix(fmt.Errorf("%w, with the partitions %.200q, and not %.200q", err, there, partitions))
	}
	return nil
}

// ignore returns err, or nil where the broker has answered with that code of the
// stream protocol.
func ignore(err error, code streamproto.Code) error {
	if broker, ok := errors.AsType[*BrokerError](err); ok && broker.Protocol == Streams && broker.Code == uint16(code) {
		return nil
	}
	return err
}

// partitionsMost is what RabbitMQ allows (rabbit_stream_manager.erl).
const partitionsMost = 1000

// partitions returns the names of the partitions, which are declared in vhost, and
// their binding keys.
func (s SuperStreamSpec) partitions(vhost string) (names, keys []string, err error) {
	if err := errors.Join(checkNewName("super stream", s.Name), s.validate()); err != nil {
		return nil, nil, err
	}
	keys = s.BindingKeys
	if s.Partitions != 0 && keys != nil || s.Partitions < 0 {
		return nil, nil, fmt.Errorf("super stream %q: Partitions is %d, and there are %d BindingKeys: set one of them", s.Name, s.Partitions, len(keys))
	}
	for i := range s.Partitions {
		keys = append(keys, strconv.Itoa(i))
	}
	if len(keys) < 1 || len(keys) > partitionsMost {
		return nil, nil, fmt.Errorf("super stream %q: %d partitions, not between 1 and %d", s.Name, len(keys), partitionsMost)
	}
	for i, key := range keys {
		if slices.Contains(keys[:i], key) {
			return nil, nil, fmt.Errorf("super stream %q: two partitions have the binding key %q", s.Name, key)
		}
		name := s.Name + "-" + key
		if err := checkStreamName(vhost, name); err != nil {
			return nil, nil, fmt.Errorf("super stream %q: a partition: %w", s.Name, err)
		}
		names = append(names, name)
	}
	return names, keys, nil
}

// DeleteSuperStream deletes a super stream with its partitions. Deleting one that
// does not exist is no error.
func (c *Client) DeleteSuperStream(ctx context.Context, name string) error {
	if err := checkName("super stream", name); err != nil {
		return withPrefix(mistake(err))
	}
	_, err := c.askStream(ctx, &streamproto.DeleteSuperStream{Name: name}, "deleting super stream %q", name)
	return withPrefix(ignore(err, streamproto.CodeStreamDoesNotExist))
}

// Partitions returns the streams that a super stream consists of, each once, in the
// order of their bindings (x-stream-partition-order): with several bindings a
// stream has the place of the first. For a super stream that does not exist, IsNotFound
// is true of the error; for an ordinary stream too, and the error says that.
func (c *Client) Partitions(ctx context.Context, superStream string) ([]string, error) {
	streams, err := c.partitionsOf(ctx, superStream)
	return streams, withPrefix(err)
}

func (c *Client) partitionsOf(ctx context.Context, superStream string) ([]string, error) {
	streams, _, err := c.boundTo(ctx, superStream)
	return streams, err
}

// boundTo returns the partitions of a super stream, and how many bindings each has.
func (c *Client) boundTo(ctx context.Context, superStream string) (streams []string, bindings map[string]int, err error) {
	if err := checkName("super stream", superStream); err != nil {
		return nil, nil, err
	}
	r, err := c.askStream(ctx, &streamproto.Partitions{SuperStream: superStream}, "asking for the partitions of super stream %q", superStream)
	if err != nil {
		return nil, nil, c.mistaken(ctx, SuperStream(superStream), err)
	}
	bound := r.(*streamproto.PartitionsResponse).Streams
	bindings = make(map[string]int, len(bound))
	for _, stream := range bound {
		bindings[stream]++
	}
	streams = distinct(bound)
	if n := len(streams); n == 0 {
		return nil, nil, fmt.Errorf("super stream %q has no partitions", superStream)
	} else if n > partitionsMost { // each would get a connection
		return nil, nil, fmt.Errorf("super stream %q has %d partitions, more than the %d that RabbitMQ allows", superStream, n, partitionsMost)
	}
	return streams, bindings, nil
}

// routeOf asks which partitions a routing key leads to (PROTOCOL.adoc Route).
func (c *Client) routeOf(ctx context.Context, superStream, key string) ([]string, error) {
	r, err := c.askStream(ctx, &streamproto.Route{RoutingKey: key, SuperStream: superStream}, "asking where the routing key %q leads", key)
	if err != nil {
		return nil, err
	}
	return distinct(r.(*streamproto.RouteResponse).Streams), nil
}

// InspectSuperStream describes a super stream. Its errors are those of Partitions. It asks the
// broker a question for each partition.
func (c *Client) InspectSuperStream(ctx context.Context, name string) (SuperStreamInfo, error) {
	streams, bindings, err := c.boundTo(ctx, name)
	if err != nil {
		return SuperStreamInfo{}, withPrefix(err)
	}
	info := SuperStreamInfo{Name: name}
	for _, stream := range streams {
		p := Partition{Name: stream}
		if key, named := strings.CutPrefix(stream, name+"-"); named && bindings[stream] == 1 {
			to, err := c.routeOf(ctx, name, key)
			if err != nil {
				return SuperStreamInfo{}, withPrefix(err)
			}
			if slices.Equal(to, []string{stream}) {
				p.BindingKey, p.Known = key, true
			}
		}
		info.Partitions = append(info.Partitions, p)
	}
	return info, nil
}

// distinct returns the streams of a list, each where it is named first: the broker
// names one for every binding that leads to it.
func distinct(streams []string) []string {
	seen := make(map[string]bool, len(streams))
	return slices.DeleteFunc(streams, func(stream string) bool {
		again := seen[stream]
		seen[stream] = true
		return again
	})
}

// InspectStream describes a stream. For one that does not exist, IsNotFound is true of
// the error. It may have to connect to a node that has the stream.
func (c *Client) InspectStream(ctx context.Context, name string) (StreamInfo, error) {
	if err := checkName("stream", name); err != nil {
		return StreamInfo{}, withPrefix(mistake(err))
	}
	info, err := c.inspectStream(ctx, name)
	if err != nil {
		return StreamInfo{}, withPrefix(fmt.Errorf("inspecting stream %q: %w", name, toPublic(err)))
	}
	return info, nil
}

func (c *Client) inspectStream(ctx context.Context, name string) (StreamInfo, error) {
	leader, replicas, err := c.nodesOf(ctx, name)
	if err != nil {
		return StreamInfo{}, err
	}
	info := StreamInfo{Name: name, Leader: leader, Replicas: replicas}
	conn, err := c.locator.get(ctx)
	if err != nil {
		return StreamInfo{}, err
	}
	if conn.Server().Supports("", streamproto.KeyStreamStats, 1) != nil {
		return info, nil
	}
	// Only a node that has the stream can say more.
	own := nodeAddress(conn.Server().AdvertisedHost, conn.Server().AdvertisedPort)
	if own != leader && !slices.Contains(replicas, own) {
		if conn, err = c.dialReplica(ctx, name); err != nil {
			return StreamInfo{}, err
		}
		defer goodbye(ctx, conn)
	}
	stats, err := statsOf(ctx, conn, name, time.Now().Add(uncommittedTimeout))
	if err != nil {
		return StreamInfo{}, err
	}
	info.Known, info.Empty, info.FirstOffset, info.LastChunk = stats.known, stats.empty, stats.first, stats.lastChunk
	return info, nil
}

// streamStats says which offsets a stream has.
type streamStats struct {
	known            bool // the node knows which chunks are committed
	empty            bool
	first, lastChunk uint64 // offsets of the first messages of the first and the last committed chunk
	newest           uint64 // the same of the last chunk that the node has, where it says so
}

const (
	// uncommittedTimeout is how long InspectStream waits for a node to know which chunks
	// are committed, and uncommittedPause is the time from one question to the next.
	uncommittedTimeout = 2 * time.Second
	uncommittedPause   = 20 * time.Millisecond
)

// statsOf asks which offsets a stream has, until deadline, or without end where that is
// zero. A stream's node that has just started answers with chunks and none of them
// committed: it learns that from the end of its log, or from the other replicas
// (osiris_writer.erl, handle_continue). Such a stream is not empty.
func statsOf(ctx context.Context, conn *streamconn.Conn, stream string, deadline time.Time) (streamStats, error) {
	for {
		stats, err := askStats(ctx, conn, stream)
		if err != nil || stats.known || !deadline.IsZero() && time.Now().After(deadline) {
			return stats, err
		}
		if !pause(ctx, uncommittedPause) {
			return stats, ctx.Err()
		}
	}
}

// askStats is one question of statsOf (PROTOCOL.adoc StreamStats; -1 stands for none).
func askStats(ctx context.Context, conn *streamconn.Conn, stream string) (streamStats, error) {
	r, err := conn.Call(ctx, &streamproto.StreamStats{Stream: stream})
	if err != nil {
		return streamStats{}, err
	}
	first, last, newest := int64(-1), int64(-1), int64(-1)
	for _, s := range r.(*streamproto.StreamStatsResponse).Stats {
		switch s.Name {
		case "first_chunk_id":
			first = s.Value
		case "committed_chunk_id":
			last = s.Value
		case "last_chunk_id":
			newest = s.Value
		}
	}
	switch {
	case first < 0:
		return streamStats{known: true, empty: true}, nil
	case last < 0:
		return streamStats{}, nil
	}
	return streamStats{known: true, first: uint64(first), lastChunk: uint64(last), newest: uint64(max(last, newest))}, nil
}

// QueryOffset returns the offset that is stored in a stream under a consumer's
// name; found is false where there is none. For a stream that does not exist, IsNotFound
// is true of the error.
func (c *Client) QueryOffset(ctx context.Context, stream, consumer string) (offset uint64, found bool, err error) {
	if err := errors.Join(checkName("stream", stream), checkName("consumer", consumer)); err != nil {
		return 0, false, withPrefix(mistake(err))
	}
	conn, err := c.locator.get(ctx)
	if err == nil {
		offset, found, err = queryOffset(ctx, conn, stream, consumer)
	}
	if err != nil {
		return 0, false, withPrefix(fmt.Errorf("asking for the offset of consumer %q of stream %q: %w", consumer, stream, toPublic(err)))
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
