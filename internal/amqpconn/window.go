package amqpconn

import (
	"fmt"

	"github.com/thumpmq/thump/internal/outcome"
)

// Status is what became of a published message.
type Status = outcome.Status

// The four ends of a message.
const (
	Confirmed = outcome.Confirmed
	Rejected  = outcome.Rejected
	Returned  = outcome.Returned
	Unknown   = outcome.Unknown
)

// Outcome is what became of the message published with Ref.
type Outcome = outcome.Outcome

// Totals counts messages by what became of them.
type Totals = outcome.Totals

// slot is one message between publish and outcome.
type slot struct {
	ref      uint64
	print    uint64 // of the message, to know it again in a basic.return
	returned *returnReason
	state    slotState
}

type slotState uint8

const (
	slotSettled   slotState = iota // has its outcome; the zero value
	slotPending                    // published without the mandatory flag
	slotMandatory                  // published with it: may be returned
)

type returnReason struct {
	code uint16
	text string
}

// window is the ring of unconfirmed messages of a channel, by sequence: the
// delivery tag that RabbitMQ counts from 1 once confirms are on. A message is
// put in before its bytes can leave, so a confirm always finds its slot.
//
// A ring and not a map, because a confirm with multiple set must cost the
// messages it confirms, not those that are outstanding.
//
// It is a plain data structure: its channel's connection locks it.
type window struct {
	slots      []slot
	oldest     uint64 // lowest sequence without an outcome, or next
	next       uint64 // the sequence of the next message
	nextReturn uint64 // returns come in publish order: look from here

	totals   Totals
	firstBad Outcome // the first outcome that is not Confirmed

	collect  bool      // keep outcomes for the publisher to take
	outcomes []Outcome // known and not taken yet
}

// newWindow returns a window for size messages, rounded up to a power of two so
// that a slot is found with a mask. The limit stays size: see free.
func newWindow(size int, collect bool) *window {
	n := 1
	for n < size {
		n <<= 1
	}
	return &window{slots: make([]slot, n), oldest: 1, next: 1, nextReturn: 1, collect: collect}
}

func (w *window) slot(sequence uint64) *slot {
	return &w.slots[sequence&uint64(len(w.slots)-1)]
}

// inFlight is the number of slots in use. Messages that were confirmed out of
// order count until all before them have an outcome.
func (w *window) inFlight() int { return int(w.next - w.oldest) }

// free is how many more messages a window limited to size takes now. Outcomes
// that nobody has taken occupy room too, so that a slow taker slows publishing
// down instead of filling the memory.
func (w *window) free(size int) int {
	return min(size, len(w.slots)) - w.inFlight() - len(w.outcomes)
}

// add enters a message. The caller has seen that there is room.
func (w *window) add(ref, print uint64, mandatory bool) {
	state := slotPending
	if mandatory {
		state = slotMandatory
	}
	*w.slot(w.next) = slot{ref: ref, print: print, state: state}
	w.next++
	w.totals.Published++
}

// confirm takes a basic.ack or basic.nack of the broker. A sequence that was
// never published is an error; one that has its outcome already is ignored.
func (w *window) confirm(sequence uint64, multiple bool, status Status) error {
	if sequence == 0 && multiple { // AMQP 0-9-1 1.8.3.13: all outstanding
		sequence = w.next - 1
	}
	if sequence >= w.next || (sequence == 0 && !multiple) {
		return fmt.Errorf("confirm of message %d, and only %d were published", sequence, w.next-1)
	}
	if multiple {
		for s := w.oldest; s <= sequence; s++ {
			w.settle(s, status)
		}
	} else if sequence >= w.oldest {
		w.settle(sequence, status)
	}
	for w.oldest < w.next && w.slot(w.oldest).state == slotSettled {
		w.oldest++
	}
	return nil
}

// settle gives one message its outcome, if it has none yet. A message that was
// returned stays so: RabbitMQ confirms it too, right after the return.
func (w *window) settle(sequence uint64, status Status) {
	s := w.slot(sequence)
	if s.state == slotSettled {
		return
	}
	outcome := Outcome{Ref: s.ref, Status: status}
	if s.returned != nil {
		outcome.Status, outcome.Code, outcome.Text = Returned, s.returned.code, s.returned.text
	}
	s.state, s.returned = slotSettled, nil
	w.count(outcome)
}

func (w *window) count(outcome Outcome) {
	w.totals.Count(outcome.Status, 1)
	if outcome.Status != Confirmed && w.firstBad.Status == 0 {
		w.firstBad = outcome
	}
	if w.collect {
		w.outcomes = append(w.outcomes, outcome)
	}
}

// markReturned notes a basic.return. It carries no sequence, so the message is
// known by its print; returns come in the order of publishing (rabbit_channel
// routes and returns before it takes the next publish), and always before the
// confirm of their message. Among equal messages the oldest unreturned one is
// taken, and nobody can tell the difference. It reports whether one was found.
func (w *window) markReturned(print uint64, reason returnReason) bool {
	for s := max(w.nextReturn, w.oldest); s < w.next; s++ {
		slot := w.slot(s)
		if slot.state == slotMandatory && slot.returned == nil && slot.print == print {
			slot.returned = &reason
			w.nextReturn = s + 1
			return true
		}
	}
	return false
}

// abandon gives every message without an outcome the outcome Unknown, except
// those that had been returned: of these the broker has already spoken.
func (w *window) abandon() {
	for s := w.oldest; s < w.next; s++ {
		w.settle(s, Unknown)
	}
	w.oldest = w.next
}

// take moves the outcomes that are known into dst[:0].
func (w *window) take(dst []Outcome) []Outcome {
	taken := w.outcomes
	w.outcomes = dst[:0]
	return taken
}
