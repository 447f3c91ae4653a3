package streamproto

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
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

// backAndForth reads a request or a response, and writes it again.
func backAndForth(f Frame) ([]byte, error) {
	if f.IsResponse() {
		correlation, r, err := ParseResponse(f)
		if err != nil {
			return nil, err
		}
		return AppendResponse(nil, correlation, r)
	}
	correlation, r, err := ParseRequest(f)
	if err != nil {
		return nil, err
	}
	return AppendRequest(nil, correlation, r)
}

// allCommands returns the frames of all requests and responses.
func allCommands(t testing.TB) [][]byte {
	t.Helper()
	var frames [][]byte
	for _, r := range requests() {
		b, err := AppendRequest(nil, 7, r)
		if err != nil {
			t.Fatal(err)
		}
		if r.Key() != KeyRoute && r.Key() != KeyPartitions { // which a client takes for answers
			frames = append(frames, b)
		}
	}
	for _, r := range responses() {
		b, err := AppendResponse(nil, 7, r)
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, b)
	}
	return frames
}

// TestCutAnywhere cuts each command at each of its bytes. If it can still be read, its
// end may be left out, and writing it gives bytes that no longer change.
func TestCutAnywhere(t *testing.T) {
	for _, b := range allCommands(t) {
		f := frameOf(t, b)
		for size := range f.Body {
			cut := f
			cut.Body = f.Body[:size]
			back, err := backAndForth(cut)
			if err != nil {
				if !errors.Is(err, wire.ErrShort) {
					t.Errorf("%v cut to %d of %d bytes: got %v", f.Key, size, len(f.Body), err)
				}
				continue
			}
			if again, err := backAndForth(frameOf(t, back)); err != nil || !bytes.Equal(again, back) {
				t.Errorf("%v cut to %d of %d bytes: % x came back as % x, %v", f.Key, size, len(f.Body), back, again, err)
			}
		}
		f.Body = append(bytes.Clone(f.Body), 0)
		if _, err := backAndForth(f); !errors.Is(err, wire.ErrTrailing) && !errors.Is(err, wire.ErrShort) {
			t.Errorf("%v with a byte after it: %v", f.Key, err)
		}
	}
}

// TestWhatMayBeLeftOut reads what RabbitMQ does not send and other peers could.
func TestWhatMayBeLeftOut(t *testing.T) {
	tests := []struct {
		name string
		in   string // after the size
		want any
	}{
		{"an error without the rest", "\x80\x19\x00\x01\x00\x00\x00\x07\x00\x02", &PartitionsResponse{Code: CodeStreamDoesNotExist}},
		{"no connection properties", "\x80\x15\x00\x01\x00\x00\x00\x07\x00\x01", &OpenResponse{Code: CodeOK}},
		{"an empty list of them", "\x80\x15\x00\x01\x00\x00\x00\x07\x00\x01\x00\x00\x00\x00", &OpenResponse{Code: CodeOK}},
		{"3.10's answer to Partitions", "\x00\x19\x00\x01\x00\x00\x00\x07\x00\x01\x00\x00\x00\x01\x00\x01p", &PartitionsResponse{Code: CodeOK, Streams: []string{"p"}}},
		{"a null string", "\x00\x15\x00\x01\x00\x00\x00\x07\xff\xff", &Open{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := frameOf(t, append([]byte{0, 0, 0, byte(len(test.in))}, test.in...))
			var got any
			var correlation uint32
			var err error
			if f.IsResponse() {
				correlation, got, err = ParseResponse(f)
			} else {
				correlation, got, err = ParseRequest(f)
			}
			if err != nil || correlation != 7 || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	var unexpectedErr *UnexpectedFrameError
	isUnexpected := func(err error) bool { return errors.As(err, &unexpectedErr) }
	var offsetErr *OffsetTypeError
	tests := []struct {
		name string
		in   string
		want func(err error) bool
	}{
		{"unknown request", "\x00\x20\x00\x01\x00\x00\x00\x07", isUnexpected},
		{"unknown response", "\x80\x20\x00\x01\x00\x00\x00\x07", isUnexpected},
		{"key 0", "\x00\x00\x00\x01\x00\x00\x00\x07", isUnexpected},
		{"version 2", "\x00\x0e\x00\x02\x00\x00\x00\x07\x00\x00", isUnexpected},
		{"a response to Credit", "\x80\x09\x00\x01\x00\x04\x07", isUnexpected},
		{"offset type 6", "\x00\x1f\x00\x01\x00\x00\x00\x07\x00\x01e\x00\x06", func(err error) bool {
			return errors.As(err, &offsetErr) && offsetErr.Type == 6
		}},
		{"string of -2 bytes", "\x00\x0e\x00\x01\x00\x00\x00\x07\xff\xfe", func(err error) bool { return errors.Is(err, errStringLength) }},
		{"a boolean of 2", "\x00\x1a\x00\x01\x00\x00\x00\x07\x00\x02", func(err error) bool { return errors.Is(err, errBool) }},
		{"2^32-1 streams", "\x00\x0f\x00\x01\x00\x00\x00\x07\xff\xff\xff\xff", isShort},
		{"2^31 properties", "\x00\x11\x00\x01\x00\x00\x00\x07\x80\x00\x00\x00\x00\x00\x00\x00", isShort},
		{"2^31 bytes", "\x00\x13\x00\x01\x00\x00\x00\x07\x00\x00\x80\x00\x00\x00", isShort},
		{"2^32-1 brokers", "\x80\x0f\x00\x01\x00\x00\x00\x07\xff\xff\xff\xff", isShort},
		{"an OK without the rest", "\x80\x19\x00\x01\x00\x00\x00\x07\x00\x01", isShort},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := frameOf(t, append([]byte{0, 0, 0, byte(len(test.in))}, test.in...))
			checkAllocation(t, len(test.in), func() {
				if back, err := backAndForth(f); !test.want(err) {
					t.Errorf("got % x, %v", back, err)
				}
			})
		})
	}
}

func isShort(err error) bool { return errors.Is(err, wire.ErrShort) }

func TestAppendErrors(t *testing.T) {
	long := strings.Repeat("x", math.MaxInt16+1)
	dst := []byte("before")
	var tooLong *StringTooLongError
	var offsetErr *OffsetTypeError
	check := func(name string, got []byte, err, want any) {
		t.Helper()
		if e, _ := err.(error); e == nil || !errors.As(e, want) || string(got) != "before" {
			t.Errorf("%s: got %.20q, %v", name, got, err)
		}
	}
	got, err := AppendRequest(dst, 1, &Create{Stream: "s", Arguments: []Property{{"k", long}}})
	check("request", got, err, &tooLong)
	if want := "Create: Value is 32768 bytes long, at most 32767 fit"; err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	got, err = AppendRequest(dst, 1, &Subscribe{Offset: OffsetSpec{Type: 6}})
	check("offset type", got, err, &offsetErr)
	got, err = AppendResponse(dst, 1, &SASLAuthenticateResponse{Challenge: []byte(long)})
	check("response", got, err, &tooLong)
	got, err = AppendStoreOffset(dst, &StoreOffset{Reference: long})
	check("StoreOffset", got, err, &tooLong)
	got, err = AppendMetadataUpdate(dst, &MetadataUpdate{Stream: long})
	check("MetadataUpdate", got, err, &tooLong)
	got, err = BeginFilteredEntry(dst, 1, long)
	check("filter value", got, err, &tooLong)
	if b, err := AppendRequest(nil, 1, &Delete{Stream: long[1:]}); err != nil || len(frameOf(t, b).Body) != 4+2+math.MaxInt16 {
		t.Errorf("a string of 32767 bytes: %v", err)
	}
}

// TestCommandsWithoutCorrelation writes and reads those that have functions of
// their own, and cuts them at each of their bytes.
func TestCommandsWithoutCorrelation(t *testing.T) {
	store := &StoreOffset{Reference: "name", Stream: "events", Offset: 1 << 63}
	stored, err := AppendStoreOffset(nil, store)
	if err != nil {
		t.Fatal(err)
	}
	update := &MetadataUpdate{Code: CodeStreamNotAvailable, Stream: "events"}
	updated, err := AppendMetadataUpdate(nil, update)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		wire  string
		got   []byte
		want  any
		parse func(f Frame) (any, error)
	}{
		{
			"Credit", "\x00\x00\x00\x07\x00\x09\x00\x01\x05\x01\x02", AppendCredit(nil, Credit{5, 0x102}),
			Credit{5, 0x102},
			func(f Frame) (any, error) { return ParseCredit(f) },
		},
		{
			"CreditError", "\x00\x00\x00\x07\x80\x09\x00\x01\x00\x04\x05", AppendCreditError(nil, CreditError{CodeSubscriptionIDDoesNotExist, 5}),
			CreditError{CodeSubscriptionIDDoesNotExist, 5},
			func(f Frame) (any, error) { return ParseCreditError(f) },
		},
		{
			"Tune", "\x00\x00\x00\x0c\x80\x14\x00\x01\x00\x10\x00\x00\x00\x00\x00\x3c", AppendTune(nil, Tune{1 << 20, 60}),
			Tune{1 << 20, 60},
			func(f Frame) (any, error) { return ParseTune(f) },
		},
		{
			"Tune offer", "\x00\x00\x00\x0c\x00\x14\x00\x01\x00\x10\x00\x00\x00\x00\x00\x3c", AppendTuneOffer(nil, Tune{1 << 20, 60}),
			Tune{1 << 20, 60},
			func(f Frame) (any, error) { return ParseTune(f) },
		},
		{
			"StoreOffset", "\x00\x00\x00\x1a\x00\x0a\x00\x01\x00\x04name\x00\x06events\x80\x00\x00\x00\x00\x00\x00\x00", stored,
			*store, func(f Frame) (any, error) { return ParseStoreOffset(f) },
		},
		{
			"MetadataUpdate", "\x00\x00\x00\x0e\x00\x10\x00\x01\x00\x06\x00\x06events", updated,
			*update, func(f Frame) (any, error) { return ParseMetadataUpdate(f) },
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if string(test.got) != test.wire {
				t.Errorf("got  % x\nwant % x", test.got, test.wire)
			}
			f := frameOf(t, test.got)
			if got, err := test.parse(f); err != nil || got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
			for size := range f.Body {
				cut := f
				cut.Body = f.Body[:size]
				if _, err := test.parse(cut); !isShort(err) {
					t.Errorf("cut to %d bytes: %v", size, err)
				}
			}
			var unexpectedErr *UnexpectedFrameError
			for _, other := range []Frame{{KeyHeartbeat, false, 1, f.Body}, {f.Key, f.Response, 2, f.Body}} {
				if _, err := test.parse(other); !errors.As(err, &unexpectedErr) {
					t.Errorf("%v version %d: got %v", other.Key, other.Version, err)
				}
			}
		})
	}
}

// TestNames checks that each key and each code has a name, and that each struct has
// that of its command.
func TestNames(t *testing.T) {
	for k := range Key(40) {
		known := k >= KeyDeclarePublisher && k <= KeyResolveOffsetSpec
		if unnamed := strings.HasPrefix(k.String(), "command "); unnamed == known {
			t.Errorf("key %d is called %q", uint16(k), k)
		}
	}
	for c := range Code(30) {
		known := c >= CodeOK && c <= CodeSASLCannotChangeUsername
		if unnamed := strings.HasPrefix(c.String(), "response code "); unnamed == known {
			t.Errorf("code %d is called %q", uint16(c), c)
		}
	}
	for _, r := range requests() {
		name := reflect.TypeOf(r).Elem().Name()
		if !strings.EqualFold(name, r.Key().String()) {
			t.Errorf("%s has key %v", name, r.Key())
		}
	}
	for _, r := range responses() {
		name := reflect.TypeOf(r).Elem().Name()
		if name != "Done" && !strings.EqualFold(name, r.Key().String()+"Response") {
			t.Errorf("%s has key %v", name, r.Key())
		}
	}
}
