package streamproto

import (
	"encoding/binary"
	"fmt"
)

// Response is the answer to a Request: a pointer to one of this package's
// structs. All but ConsumerUpdateResponse, and the Done of a Close of the
// server's, are a server's to send.
type Response interface {
	// Key says which command it answers.
	Key() Key

	// Result is the response's code. The rest of the response means something
	// only with CodeOK. (A MetadataResponse has a code for each stream
	// instead, and returns CodeOK.)
	Result() Code

	// fields hands the fields behind the correlation id to c in the order
	// they have on the wire.
	fields(c codec)
}

// Done is the answer of those commands whose answer has a code and nothing else:
// DeclarePublisher, DeletePublisher, Subscribe, Unsubscribe, Create, Delete,
// Close, CreateSuperStream and DeleteSuperStream.
type Done struct {
	For  Key // the command it answers
	Code Code
}

// Key is that of the command answered.
func (r *Done) Key() Key { return r.For }

// Result is the response's code.
func (r *Done) Result() Code { return r.Code }

func (r *Done) fields(c codec) { c.code(&r.Code) }

// AppendResponse appends a frame with r in it, and keeps nothing of r. On an
// error (*StringTooLongError or *OffsetTypeError) it returns dst as it was.
func AppendResponse(dst []byte, correlation uint32, r Response) ([]byte, error) {
	w := writer{b: beginFrame(dst, uint16(r.Key())|responseBit, 1)}
	w.b = binary.BigEndian.AppendUint32(w.b, correlation)
	if r.fields(&w); w.err != nil {
		return dst, fmt.Errorf("streamproto: %v response: %w", r.Key(), w.err)
	}
	return endFrame(w.b, len(dst)), nil
}

// ParseResponse reads a response. What it returns is a copy, and the caller's; a
// code that says the request failed is not an error here. The errors are
// *UnexpectedFrameError for all that is no response with a correlation id
// (those to Credit and Tune have none), wire's, and some for fields that can't
// be. What is a response is what f.IsResponse says, not the bit alone.
func ParseResponse(f Frame) (correlation uint32, r Response, err error) {
	if r = newResponse(f.Key); r == nil || !f.IsResponse() || f.Version != 1 {
		return 0, nil, unexpected(&f)
	}
	correlation, err = parse(&f, r.fields)
	if err != nil {
		return 0, nil, err
	}
	return correlation, r, nil
}

// newResponse returns an empty struct for the answer to the command, or nil for
// one that is not answered.
func newResponse(k Key) Response {
	switch k {
	case KeyDeclarePublisher, KeyDeletePublisher, KeySubscribe, KeyUnsubscribe, KeyCreate, KeyDelete,
		KeyClose, KeyCreateSuperStream, KeyDeleteSuperStream:
		return &Done{For: k}
	case KeyQueryPublisherSequence:
		return new(QueryPublisherSequenceResponse)
	case KeyQueryOffset:
		return new(QueryOffsetResponse)
	case KeyMetadata:
		return new(MetadataResponse)
	case KeyPeerProperties:
		return new(PeerPropertiesResponse)
	case KeySASLHandshake:
		return new(SASLHandshakeResponse)
	case KeySASLAuthenticate:
		return new(SASLAuthenticateResponse)
	case KeyOpen:
		return new(OpenResponse)
	case KeyRoute:
		return new(RouteResponse)
	case KeyPartitions:
		return new(PartitionsResponse)
	case KeyConsumerUpdate:
		return new(ConsumerUpdateResponse)
	case KeyExchangeCommandVersions:
		return new(ExchangeCommandVersionsResponse)
	case KeyStreamStats:
		return new(StreamStatsResponse)
	case KeyResolveOffsetSpec:
		return new(ResolveOffsetSpecResponse)
	default:
		return nil
	}
}
