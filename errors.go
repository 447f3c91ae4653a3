package thump

import (
	"errors"
	"fmt"
	"strings"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
)

// ErrClosed is the error of a Client, Publisher or Consumer after its Close.
var ErrClosed = errors.New("closed")

// ErrEnd is the error of a stream's Consumer whose Until is reached: there is no
// more to come.
var ErrEnd = errors.New("the end of what was asked for is reached")

// ErrSettled is the error of settling a delivery that was settled already.
var ErrSettled = errors.New("delivery already settled")

// ErrAutoAck is the error of settling a delivery of a consumer with AutoAck.
var ErrAutoAck = errors.New("the consumer has AutoAck: the broker has forgotten its deliveries")

// errStreamKeeps is the error of refusing a stream's delivery.
var errStreamKeeps = errors.New("a stream keeps its messages: they can't be refused or given back")

// BrokerError is what the broker said when it closed a channel or the
// connection, cancelled a consumer, or refused a command of the stream protocol.
// errors.As finds it in the errors of this package.
type BrokerError struct {
	// Code is an AMQP reply code, such as 404, and 0 for a cancelled consumer;
	// where Stream is set, a response code of the stream protocol, such as 2.
	Code   uint16
	Text   string // the broker's words; the stream protocol has few
	Stream bool
}

// Error returns the code and the broker's words.
func (e *BrokerError) Error() string {
	if e.Stream {
		return fmt.Sprintf("the broker answered %d, %s", e.Code, e.Text)
	}
	if e.Code == 0 {
		return "the broker cancelled the consumer: " + e.Text
	}
	return fmt.Sprintf("the broker answered %d %s", e.Code, e.Text)
}

// IsNotFound reports whether err says that a queue, exchange or stream is not
// there.
func IsNotFound(err error) bool {
	broker, ok := errors.AsType[*BrokerError](err)
	if ok && broker.Stream {
		return broker.Code == uint16(streamproto.CodeStreamDoesNotExist)
	}
	return ok && broker.Code == amqpproto.NotFound
}

// OutcomeError says that messages were not confirmed, how many, and why the
// publisher ended, if it did.
type OutcomeError struct {
	Target                      string // where they were published to
	Published                   uint64 // those the counts are of
	Rejected, Returned, Unknown uint64
	// InFlight counts those that have no outcome yet: on the other partitions of
	// a super stream, when one has ended.
	InFlight uint64
	// First is the first outcome that was not Confirmed.
	First Outcome
	// Err is why the publisher ended; nil if it did not.
	Err error
}

// Error counts the messages that were not confirmed, and says why where that is
// known.
func (e *OutcomeError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "thump: publishing to %s: ", e.Target)
	if bad := e.Rejected + e.Returned + e.Unknown; bad+e.InFlight > 0 || e.Err == nil {
		fmt.Fprintf(&b, "%d of %d messages not confirmed (%d rejected, %d returned, %d unknown)",
			bad, e.Published, e.Rejected, e.Returned, e.Unknown)
		if e.InFlight > 0 {
			fmt.Fprintf(&b, ", %d more in flight", e.InFlight)
		}
		if e.First.Status == Returned {
			fmt.Fprintf(&b, ", the first with %d %s", e.First.Code, e.First.Text)
		}
		if e.Err != nil {
			b.WriteString(": ")
		}
	} else {
		b.WriteString("no message in flight: ")
	}
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap returns Err.
func (e *OutcomeError) Unwrap() error { return e.Err }

// public turns an error of the connection into one of this package: the
// broker's words as a BrokerError, the end of our own making as ErrClosed.
func public(err error) error {
	if errors.Is(err, amqpconn.ErrClosed) || errors.Is(err, amqpconn.ErrCancelled) || errors.Is(err, streamconn.ErrClosed) {
		return ErrClosed
	}
	if server, ok := errors.AsType[*amqpconn.ServerError](err); ok {
		return &publicError{text: err, broker: &BrokerError{Code: server.Code, Text: server.Text}}
	}
	if server, ok := errors.AsType[*streamconn.ServerError](err); ok {
		text := server.Code.String()
		if server.Reason != "" {
			text += ": " + server.Reason
		}
		return &publicError{text: err, broker: &BrokerError{Code: uint16(server.Code), Text: text, Stream: true}}
	}
	return err
}

// ignore makes nil of an error that is a refusal with that code of the stream
// protocol.
func ignore(err error, code streamproto.Code) error {
	if broker, ok := errors.AsType[*BrokerError](err); ok && broker.Stream && broker.Code == uint16(code) {
		return nil
	}
	return err
}

// publicError keeps the words of an error of the connection, which say what was
// being done, over the BrokerError that callers look for.
type publicError struct {
	text   error
	broker *BrokerError
}

func (e *publicError) Error() string { return e.text.Error() }
func (e *publicError) Unwrap() error { return e.broker }
