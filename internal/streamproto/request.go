package streamproto

import (
	"encoding/binary"
	"fmt"
)

// Request is a command that is answered, with its fields: a pointer to one of
// this package's structs, which are named as PROTOCOL.adoc names the commands.
// All but Close and ConsumerUpdate are a client's to send.
type Request interface {
	// Key says which command it is.
	Key() Key

	// fields hands the fields behind the correlation id to c in the order
	// they have on the wire.
	fields(c codec)
}

// AppendRequest appends a frame with r in it, and keeps nothing of r. The
// response to it carries the same correlation id, which is the caller's choice.
// On an error (*StringTooLongError or *OffsetTypeError) it returns dst as it was.
func AppendRequest(dst []byte, correlation uint32, r Request) ([]byte, error) {
	w := writer{b: beginFrame(dst, uint16(r.Key()), 1)}
	w.b = binary.BigEndian.AppendUint32(w.b, correlation)
	if r.fields(&w); w.err != nil {
		return dst, fmt.Errorf("streamproto: %v: %w", r.Key(), w.err)
	}
	return endFrame(w.b, len(dst)), nil
}

// ParseRequest reads a request. What it returns is a copy, and the caller's. The
// errors are *UnexpectedFrameError for all that is no request, wire's, and some
// for fields that can't be.
func ParseRequest(f Frame) (correlation uint32, r Request, err error) {
	if r = newRequest(f.Key); r == nil || f.Response || f.Version != 1 {
		return 0, nil, unexpected(&f)
	}
	correlation, err = parse(&f, r.fields)
	if err != nil {
		return 0, nil, err
	}
	return correlation, r, nil
}

// parse reads the body of a frame: a correlation id and some fields.
func parse(f *Frame, fields func(c codec)) (correlation uint32, err error) {
	r := newReader(f.Body)
	correlation = r.U32()
	fields(r)
	return correlation, r.finish(f)
}

// newRequest returns an empty struct for the command, or nil for one that is not
// a request.
func newRequest(k Key) Request {
	switch k {
	case KeyDeclarePublisher:
		return new(DeclarePublisher)
	case KeyQueryPublisherSequence:
		return new(QueryPublisherSequence)
	case KeyDeletePublisher:
		return new(DeletePublisher)
	case KeySubscribe:
		return new(Subscribe)
	case KeyQueryOffset:
		return new(QueryOffset)
	case KeyUnsubscribe:
		return new(Unsubscribe)
	case KeyCreate:
		return new(Create)
	case KeyDelete:
		return new(Delete)
	case KeyMetadata:
		return new(Metadata)
	case KeyPeerProperties:
		return new(PeerProperties)
	case KeySASLHandshake:
		return new(SASLHandshake)
	case KeySASLAuthenticate:
		return new(SASLAuthenticate)
	case KeyOpen:
		return new(Open)
	case KeyClose:
		return new(Close)
	case KeyRoute:
		return new(Route)
	case KeyPartitions:
		return new(Partitions)
	case KeyConsumerUpdate:
		return new(ConsumerUpdate)
	case KeyExchangeCommandVersions:
		return new(ExchangeCommandVersions)
	case KeyStreamStats:
		return new(StreamStats)
	case KeyCreateSuperStream:
		return new(CreateSuperStream)
	case KeyDeleteSuperStream:
		return new(DeleteSuperStream)
	case KeyResolveOffsetSpec:
		return new(ResolveOffsetSpec)
	default:
		return nil
	}
}
