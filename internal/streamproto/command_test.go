package streamproto

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/thumpmq/thump/internal/wire"
)

// requests has one of every request, with a value in every field, and some with
// what may be left out.
func requests() []Request {
	properties := []Property{{"a", "1"}, {"b", ""}, {"a", "again"}}
	return []Request{
		&DeclarePublisher{PublisherID: 255, Reference: "name", Stream: "events"},
		&DeclarePublisher{Stream: "events"},
		&QueryPublisherSequence{Reference: "name", Stream: "events"},
		&DeletePublisher{PublisherID: 7},
		&Subscribe{SubscriptionID: 3, Stream: "events", Offset: OffsetSpec{Type: OffsetFirst}, Credit: 10},
		&Subscribe{SubscriptionID: 3, Stream: "events", Offset: OffsetSpec{Type: OffsetLast}, Credit: 10, Properties: properties},
		&Subscribe{Stream: "events", Offset: OffsetSpec{Type: OffsetNext}, Credit: 65535},
		&Subscribe{Stream: "events", Offset: OffsetSpec{Type: OffsetNumber, Value: 1 << 63}, Properties: properties},
		&Subscribe{Stream: "events", Offset: OffsetSpec{Type: OffsetTimestamp, Value: 0xFFFFFFFFFFFFFFFF}},
		&QueryOffset{Reference: "name", Stream: "events"},
		&Unsubscribe{SubscriptionID: 3},
		&Create{Stream: "events", Arguments: properties},
		&Create{Stream: "events"},
		&Delete{Stream: "events"},
		&Metadata{Streams: []string{"events", "", "orders"}},
		&Metadata{},
		&PeerProperties{Properties: properties},
		&SASLHandshake{},
		&SASLAuthenticate{Mechanism: "PLAIN", Data: []byte("\x00guest\x00guest")},
		&SASLAuthenticate{Mechanism: "EXTERNAL"},
		&SASLAuthenticate{Mechanism: "EXTERNAL", Data: []byte{}},
		&Open{VirtualHost: "/"},
		&Close{Code: CodeOK, Reason: "bye"},
		&Route{RoutingKey: "key", SuperStream: "orders"},
		&Partitions{SuperStream: "orders"},
		&ConsumerUpdate{SubscriptionID: 3, Active: true},
		&ConsumerUpdate{},
		&ExchangeCommandVersions{Commands: []CommandVersion{{KeyPublish, 1, 2}, {KeyDeliver, 1, 2}, {99, 3, 4}}},
		&StreamStats{Stream: "events"},
		&CreateSuperStream{Name: "orders", Partitions: []string{"orders-0", "orders-1"}, BindingKeys: []string{"0", "1"}, Arguments: properties},
		&DeleteSuperStream{Name: "orders"},
		&ResolveOffsetSpec{Stream: "events", Offset: OffsetSpec{Type: OffsetLast}},
		&ResolveOffsetSpec{Stream: "events", Offset: OffsetSpec{Type: OffsetTimestamp, Value: 1700000000000}, Properties: properties},
	}
}

// responses has one of every response, likewise.
func responses() []Response {
	properties := []Property{{"version", "4.3.6"}, {"product", ""}}
	all := []Response{
		&QueryPublisherSequenceResponse{Code: CodeOK, Sequence: 1 << 60},
		&QueryPublisherSequenceResponse{Code: CodeStreamDoesNotExist},
		&QueryOffsetResponse{Code: CodeOK, Offset: 42},
		&QueryOffsetResponse{Code: CodeNoOffset},
		&MetadataResponse{
			Brokers: []Broker{{0, "localhost", 5552}, {1, "127.0.0.1", 1 << 31}},
			Streams: []StreamMetadata{
				{Stream: "events", Code: CodeOK, Leader: 1, Replicas: []uint16{0, 65535}},
				{Stream: "gone", Code: CodeStreamDoesNotExist, Leader: NoLeader},
			},
		},
		&MetadataResponse{},
		&PeerPropertiesResponse{Code: CodeOK, Properties: properties},
		&SASLHandshakeResponse{Code: CodeOK, Mechanisms: []string{"PLAIN", "AMQPLAIN"}},
		&SASLAuthenticateResponse{Code: CodeOK},
		&SASLAuthenticateResponse{Code: CodeSASLChallenge, Challenge: []byte("Please name your user")},
		&OpenResponse{Code: CodeOK, Properties: properties},
		&OpenResponse{Code: CodeVirtualHostAccessFailure},
		&RouteResponse{Code: CodeOK, Streams: []string{"orders-1"}},
		&RouteResponse{Code: CodeStreamDoesNotExist},
		&PartitionsResponse{Code: CodeOK, Streams: []string{"orders-0", "orders-1"}},
		&ConsumerUpdateResponse{Code: CodeOK, Offset: OffsetSpec{Type: OffsetNone}},
		&ConsumerUpdateResponse{Code: CodeOK, Offset: OffsetSpec{Type: OffsetNumber, Value: 1000}},
		&ExchangeCommandVersionsResponse{Code: CodeOK, Commands: []CommandVersion{{KeyDeliver, 1, 2}}},
		&StreamStatsResponse{Code: CodeOK, Stats: []Stat{{"first_chunk_id", 0}, {"last_chunk_id", -1}}},
		&ResolveOffsetSpecResponse{Code: CodeOK, Offset: OffsetSpec{Type: OffsetNumber, Value: 7}},
		&ResolveOffsetSpecResponse{Code: CodeNoOffset, Offset: OffsetSpec{Type: OffsetNumber}},
	}
	for _, k := range []Key{
		KeyDeclarePublisher, KeyDeletePublisher, KeySubscribe, KeyUnsubscribe, KeyCreate, KeyDelete, KeyClose,
		KeyCreateSuperStream, KeyDeleteSuperStream,
	} {
		all = append(all, &Done{For: k, Code: CodePreconditionFailed})
	}
	return all
}

// frameOf reads the one frame that b is.
func frameOf(t testing.TB, b []byte) Frame {
	t.Helper()
	f, n, err := ParseFrame(b, Limits{})
	if err != nil || n != len(b) {
		t.Fatalf("% x reads as a frame of %d bytes, %v", b, n, err)
	}
	return f
}

func TestRequestsThereAndBack(t *testing.T) {
	for _, want := range requests() {
		t.Run(want.Key().String(), func(t *testing.T) {
			b, err := AppendRequest(nil, 0xFEDCBA98, want)
			if err != nil {
				t.Fatal(err)
			}
			correlation, got, err := ParseRequest(frameOf(t, b))
			if err != nil || correlation != 0xFEDCBA98 || !reflect.DeepEqual(got, want) {
				t.Fatalf("got %#x, %+v, %v, want %+v", correlation, got, err, want)
			}
			clear(b[FrameHeaderSize:])
			if !reflect.DeepEqual(got, want) {
				t.Error("what was read aliases the frame")
			}
		})
	}
}

func TestResponsesThereAndBack(t *testing.T) {
	for _, want := range responses() {
		t.Run(want.Key().String(), func(t *testing.T) {
			b, err := AppendResponse(nil, 0xFEDCBA98, want)
			if err != nil {
				t.Fatal(err)
			}
			correlation, got, err := ParseResponse(frameOf(t, b))
			if err != nil || correlation != 0xFEDCBA98 || !reflect.DeepEqual(got, want) || got.Result() != want.Result() {
				t.Fatalf("got %#x, %+v, %v, want %+v", correlation, got, err, want)
			}
			clear(b[FrameHeaderSize:])
			if !reflect.DeepEqual(got, want) {
				t.Error("what was read aliases the frame")
			}
		})
	}
}

// TestCutAnywhere cuts each command at each of its bytes. What still reads is a
// command whose end may be left out.
func TestCutAnywhere(t *testing.T) {
	check := func(b []byte, parse func(f Frame) error, again func(f Frame) []byte) {
		t.Helper()
		f := frameOf(t, b)
		for size := range f.Body {
			cut := f
			cut.Body = f.Body[:size]
			if err := parse(cut); err == nil {
				if back := again(cut); len(back) > len(b) {
					t.Errorf("%v cut to %d of %d bytes: came back as % x", f.Key, size, len(f.Body), back)
				}
			} else if !errors.Is(err, wire.ErrShort) {
				t.Errorf("%v cut to %d of %d bytes: got %v", f.Key, size, len(f.Body), err)
			}
		}
		f.Body = append(bytes.Clone(f.Body), 0)
		if err := parse(f); err == nil {
			t.Errorf("%v with a byte behind it: no error", f.Key)
		}
	}
	for _, r := range requests() {
		b, _ := AppendRequest(nil, 1, r)
		check(b, func(f Frame) error {
			_, _, err := ParseRequest(f)
			return err
		}, func(f Frame) []byte {
			_, r, _ := ParseRequest(f)
			b, _ := AppendRequest(nil, 1, r)
			return b
		})
	}
	for _, r := range responses() {
		b, _ := AppendResponse(nil, 1, r)
		check(b, func(f Frame) error {
			_, _, err := ParseResponse(f)
			return err
		}, func(f Frame) []byte {
			_, r, _ := ParseResponse(f)
			b, _ := AppendResponse(nil, 1, r)
			return b
		})
	}
}
