package thump

import "github.com/thumpmq/thump/internal/outcome"

// Status is what became of a published message: Confirmed, Rejected, Returned or
// Unknown. Every message that Publish accepted gets exactly one.
type Status = outcome.Status

const (
	// Confirmed says that the broker took responsibility for the message (basic.ack,
	// PublishConfirm). What that is worth depends on the queue: see the package
	// documentation.
	Confirmed = outcome.Confirmed
	// Rejected says that the broker refused the message (basic.nack, PublishError),
	// for instance because a queue is full and its overflow policy is reject-publish.
	Rejected = outcome.Rejected
	// Returned says that the message could not be routed to any queue and was sent back
	// (basic.return), or to any partition of a super stream; the broker did not keep it.
	Returned = outcome.Returned
	// Unknown says that the channel or connection ended before the broker answered. The
	// message may or may not have been stored. It is never reported as refused.
	Unknown = outcome.Unknown
)

// Outcome says what became of one message: its Ref and Status, and where the
// broker gave a reason, Code and Text.
type Outcome = outcome.Outcome

// Counts is what a publisher knows about its messages at one moment:
// Published = Confirmed + Rejected + Returned + Unknown + Sent + InFlight.
type Counts struct {
	Published uint64
	Confirmed uint64
	Rejected  uint64
	Returned  uint64
	Unknown   uint64
	// Sent counts, for a publisher without confirms, the messages that the
	// broker has read (a Flush or Close came back) and of which nothing more is
	// known. It is always 0 with confirms.
	Sent     uint64
	InFlight uint64
}

// Bad is the number of messages that the broker did not take, or may not have.
func (c Counts) Bad() uint64 { return c.Rejected + c.Returned + c.Unknown }
