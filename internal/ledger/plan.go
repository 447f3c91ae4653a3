package ledger

import "fmt"

// MaxCount is the largest number of messages of a Plan: the sequence field of a
// sized body has 48 bits.
const MaxCount = 1<<48 - 1

// MaxPublishers is the largest number of publishers of a Plan: the publisher field
// of a sized body has 16 bits.
const MaxPublishers = 1<<16 - 1

// Plan says who publishes what. Messages are numbered from 1 to Count, and each of
// the publishers, counted from 0, owns a contiguous range of the numbers. If Count
// does not divide evenly, the first publishers own one message more.
type Plan struct {
	Count      uint64
	Publishers int
}

// Validate returns an error if Count or Publishers is out of bounds.
func (p Plan) Validate() error {
	if p.Count < 1 || p.Count > MaxCount {
		return fmt.Errorf("ledger: %d messages, want 1 to %d", p.Count, uint64(MaxCount))
	}
	if p.Publishers < 1 || p.Publishers > MaxPublishers {
		return fmt.Errorf("ledger: %d publishers, want 1 to %d", p.Publishers, MaxPublishers)
	}
	return nil
}

// Range is the messages First to Last, both included. It is empty if Last is below
// First.
type Range struct {
	First, Last uint64
}

// Len is the number of messages in the range.
func (r Range) Len() uint64 {
	if r.Last < r.First {
		return 0
	}
	return r.Last - r.First + 1
}

// String returns "17" or "17-20".
func (r Range) String() string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// Range returns the numbers that a publisher owns. It is empty for some if there
// are more publishers than messages.
func (p Plan) Range(publisher int) Range {
	share, more := p.Count/uint64(p.Publishers), p.Count%uint64(p.Publishers)
	i := uint64(publisher)
	first := i*share + min(i, more) + 1
	if i < more {
		share++
	}
	return Range{First: first, Last: first + share - 1}
}

// owner returns the publisher whose range holds n, from 1 to Count.
func (p Plan) owner(n uint64) int {
	share, more := p.Count/uint64(p.Publishers), p.Count%uint64(p.Publishers)
	i := n - 1
	big := more * (share + 1) // the messages of those that own one more
	if i < big {
		return int(i / (share + 1))
	}
	return int(more + (i-big)/share)
}
