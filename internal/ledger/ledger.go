// Package ledger compares the messages that a run sent with those that came, and
// decides which were lost, duplicated, reordered, corrupted, or never ours.
//
// It is pure: it does no I/O, starts no goroutine and reads no clock. Memory
// does not grow with the number of messages as long as each publisher's messages
// come more or less in order; at worst it is one bit a message. A number outside
// the plan is only counted, so a forged one costs no memory.
//
// The work per message is small for the same reason: a message in its publisher's
// order is compared with the body that is expected, and all else is done once for
// each span of consecutive messages.
package ledger

import (
	"math/bits"
	"sync"
)

// Ledger accounts for the messages of one Plan. It is safe for concurrent use:
// consumers lock it once for each batch.
type Ledger struct {
	format Format

	mu         sync.Mutex
	publishers []publisherBooks
	totals     Totals
	lost       bool // a consumer has lost its connection
}

// publisherBooks is what is known of one publisher's messages. The sets number
// them from 0, by their places in the publisher's range.
type publisherBooks struct {
	own         Range
	published   uint64 // how many were published: the first ones of the range
	received    set
	unconfirmed set // published, but the broker did not confirm them
	repeats     repeats
}

// Totals counts deliveries. Received = Unique + Duplicated + Corrupted +
// Unexpected.
type Totals struct {
	Received   uint64 // all deliveries
	Unique     uint64 // messages of the run that came at least once
	Duplicated uint64 // deliveries of a message that had come already
	Reordered  uint64 // first deliveries that came after a later message of their publisher
	Corrupted  uint64 // damaged bodies of the run
	Unexpected uint64 // bodies that are not the run's, or that no publisher had published

	// Redelivered is the part of Duplicated of which the broker had warned: it had marked the
	// copy as possibly delivered before, or, where that one was recorded first, the other.
	Redelivered uint64
	// DeliveredAgain and SentAgain are the parts of Duplicated that lost connections
	// explain, a consumer's and a publisher's: see Lost and Resent. Nothing explains the
	// rest.
	DeliveredAgain, SentAgain uint64
	// FarthestReorder is by how many places the most delayed of the reordered
	// messages was late.
	FarthestReorder uint64
}

// New returns an empty ledger for bodies of the given format.
func New(format Format) *Ledger {
	l := &Ledger{format: format, publishers: make([]publisherBooks, format.plan.Publishers)}
	for i := range l.publishers {
		l.publishers[i].own = format.plan.Range(i)
	}
	return l
}

// Unconfirmed notes messages that were published, and that the broker rejected,
// returned, or did not answer for. They are not lost if they do not come.
// Numbers outside the plan are ignored. The slice is not kept.
func (l *Ledger) Unconfirmed(numbers []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spans(numbers, func(b *publisherBooks, first, last uint64) { b.unconfirmed.addRange(first, last) })
}

// spans calls enter for the spans of consecutive numbers, by their places in their
// publisher's range. The caller holds the lock.
func (l *Ledger) spans(numbers []uint64, enter func(b *publisherBooks, first, last uint64)) {
	for i := 0; i < len(numbers); i++ {
		first := numbers[i]
		if first < 1 || first > l.format.plan.Count {
			continue
		}
		b := &l.publishers[l.format.plan.owner(first)]
		last := first
		for last < b.own.Last && i+1 < len(numbers) && numbers[i+1] == last+1 {
			i, last = i+1, last+1
		}
		enter(b, first-b.own.First, last-b.own.First)
	}
}

// Published says that the publisher has ended, and that it published the first
// count messages of its range and no others.
func (l *Ledger) Published(publisher int, count uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.publishers[publisher].published = count
}

// Totals returns the counts of all deliveries recorded so far. It moves messages
// that no publisher published from Unique to Unexpected, so it is final once
// Published has been called for every publisher. What explains a duplicate may become
// known after it: SentAgain is final once all outcomes are known.
func (l *Ledger) Totals() Totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.totals
	for i := range l.publishers {
		b := &l.publishers[i]
		unpublished := b.received.from(b.published)
		t.Unique -= unpublished
		t.Unexpected += unpublished
		t.SentAgain += b.repeats.sentAgain()
	}
	if l.lost {
		t.DeliveredAgain += t.Redelivered
	}
	return t
}

// Unique is the number of messages of the plan that have come at least once. A
// run compares it with what it has sent while it waits.
func (l *Ledger) Unique() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals.Unique
}

// Missing is the number of messages that were published, that are not
// Unconfirmed, and that have not come. Once nothing is left in the queue or on
// its way, these are lost. It is meaningful once Published has been called for
// every publisher.
func (l *Ledger) Missing() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n uint64
	for i := range l.publishers {
		b := &l.publishers[i]
		expected := b.published - b.unconfirmed.len
		came := b.received.len - b.received.from(b.published) - b.received.common(&b.unconfirmed)
		n += expected - came
	}
	return n
}

// MissingRanges returns the first ranges of the messages that Missing counts,
// at most limit of them, in order.
func (l *Ledger) MissingRanges(limit int) []Range {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ranges []Range
	for i := range l.publishers {
		b := &l.publishers[i]
		for at := b.received.floor << pageShift; at < b.published; {
			gap := ^(b.received.word(at/wordBits) | b.unconfirmed.word(at/wordBits)) >> (at % wordBits)
			if gap == 0 {
				at += wordBits - at%wordBits
				continue
			}
			at += uint64(bits.TrailingZeros64(gap))
			if at >= b.published {
				break
			}
			end := b.gapEnd(at)
			ranges = appendRange(ranges, Range{First: b.own.First + at, Last: b.own.First + end - 1})
			if len(ranges) > limit {
				return ranges[:limit]
			}
			at = end
		}
	}
	return ranges
}

// gapEnd returns the first place after at whose message is not missing.
func (b *publisherBooks) gapEnd(at uint64) uint64 {
	for at < b.published {
		there := (b.received.word(at/wordBits) | b.unconfirmed.word(at/wordBits)) >> (at % wordBits)
		if there != 0 {
			at += uint64(bits.TrailingZeros64(there))
			break
		}
		at += wordBits - at%wordBits
	}
	return min(at, b.published)
}

// appendRange appends r, joined to the last range where the two touch: the last
// message of one publisher and the first of the next do.
func appendRange(ranges []Range, r Range) []Range {
	if n := len(ranges); n > 0 && ranges[n-1].Last+1 == r.First {
		ranges[n-1].Last = r.Last
		return ranges
	}
	return append(ranges, r)
}
