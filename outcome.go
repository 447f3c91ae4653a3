package thump

import "fmt"

// Status is what became of a published message. Every message that Publish
// accepted gets exactly one.
type Status uint8

const (
	// Confirmed says that the broker took responsibility for the message (basic.ack).
	// What that is worth depends on the queue: see the package documentation.
	Confirmed Status = iota + 1
	// Rejected says that the broker refused the message (basic.nack), for instance
	// because a queue is full and its overflow policy is reject-publish.
	Rejected
	// Returned says that the message could not be routed to any queue and was sent back
	// (basic.return); the broker did not keep it.
	Returned
	// Unknown says that the channel or connection ended before the broker answered. The
	// message may or may not have been stored. It is never reported as refused.
	Unknown
)

// String returns the status in lower case: "confirmed".
func (s Status) String() string {
	switch s {
	case Confirmed:
		return "confirmed"
	case Rejected:
		return "rejected"
	case Returned:
		return "returned"
	case Unknown:
		return "unknown"
	default:
		return fmt.Sprintf("status(%d)", uint8(s))
	}
}

// Outcome says what became of one message.
type Outcome struct {
	// Ref is the Message's own Ref.
	Ref    uint64
	Status Status
	// Code and Text are the broker's reply when Status is Returned, such as
	// 312 NO_ROUTE; otherwise 0 and empty.
	Code uint16
	Text string
}

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
