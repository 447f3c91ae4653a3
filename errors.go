package thump

import (
	"errors"
	"fmt"
	"strings"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/printable"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// ErrClosed is the error of a Client, Publisher or Consumer after its Close, and of
// a Consumer after its Stop.
var ErrClosed = errors.New("closed")

// errClientClosed is ErrClosed of a Client.
var errClientClosed = fmt.Errorf("client: %w", ErrClosed)

// ErrNotSent is the error of messages that did not leave at all: publishing them again
// doubles nothing. The error that wraps it says why.
var ErrNotSent = errors.New("not sent")

// ErrEnd is the error of a stream's Consumer that has reached its Until: nothing
// more comes.
var ErrEnd = errors.New("the end of what was asked for is reached")

// ErrSettled is the error of settling a delivery or a batch that was settled already.
var ErrSettled = errors.New("already settled")

// ErrStale is the error of settling a delivery that the consumer no longer holds: its
// connection or channel has ended, the broker cancelled the consumer, or, in a
// stream's group, another consumer became the active one. The error says which. A
// queue delivers it again, and a stream to the same consumer, when it has come back, or to
// the next one with the same Name. Without
// a Name acking a stream's delivery means nothing, and is never stale.
var ErrStale = errors.New("too late, the consumer no longer holds them")

// ErrAutoAck is the error of settling a delivery of a consumer with AutoAck: the broker
// has forgotten a queue's delivery, and a stream's counts as handled when the next batch
// is asked for.
var ErrAutoAck = errors.New("the consumer has AutoAck: the broker has forgotten its deliveries")

// errStreamKeeps is the error of Reject and Requeue for a stream's delivery.
var errStreamKeeps = errors.New("a stream keeps its messages: they can't be rejected or requeued, only acked or released")

// errNothingBack is the error of ReleaseAll for a stream.
var errNothingBack = errors.New("a stream keeps its messages: there is nothing to give back, and Close ends the reading")

// errNoConsumer is the error of a Consumer that is a zero value.
var errNoConsumer = errors.New("thump: the Consumer was not made by Client.Consumer")

// BrokerError is what the broker said when it closed a channel or the
// connection, cancelled a consumer, or refused a command of the stream protocol.
// errors.As and errors.AsType find it in the errors of this package.
type BrokerError struct {
	Protocol Protocol // says what Code means
	// Code is an AMQP 0-9-1 reply code, such as 404, and 0 for a cancelled
	// consumer; over Streams it is a response code, such as 2.
	Code uint16
	// Text is the broker's words, with control characters escaped; the stream protocol
	// has few.
	Text string
}

// Error returns the code and the broker's words.
func (e *BrokerError) Error() string {
	switch {
	case e.Protocol == Streams:
		return fmt.Sprintf("the broker answered %d, %s", e.Code, e.Text)
	case e.Code == 0:
		return "the broker cancelled the consumer: " + e.Text
	default:
		return fmt.Sprintf("the broker answered %d %s", e.Code, e.Text)
	}
}

// IsNotFound reports whether err says that a queue, exchange or stream does not
// exist.
func IsNotFound(err error) bool {
	broker, ok := errors.AsType[*BrokerError](err)
	switch {
	case !ok:
		return false
	case broker.Protocol == Streams:
		return broker.Code == uint16(streamproto.CodeStreamDoesNotExist)
	default:
		return broker.Code == amqpproto.NotFound
	}
}

// OutcomeError says that messages were not confirmed, how many, and why.
type OutcomeError struct {
	Target                      string // where they were published to
	Published                   uint64 // how many messages the error is about
	Rejected, Returned, Unknown uint64 // how many of them
	NotSent                     uint64 // how many of them, of a Send
	// InFlight counts messages without an outcome yet: those on the other
	// partitions of a super stream, when one has ended.
	InFlight uint64
	// First is the first outcome that was not Confirmed.
	First Outcome
	// Outcomes are those of all messages, in order, of a Send; nil otherwise.
	Outcomes []Outcome
	// Err is why messages are Unknown or NotSent, or why the publisher ended; nil if there
	// is no such reason.
	Err error
}

// add adds the outcome of message i of a Send.
func (e *OutcomeError) add(i int, o Outcome) {
	e.Outcomes[i] = o
	switch o.Status {
	case Confirmed:
	case Rejected:
		e.Rejected++
	case Returned:
		e.Returned++
	case Unknown:
		e.Unknown++
	case NotSent:
		e.NotSent++
	}
	if o.Status != Confirmed && e.First.Status == 0 {
		e.First = o
	}
}

// Error counts the messages that were not confirmed, and says why where that is
// known.
func (e *OutcomeError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "thump: publishing to %s: ", e.Target)
	bad := e.Rejected + e.Returned + e.Unknown + e.NotSent
	switch {
	case bad == 1 && e.Published == 1:
		fmt.Fprintf(&b, "the message is %v", e.First.Status)
	case bad+e.InFlight > 0 || e.Err == nil:
		fmt.Fprintf(&b, "%d of %d messages not confirmed (%d rejected, %d returned, %d unknown", bad, e.Published, e.Rejected, e.Returned, e.Unknown)
		if e.NotSent > 0 {
			fmt.Fprintf(&b, ", %d not sent", e.NotSent)
		}
		b.WriteString(")")
	default:
		b.WriteString("no message in flight")
	}
	if e.InFlight > 0 {
		fmt.Fprintf(&b, ", %d more in flight", e.InFlight)
	}
	if e.First.Code != 0 {
		fmt.Fprintf(&b, ", the first with %d %s", e.First.Code, e.First.Text)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *OutcomeError) Unwrap() error { return e.Err }

// withPrefix adds the prefix that every error of this package begins with; it returns
// nil for nil. Exported functions call it, once, as they return: inside the
// package an error has no prefix, and says what was being done with which queue or
// stream.
func withPrefix(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("thump: %w", err)
}

// toPublic turns an error of a connection into one that callers of this package
// can test for: the broker's words into a BrokerError, and the end that our own
// Close made into ErrClosed. Any other error stays as it is.
func toPublic(err error) error {
	if errors.Is(err, transport.ErrClosed) || errors.Is(err, amqpconn.ErrCancelled) {
		return ErrClosed
	}
	if server, ok := errors.AsType[*amqpconn.ServerError](err); ok {
		return &publicError{text: err, broker: &BrokerError{Protocol: AMQP091, Code: server.Code, Text: server.Text}}
	}
	if server, ok := errors.AsType[*streamconn.ServerError](err); ok {
		text := server.Code.String()
		if server.Reason != "" {
			text += ": " + server.Reason
		}
		return &publicError{text: err, broker: &BrokerError{Protocol: Streams, Code: uint16(server.Code), Text: text}}
	}
	return err
}

// printableError has the text of a library's error as one printable line: that of TLS
// repeats the names in the peer's certificate.
type printableError struct{ err error }

func (e printableError) Error() string { return printable.Text(e.err.Error()) }
func (e printableError) Unwrap() error { return e.err }

// publicError has the text of a connection's error, which says what was being
// done, and unwraps to the BrokerError that callers look for.
type publicError struct {
	text   error
	broker *BrokerError
}

func (e *publicError) Error() string { return e.text.Error() }
func (e *publicError) Unwrap() error { return e.broker }
