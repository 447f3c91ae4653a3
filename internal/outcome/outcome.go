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
}

// Totals counts messages by what became of them. The zero value is ready.
type Totals struct {
	Published, Confirmed, Rejected, Returned, Unknown uint64
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

// Add adds the counts of u.
func (t *Totals) Add(u Totals) {
	t.Published += u.Published
	t.Confirmed += u.Confirmed
	t.Rejected += u.Rejected
	t.Returned += u.Returned
	t.Unknown += u.Unknown
}
