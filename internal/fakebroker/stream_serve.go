package fakebroker

import (
	"fmt"
	"strconv"

	"github.com/thumpmq/thump/internal/streamproto"
)

// Serve does what an orderly broker would, until the client has said goodbye or
// has hung up: it answers every request, confirms every entry, keeps offsets,
// leads every stream, and delivers nothing. handle, where it is not nil, sees
// each command first, and reports whether it has dealt with it.
func (s *StreamSession) Serve(handle func(*StreamReceived) bool) {
	s.raw.t.Helper()
	for {
		r, err := s.next()
		if err != nil {
			return
		}
		if handle != nil && handle(r) {
			continue
		}
		if !s.handle(r) {
			return
		}
	}
}

// handle does what an orderly broker would, and reports whether that goes on.
func (s *StreamSession) handle(r *StreamReceived) bool {
	s.raw.t.Helper()
	switch c := r.Command.(type) {
	case *Published:
		return s.Offer(streamproto.AppendPublishConfirm(nil, c.PublisherID, c.IDs()...))
	case *streamproto.StoreOffset:
		s.offsets[streamproto.QueryOffset{Reference: c.Reference, Stream: c.Stream}] = c.Offset
	case *streamproto.Close:
		s.Offer(StreamResponse(r.Correlation, s.answer(c)))
		s.Close()
		return false
	case streamproto.Request:
		return s.Offer(StreamResponse(r.Correlation, s.answer(c)))
	}
	return true
}

// answer is what an orderly broker answers.
func (s *StreamSession) answer(request streamproto.Request) streamproto.Response {
	s.raw.t.Helper()
	switch q := request.(type) {
	case *streamproto.QueryPublisherSequence:
		return &streamproto.QueryPublisherSequenceResponse{Code: streamproto.CodeOK}
	case *streamproto.QueryOffset:
		offset, found := s.offsets[*q]
		if !found {
			return &streamproto.QueryOffsetResponse{Code: streamproto.CodeNoOffset}
		}
		return &streamproto.QueryOffsetResponse{Code: streamproto.CodeOK, Offset: offset}
	case *streamproto.Metadata:
		return s.metadata(q)
	case *streamproto.SASLAuthenticate:
		return &streamproto.SASLAuthenticateResponse{Code: streamproto.CodeOK}
	case *streamproto.Route:
		return &streamproto.RouteResponse{Code: streamproto.CodeOK}
	case *streamproto.Partitions:
		return &streamproto.PartitionsResponse{Code: streamproto.CodeOK, Streams: []string{q.SuperStream + "-0", q.SuperStream + "-1"}}
	case *streamproto.StreamStats:
		return &streamproto.StreamStatsResponse{Code: streamproto.CodeOK, Stats: []streamproto.Stat{
			{Name: "first_chunk_id", Value: -1}, {Name: "last_chunk_id", Value: -1}, {Name: "committed_chunk_id", Value: -1},
		}}
	case *streamproto.DeclarePublisher, *streamproto.DeletePublisher, *streamproto.Subscribe, *streamproto.Unsubscribe,
		*streamproto.Create, *streamproto.Delete, *streamproto.CreateSuperStream, *streamproto.DeleteSuperStream, *streamproto.Close:
		return &streamproto.Done{For: request.Key(), Code: streamproto.CodeOK}
	}
	s.raw.fail("got %T, which an orderly client does not send now", request)
	return nil
}

// metadata says that this node leads every stream.
func (s *StreamSession) metadata(q *streamproto.Metadata) *streamproto.MetadataResponse {
	r := &streamproto.MetadataResponse{}
	host, port := AdvertisedHost, AdvertisedPort
	for _, p := range s.greeting.Open {
		switch p.Key {
		case "advertised_host":
			host = p.Value
		case "advertised_port":
			port = p.Value
		}
	}
	n, err := strconv.ParseUint(port, 10, 32)
	if err != nil {
		s.raw.fail("the script advertises port %q", port)
	}
	r.Brokers = []streamproto.Broker{{Reference: 7, Host: host, Port: uint32(n)}}
	for _, stream := range q.Streams {
		r.Streams = append(r.Streams, streamproto.StreamMetadata{Stream: stream, Code: streamproto.CodeOK, Leader: 7})
	}
	return r
}

// Feed delivers frames, each a Deliver with one chunk, to a subscription, as
// credit for it comes, and meanwhile handles what else the client sends as Serve
// does. It fails the test if the client ever gives more credit than it began
// with. With halves it sends as RabbitMQ has since 3.12: nothing until there is
// more credit than half of the first, and then all of it
// (rabbit_stream_reader.erl, send_limit). It returns once all were sent, and
// reports whether the client stayed that long.
func (s *StreamSession) Feed(sub *streamproto.Subscribe, halves bool, frames ...[]byte) bool {
	s.raw.t.Helper()
	credit, limit := int(sub.Credit), 0
	if halves {
		limit = credit / 2
	}
	for {
		if credit > limit {
			for ; credit > 0 && len(frames) > 0; credit-- {
				if !s.Offer(frames[0]) {
					return false
				}
				frames = frames[1:]
			}
		}
		if len(frames) == 0 {
			return true
		}
		r, err := s.next()
		if err != nil {
			return false
		}
		if c, ok := r.Command.(*streamproto.Credit); ok && c.SubscriptionID == sub.SubscriptionID {
			if credit += int(c.Credit); credit > int(sub.Credit) {
				s.raw.fail("subscription %d has credit for %d chunks, and began with %d", c.SubscriptionID, credit, sub.Credit)
			}
			continue
		}
		if !s.handle(r) {
			return false
		}
	}
}

// Chunk is a chunk of messages for a subscription, an entry each, whose bodies
// these are.
func Chunk(subscription uint8, firstOffset uint64, bodies ...string) *streamproto.Chunk {
	c := &streamproto.Chunk{SubscriptionID: subscription, FirstOffset: firstOffset, Timestamp: 1_700_000_000_000, Epoch: 1}
	for _, body := range bodies {
		AddEntry(c, body)
	}
	return c
}

// AddEntry adds an entry with one message to a chunk.
func AddEntry(c *streamproto.Chunk, body string) {
	entry := streamproto.AppendDataEntry(nil, 0, []byte(body))
	c.Data = append(c.Data, entry[publishingIDSize:]...)
	c.Entries++
	c.Records++
}

// AddBatch adds an entry to a chunk: a batch with these messages, not compressed.
func AddBatch(c *streamproto.Chunk, bodies ...string) {
	b := streamproto.BeginBatch(nil)
	for _, body := range bodies {
		b = streamproto.AppendBatchedData(b, []byte(body))
	}
	streamproto.EndBatch(b, 0, 0, len(bodies))
	c.Data = append(c.Data, b[publishingIDSize:]...)
	c.Entries++
	c.Records += uint32(len(bodies))
}

// AddCompressed adds an entry to a chunk: a batch that says of itself what the
// arguments say.
func AddCompressed(c *streamproto.Chunk, compression uint8, count int, uncompressedSize uint32, data []byte) {
	b := streamproto.AppendBatch(nil, 0, compression, count, uncompressedSize, data)
	c.Data = append(c.Data, b[publishingIDSize:]...)
	c.Entries++
	c.Records += uint32(count)
}

// publishingIDSize is what an entry of a Publish has in front of one of a chunk.
const publishingIDSize = 8

// Deliver returns the frame of a chunk.
func Deliver(c *streamproto.Chunk) []byte { return streamproto.AppendDeliver(nil, 1, c) }

// Numbered returns frames of n chunks of size messages each, whose bodies say
// their offsets.
func Numbered(subscription uint8, n, size int) [][]byte {
	frames := make([][]byte, 0, n)
	for i := range n {
		first := i * size
		c := Chunk(subscription, uint64(first))
		for j := range size {
			AddEntry(c, fmt.Sprint("message ", first+j))
		}
		frames = append(frames, Deliver(c))
	}
	return frames
}
