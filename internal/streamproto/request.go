package streamproto

import (
	"encoding/binary"
	"fmt"
)

// Request is a command that has an answer, with its fields: a pointer to one of this
// package's structs, which have PROTOCOL.adoc's names. A client sends all of them
// but ConsumerUpdate, which a server sends; either side sends Close.
type Request interface {
	// Key says which command it is.
	Key() Key

	// fields passes the fields after the correlation id to c in the order of the
	// wire.
	fields(c codec)
}

// AppendRequest appends a frame that holds r, and keeps nothing of r. The caller
// chooses the correlation id; the response has the same one. The errors are
// *StringTooLongError and *OffsetTypeError.
func AppendRequest(dst []byte, correlation uint32, r Request) ([]byte, error) {
	w := writer{b: beginFrame(dst, uint16(r.Key()), 1)}
	w.b = binary.BigEndian.AppendUint32(w.b, correlation)
	if r.fields(&w); w.err != nil {
		return dst, fmt.Errorf("%v: %w", r.Key(), w.err)
	}
	return endFrame(w.b, len(dst)), nil
}

// ParseRequest reads a request. It returns a copy, which belongs to the caller. The
// errors are *UnexpectedFrameError for a frame that is not a request, those of
// package wire, and some for invalid fields.
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

// parse reads the body of a frame: a correlation id and fields.
func parse(f *Frame, fields func(c codec)) (correlation uint32, err error) {
	r := newReader(f.Body)
	correlation = r.U32()
	fields(r)
	return correlation, r.finish(f)
}

// newRequest returns an empty struct for the command, or nil for one that is not a
// request.
func newRequest(k Key) Request {
	if int(k) < len(commands) && commands[k].request != nil {
		return commands[k].request()
	}
	return nil
}

// request returns an empty T as a Request.
func request[T any, R interface {
	*T
	Request
}]() Request {
	return R(new(T))
}
