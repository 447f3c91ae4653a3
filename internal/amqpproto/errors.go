package amqpproto

import (
	"errors"
	"fmt"
	"strings"
)

var (
	errSpareBits = errors.New("a bit is set that the specification does not define")
	errWeight    = errors.New("content header with a weight that is not zero")
)

// StringTooLongError is the error for a string that does not fit its length field:
// one byte for a short string, four for a long one or a table.
type StringTooLongError struct {
	Field  string // the specification's name, or the path inside a table
	Length int    // bytes
	Long   bool   // a long string or a table; otherwise a short string
}

func (e *StringTooLongError) Error() string {
	limit := "255"
	if e.Long {
		limit = "4294967295"
	}
	return fmt.Sprintf("%s is %d bytes long, at most %s fit", e.Field, e.Length, limit)
}

// ValueTypeError is the error for a value in a table whose Go type has no
// counterpart on the wire.
type ValueTypeError struct {
	Path string // "x-death[0].count"
	Type string // the Go type
}

func (e *ValueTypeError) Error() string {
	return fmt.Sprintf("value of %s has type %s, which a field table can't hold", e.Path, e.Type)
}

// DepthError is the error for tables and arrays nested more than 32 deep.
type DepthError struct {
	Path string // where, when writing; empty when reading
}

func (e *DepthError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("tables nested more than %d deep", tableDepthMax)
	}
	// The whole path of something that deep would fill the screen.
	return fmt.Sprintf("tables nested more than %d deep, at %.60s", tableDepthMax, e.Path)
}

// FieldTypeError is the error for a field with a type letter that RabbitMQ does not
// know.
type FieldTypeError struct {
	Letter byte
}

func (e *FieldTypeError) Error() string {
	return fmt.Sprintf("unknown field type %q in a table", e.Letter)
}

// UnknownMethodError is the error for a method that this package does not know.
type UnknownMethodError struct {
	ID MethodID
}

func (e *UnknownMethodError) Error() string {
	return fmt.Sprintf("unknown method: %v", e.ID)
}

// HeaderTooLargeError is the error for properties that make a header frame larger
// than the peer accepts. A header can't be split into several frames.
type HeaderTooLargeError struct {
	Size     int    // bytes of the header frame, overhead included
	FrameMax uint32 // bytes, overhead included
}

func (e *HeaderTooLargeError) Error() string {
	return fmt.Sprintf("the message's properties need a header frame of %d bytes, frame-max is %d", e.Size, e.FrameMax)
}

// inside prepends the key or index of a table's field to the path in an error that
// came from that field.
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
