package ledger

import "sync"

// tallyPages bounds what a Tally remembers: 4096 pages of 8 KiB, 32 MiB.
const tallyPages = 4096

// Tally counts deliveries without a plan: it does not know what they should be. It
// remembers the numbers of those whose body is the tutorial's "Message N". It is
// safe for concurrent use.
type Tally struct {
	mu     sync.Mutex
	seen   set
	counts TallyCounts
}

// TallyCounts is what a Tally has seen.
type TallyCounts struct {
	Received uint64 // all deliveries
	Numbered uint64 // deliveries with a tutorial body
	Repeated uint64 // numbered deliveries whose number had come already
	Highest  uint64 // the largest number that came
	// Partial says that the numbers were too scattered to remember all of them.
	// Repeated and Missing are not known then.
	Partial bool
}

// Missing is how many numbers from 1 to Highest have not come.
func (c TallyCounts) Missing() uint64 { return c.Highest - (c.Numbered - c.Repeated) }

// TallyConsumer records what one consumer receives. Numbers that count up cost a
// comparison each, and Commit enters each span of them at once. It is not safe
// for concurrent use.
type TallyConsumer struct {
	tally *Tally

	// The open span is first to next-1, and empty while the two are equal. text is
	// the body of next.
	first, next uint64
	text        text

	// The deliveries since the last Commit: spans that have ended, and how many
	// had no number.
	ended   []Range
	foreign uint64
}

// NewTally returns an empty tally.
func NewTally() *Tally { return &Tally{seen: set{limit: tallyPages}} }

// Consumer returns a new consumer of the tally.
func (t *Tally) Consumer() *TallyConsumer {
	c := &TallyConsumer{tally: t, first: 1, next: 1}
	c.text.setNumber(1)
	return c
}

// Add reads one delivery. The next Commit counts it. Add does not keep the body.
func (c *TallyConsumer) Add(body []byte) {
	if !c.text.matches(body) {
		n, ok := parseNumbered(body)
		if !ok {
			c.foreign++
			return
		}
		if n != c.next {
			c.endSpan()
			c.first, c.next = n, n
		}
		c.text.set(body)
	}
	c.next++ // 0 after the greatest number there is
	c.text.advance(c.next)
}

// endSpan ends the open span, unless it is empty.
func (c *TallyConsumer) endSpan() {
	if c.first != c.next {
		c.ended = append(c.ended, Range{First: c.first, Last: c.next - 1})
		c.first = c.next
	}
}

// Commit records the deliveries since the last Commit.
func (c *TallyConsumer) Commit() {
	c.endSpan()
	t := c.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Received += c.foreign
	for _, r := range c.ended {
		t.counts.Received += r.Len()
		t.counts.Numbered += r.Len()
		t.counts.Highest = max(t.counts.Highest, r.Last)
		if t.counts.Partial {
			continue
		}
		fresh, ok := t.seen.addRange(r.First-1, r.Last-1)
		if ok {
			t.counts.Repeated += r.Len() - fresh.n
		} else {
			t.counts.Partial = true
			t.seen = set{}
		}
	}
	c.foreign, c.ended = 0, c.ended[:0]
}

// Counts returns what has been seen so far.
func (t *Tally) Counts() TallyCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}
