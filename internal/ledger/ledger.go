// Package ledger decides, from the messages of a run that were sent and those
// that came, which were lost, duplicated, reordered, corrupted, or never ours.
//
// It is pure: it does no I/O, starts no goroutine and reads no clock. Memory
// does not grow with the number of messages as long as each publisher's come
// about in order; at worst it is one bit a message. A number outside the plan
// is only counted, so a forged one costs nothing.
//
// Time is counted in runs for the same reason: a message that comes in its
// publisher's order is compared with the body that is expected, and everything
// else is done once for all that came in order since the last Commit.
package ledger

import (
	"math/bits"
	"sync"
)

// Ledger accounts for the messages of one Plan. It is safe for concurrent use:
// consumers lock it once for each batch.
type Ledger struct {
	format Format

	mu      sync.Mutex
	streams []stream // one for each publisher
	totals  Totals
}

// stream is what is known of one publisher's messages, which are numbered from
// 0 here.
type stream struct {
	own         Range
	published   uint64 // the first so many were published
	received    set
	unconfirmed set // published, and the broker did not say that it has them
}

// Totals counts deliveries. Received = Unique + Duplicated + Corrupted +
// Unexpected.
type Totals struct {
	Received   uint64 // deliveries in all
	Unique     uint64 // messages of the run that came at least once
	Duplicated uint64 // deliveries of a message that had come already
	Reordered  uint64 // first deliveries that came after a later message of their publisher
	Corrupted  uint64 // bodies of the run that are damaged
	Unexpected uint64 // bodies that are not of the run, or that nobody had published

	// Redelivered is how many of Duplicated the broker had marked as possibly
	// delivered before. The others were duplicated without a word.
	Redelivered uint64
	// FarthestReorder is the most places that a reordered message came late.
	FarthestReorder uint64
}

// New returns an empty ledger for bodies of the given format.
func New(format Format) *Ledger {
	l := &Ledger{format: format, streams: make([]stream, format.plan.Publishers)}
	for i := range l.streams {
		l.streams[i].own = format.plan.Range(i)
	}
	return l
}

// Unconfirmed notes messages that were published and that the broker refused,
// returned, or said nothing of. They are not lost when they do not come.
// Numbers outside the plan are ignored.
func (l *Ledger) Unconfirmed(numbers []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := 0; i < len(numbers); i++ {
		first := numbers[i]
		if first < 1 || first > l.format.plan.Count {
			continue
		}
		s := &l.streams[l.format.plan.owner(first)]
		last := first
		for last < s.own.Last && i+1 < len(numbers) && numbers[i+1] == last+1 {
			i, last = i+1, last+1
		}
		s.unconfirmed.addRange(first-s.own.First, last-s.own.First)
	}
}

// Published says that publisher is done, and has published the first count
// messages of its range and no others.
func (l *Ledger) Published(publisher int, count uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.streams[publisher].published = count
}

// Totals returns the counts of all deliveries recorded so far. Deliveries of
// messages that nobody published are moved from Unique to Unexpected; whether
// they were is known once every publisher has called Published, so the result
// is final only then.
func (l *Ledger) Totals() Totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.totals
	for i := range l.streams {
		s := &l.streams[i]
		early := s.received.from(s.published)
		t.Unique -= early
		t.Unexpected += early
	}
	return t
}

// Unique is the number of messages of the plan that have come at least once. It
// is what a run that is under way compares with what it has sent.
func (l *Ledger) Unique() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals.Unique
}

// Missing is the number of messages that were published, that are not among
// the Unconfirmed, and that have not come. Once nothing is left in the queue or
// under way, these are lost. It is meaningful when every publisher has called
// Published.
func (l *Ledger) Missing() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n uint64
	for i := range l.streams {
		s := &l.streams[i]
		expected := s.published - s.unconfirmed.len
		came := s.received.len - s.received.from(s.published) - s.received.common(&s.unconfirmed)
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
	for i := range l.streams {
		s := &l.streams[i]
		for at := s.received.floor << pageShift; at < s.published; {
			gap := ^(s.received.word(at/wordBits) | s.unconfirmed.word(at/wordBits)) >> (at % wordBits)
			if gap == 0 {
				at += wordBits - at%wordBits
				continue
			}
			at += uint64(bits.TrailingZeros64(gap))
			if at >= s.published {
				break
			}
			end := s.gapEnd(at)
			ranges = appendRange(ranges, Range{First: s.own.First + at, Last: s.own.First + end - 1})
			if len(ranges) > limit {
				return ranges[:limit]
			}
			at = end
		}
	}
	return ranges
}

// gapEnd returns the first number after at that is not missing.
func (s *stream) gapEnd(at uint64) uint64 {
	for at < s.published {
		there := (s.received.word(at/wordBits) | s.unconfirmed.word(at/wordBits)) >> (at % wordBits)
		if there != 0 {
			at += uint64(bits.TrailingZeros64(there))
			break
		}
		at += wordBits - at%wordBits
	}
	return min(at, s.published)
}

// appendRange joins r to the last range where they touch, as the last message
// of one publisher and the first of the next do.
func appendRange(ranges []Range, r Range) []Range {
	if n := len(ranges); n > 0 && ranges[n-1].Last+1 == r.First {
		ranges[n-1].Last = r.Last
		return ranges
	}
	return append(ranges, r)
}
