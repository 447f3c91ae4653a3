package amqpproto

import (
	"errors"
	"fmt"
	"strings"
)

var (
	errSpareBits = errors.New("a bit is set that the specification does not define")
	errWeight    = errors.New("amqpproto: content header with a weight that is not zero")
)

// StringTooLongError is returned where a string does not fit its length field:
// one byte for a short string, four for a long one or a table.
type StringTooLongError struct {
	Field  string // the specification's name, or the path within a table
	Length int    // bytes
	Long   bool   // a long string or table; otherwise a short string
}

// Error names the field, its length and the limit.
func (e *StringTooLongError) Error() string {
	limit := "255"
	if e.Long {
		limit = "4294967295"
	}
	return fmt.Sprintf("amqpproto: %s is %d bytes long, at most %s fit", e.Field, e.Length, limit)
}

// ValueTypeError is returned where a table holds a value of a Go type that has
// no counterpart on the wire.
type ValueTypeError struct {
	Path string // "x-death[0].count"
	Type string // the Go type
}

// Error names the place and the type.
func (e *ValueTypeError) Error() string {
	return fmt.Sprintf("amqpproto: value of %s has type %s, which a field table can't hold", e.Path, e.Type)
}

// DepthError is returned for tables and arrays nested more than 32 deep.
type DepthError struct {
	Path string // where, when writing; empty when reading
}

// Error names the limit.
func (e *DepthError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("tables nested more than %d deep", tableDepthMax)
	}
	// The whole path of something that deep would fill the screen.
	return fmt.Sprintf("amqpproto: tables nested more than %d deep, at %.60s", tableDepthMax, e.Path)
}

// FieldTypeError is returned for a field whose type letter RabbitMQ does not
// have.
type FieldTypeError struct {
	Letter byte
}

// Error names the letter.
func (e *FieldTypeError) Error() string {
	return fmt.Sprintf("unknown field type %q in a table", e.Letter)
}

// UnknownMethodError is returned for a method this package does not have.
type UnknownMethodError struct {
	ID MethodID
}

// Error names the class and the method.
func (e *UnknownMethodError) Error() string {
	return fmt.Sprintf("amqpproto: unknown method: %v", e.ID)
}

// HeaderTooLargeError is returned where a message's properties make a header
// frame larger than the peer accepts. A header can't be split over frames.
type HeaderTooLargeError struct {
	Size     int    // bytes of the header frame, overhead included
	FrameMax uint32 // bytes, overhead included
}

// Error says how large, and what is allowed.
func (e *HeaderTooLargeError) Error() string {
	return fmt.Sprintf("amqpproto: the message's properties need a header frame of %d bytes, frame-max is %d", e.Size, e.FrameMax)
}

// inside puts the key or index of a table's field in front of the path that an
// error from within that field carries.
func inside(segment string, err error) error {
	join := func(path string) string {
		if path == "" || strings.HasPrefix(path, "[") {
			return segment + path
		}
		return segment + "." + path
	}
	switch e := err.(type) { //nolint:errorlint // appendValue's own errors, never wrapped on their way up
	case *ValueTypeError:
		e.Path = join(e.Path)
	case *DepthError:
		e.Path = join(e.Path)
	case *StringTooLongError:
		e.Field = join(e.Field)
	}
	return err
}
