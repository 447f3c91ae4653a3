// Package outcome has the words for what becomes of a published message: one
// vocabulary for both protocols, and for the package thump, which gives it to
// its users as its own.
package outcome

import "fmt"

// Status is what became of a published message. Every message that Publish
// accepted gets exactly one.
type Status uint8

// The four ends of a message. They count from 1 so that a forgotten one shows.
const (
	Confirmed Status = iota + 1
	Rejected
	Returned
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
	// Code and Text are the broker's reply where it gave one: for a Returned
	// message, such as 312 NO_ROUTE, and for one that a stream Rejected, the
	// response code of the stream protocol. Otherwise 0 and empty.
	Code uint16
	Text string

	// Resent says that the message was sent on more than one connection: the broker may
	// have it more than once.
	Resent bool
}

// Totals counts messages by what became of them. The zero value is ready.
type Totals struct {
	Published, Confirmed, Rejected, Returned, Unknown uint64
	// Sent counts, for a publisher without confirms, the messages that the broker has
	// read and of which nothing more is known.
	Sent uint64
	// Resent counts how often messages were sent again.
	Resent uint64
}

// Count adds n messages that ended so.
func (t *Totals) Count(s Status, n uint64) {
	switch s {
	case Confirmed:
		t.Confirmed += n
	case Rejected:
		t.Rejected += n
	case Returned:
		t.Returned += n
	case Unknown:
		t.Unknown += n
	}
}

// Since returns what was counted since t was earlier.
func (t Totals) Since(earlier Totals) Totals {
	return Totals{
		Published: t.Published - earlier.Published, Confirmed: t.Confirmed - earlier.Confirmed,
		Rejected: t.Rejected - earlier.Rejected, Returned: t.Returned - earlier.Returned,
		Unknown: t.Unknown - earlier.Unknown, Sent: t.Sent - earlier.Sent, Resent: t.Resent - earlier.Resent,
	}
}

// Bad is the number of messages that the broker did not take, or may not have.
func (t Totals) Bad() uint64 { return t.Rejected + t.Returned + t.Unknown }

// InFlight is the number of messages that nothing is known of yet.
func (t Totals) InFlight() uint64 { return t.Published - t.Confirmed - t.Bad() - t.Sent }

// Add adds the counts of u.
func (t *Totals) Add(u Totals) {
	t.Published += u.Published
	t.Confirmed += u.Confirmed
	t.Rejected += u.Rejected
	t.Returned += u.Returned
	t.Unknown += u.Unknown
	t.Sent += u.Sent
	t.Resent += u.Resent
}

// Refusal is why package thump has not published a message: the cause in the error of its
// Publish, without the words about the batch that the message was in.
func Refusal(err error) string {
	for {
		switch inner := err.(type) { //nolint:errorlint // it walks down to the cause
		case interface{ Unwrap() []error }:
			list := inner.Unwrap()
			err = list[len(list)-1]
		case interface{ Unwrap() error }:
			if inner.Unwrap() == nil {
				return err.Error()
			}
			err = inner.Unwrap()
		default:
			return err.Error()
		}
	}
}
