package amqpconn

import (
	"errors"
	"fmt"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/printable"
)

// ErrCancelled ends an inbox that its own consumer cancelled.
var ErrCancelled = errors.New("consumer cancelled")

// ServerError is what the broker said when it closed a channel or the
// connection, or cancelled a consumer.
type ServerError struct {
	Code   uint16 // AMQP reply code; 0 for a cancelled consumer
	Text   string // the broker's words, printable
	Method amqpproto.MethodID
}

// Error returns the code and the broker's text, which begins with its name.
func (e *ServerError) Error() string {
	if e.Code == 0 {
		return "broker cancelled the consumer: " + e.Text
	}
	return fmt.Sprintf("broker answered %d %s", e.Code, e.Text)
}

// UnsendableError says that a method can't be sent as it is, for instance because its
// arguments take more than a frame. Nothing of it was.
type UnsendableError struct{ Err error }

// Error says why.
func (e *UnsendableError) Error() string { return e.Err.Error() }

// Unwrap returns that.
func (e *UnsendableError) Unwrap() error { return e.Err }

// serverError is the error of a broker that closes the connection.
func serverError(m *amqpproto.ConnectionClose) *ServerError {
	return &ServerError{Code: m.ReplyCode, Text: printable.Text(m.ReplyText), Method: amqpproto.NewMethodID(m.ClassID, m.MethodID)}
}

// ProtocolError says that the peer broke the protocol; nothing it says can be
// relied on any more, so the connection ends.
type ProtocolError struct {
	Code   uint16 // the reply code that the peer is told
	Reason string
}

// Error returns the reason.
func (e *ProtocolError) Error() string { return "protocol violation: " + e.Reason }

// unreadable makes a ProtocolError of an error of the codec, and nil of nil.
func unreadable(code uint16, err error) error {
	if err == nil {
		return nil
	}
	return &ProtocolError{Code: code, Reason: err.Error()}
}

// violation makes a ProtocolError with UNEXPECTED_FRAME, the usual code.
func violation(format string, args ...any) error {
	return &ProtocolError{Code: amqpproto.UnexpectedFrame, Reason: fmt.Sprintf(format, args...)}
}
