package thump

import (
	"fmt"

	"github.com/thumpmq/thump/internal/outcome"
)

// Status is what became of a published message. Every message that was accepted gets
// exactly one of the first four; NotSent is for messages of a Send that were not. The zero
// Status is none of them: it is in an Outcome that says nothing.
type Status uint8

const (
	// Confirmed says that the broker took responsibility for the message (basic.ack,
	// PublishConfirm). What that is worth depends on the queue: see the package
	// documentation.
	Confirmed = Status(outcome.Confirmed)
	// Rejected says that the broker refused the message (basic.nack, PublishError),
	// for instance because a queue is full and its overflow policy is reject-publish.
	Rejected = Status(outcome.Rejected)
	// Returned says that the message could not be routed to any queue and was sent back
	// (basic.return), or to any partition of a super stream; the broker did not keep it.
	Returned = Status(outcome.Returned)
	// Unknown says that the publisher ended, with ResendNever that its connection did, or
	// that the caller stopped waiting, before the broker answered. The message may or may not have been stored. It is
	// never reported as refused.
	Unknown = Status(outcome.Unknown)
	// NotSent says that nothing of the message left. Send alone reports it, of messages
	// that were not accepted.
	NotSent = Unknown + 1
)

// String returns the status in lower case: "confirmed", "not sent".
func (s Status) String() string {
	switch s {
	case NotSent:
		return "not sent"
	case Confirmed, Rejected, Returned, Unknown:
		return outcome.Status(s).String()
	default:
		return fmt.Sprintf("status(%d)", uint8(s))
	}
}

// Outcome says what became of one message.
type Outcome struct {
	Ref    uint64 // the Message's own Ref
	Status Status
	// Code and Text are the reason. Code is the broker's where it gave one: for a
	// Returned message, such as 312 NO_ROUTE, and for one that a stream Rejected, the
	// response code of the stream protocol; otherwise 0. Of an Unknown message Text is
	// why the broker's answer is not known.
	Code uint16
	Text string

	// Resent says that the message was sent again after a connection was lost, and that the
	// broker may have it more than once.
	Resent bool
}

// outcomeOf makes an Outcome of the connections' one.
func outcomeOf(o outcome.Outcome) Outcome {
	return Outcome{Ref: o.Ref, Status: Status(o.Status), Code: o.Code, Text: o.Text, Resent: o.Resent}
}

// Counts is what a publisher knows about its messages at one moment:
// Published = Confirmed + Rejected + Returned + Unknown + Sent + InFlight.
type Counts struct {
	Published uint64
	Confirmed uint64
	Rejected  uint64
	Returned  uint64
	Unknown   uint64
	// Sent is for a publisher without confirms: the messages that the broker has read
	// (a Flush or Close returned) and that did not come back. It is always 0 with
	// confirms.
	Sent     uint64
	InFlight uint64
	// Resent is how many messages were sent again after a lost connection; one that was
	// sent again twice counts twice.
	Resent uint64
}

// Bad is the number of messages that the broker did not take, or may not have.
func (c Counts) Bad() uint64 { return c.Rejected + c.Returned + c.Unknown }
