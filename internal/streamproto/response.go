package streamproto

import (
	"encoding/binary"
	"fmt"
)

// Response is the answer to a Request: a pointer to one of this package's structs. A
// server sends all of them but ConsumerUpdateResponse, and the Done that answers a
// server's Close.
type Response interface {
	// Key says which command it answers.
	Key() Key

	// Result is the response's code. The other fields are meaningful only with
	// CodeOK. A MetadataResponse returns CodeOK: it has a code for each stream.
	Result() Code

	// fields passes the fields after the correlation id to c in the order of the
	// wire.
	fields(c codec)
}

// Done is an answer that has a code and nothing else. It answers DeclarePublisher,
// DeletePublisher, Subscribe, Unsubscribe, Create, Delete, Close, CreateSuperStream
// and DeleteSuperStream.
type Done struct {
	For  Key // the command that it answers
	Code Code
}

func (r *Done) Key() Key { return r.For }

func (r *Done) Result() Code { return r.Code }

func (r *Done) fields(c codec) { c.code(&r.Code) }

// AppendResponse appends a frame that holds r, and keeps nothing of r. The errors are
// *StringTooLongError and *OffsetTypeError.
func AppendResponse(dst []byte, correlation uint32, r Response) ([]byte, error) {
	w := writer{b: beginFrame(dst, uint16(r.Key())|responseBit, 1)}
	w.b = binary.BigEndian.AppendUint32(w.b, correlation)
	if r.fields(&w); w.err != nil {
		return dst, fmt.Errorf("%v response: %w", r.Key(), w.err)
	}
	return endFrame(w.b, len(dst)), nil
}

// ParseResponse reads a response. It returns a copy, which belongs to the caller. A
// code that says that the request failed is not an error here. The errors are
// *UnexpectedFrameError for a frame that is not a response with a correlation id
// (those to Credit and Tune have none), those of package wire, and some for invalid
// fields. f.IsResponse decides whether it is a response, not f.Response alone.
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

// newResponse returns an empty struct for the answer to the command, or nil for one
// that has no answer.
func newResponse(k Key) Response {
	switch {
	case int(k) >= len(commands):
		return nil
	case commands[k].response != nil:
		return commands[k].response()
	case commands[k].request != nil:
		return &Done{For: k}
	}
	return nil
}

// response returns an empty T as a Response.
func response[T any, R interface {
	*T
	Response
}]() Response {
	return R(new(T))
}
