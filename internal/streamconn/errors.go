package streamconn

import (
	"errors"
	"fmt"

	"github.com/thumpmq/thump/internal/streamproto"
)

// ServerError is what the broker said when it refused a request, closed the
// connection, or took a stream away.
type ServerError struct {
	Code   streamproto.Code
	Reason string // the broker's words, printable, where it gave any

	Request streamproto.Key // what it refused; 0 where it ended something by itself
}

// Error returns the code, its meaning, and the broker's words.
func (e *ServerError) Error() string {
	text := fmt.Sprintf("broker answered %d, %v", uint16(e.Code), e.Code)
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// VersionError says that the broker lacks a command.
type VersionError struct {
	What    string // the command or feature
	Needs   string // the first RabbitMQ that has it: "3.11"
	Version string // the broker's
}

// Error names the version that is needed and the one that is there.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%s needs RabbitMQ %s or later, and this broker is %s", e.What, e.Needs, e.Version)
}

// UnsendableError says that a command can't be sent as it is, for instance because it takes
// more than a frame. Nothing of it was.
type UnsendableError struct{ Err error }

// Error says why.
func (e *UnsendableError) Error() string { return e.Err.Error() }

// Unwrap returns that.
func (e *UnsendableError) Unwrap() error { return e.Err }

// ProtocolError says that the peer broke the protocol; nothing it says can be
// relied on any more, so the connection ends.
type ProtocolError struct {
	Code   streamproto.Code // that the peer is told
	Reason string
}

// Error returns the reason.
func (e *ProtocolError) Error() string { return "protocol violation: " + e.Reason }

// unreadable makes a ProtocolError of an error of the codec, and nil of nil.
func unreadable(err error) error {
	if err == nil {
		return nil
	}
	code := streamproto.CodeUnknownFrame
	if _, large := errors.AsType[*streamproto.FrameTooLargeError](err); large {
		code = streamproto.CodeFrameTooLarge
	}
	return &ProtocolError{Code: code, Reason: err.Error()}
}

func violation(format string, args ...any) error {
	return &ProtocolError{Code: streamproto.CodeUnknownFrame, Reason: fmt.Sprintf(format, args...)}
}
