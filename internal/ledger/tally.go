package ledger

import "sync"

// tallyPages bounds what a Tally remembers: 4096 pages of 8 KiB, 32 MiB.
const tallyPages = 4096

// Tally looks at deliveries of which nobody said beforehand what they should
// be. It counts all of them, and of those that carry the tutorial's "Message N"
// it knows which numbers came. It is safe for concurrent use.
type Tally struct {
	mu     sync.Mutex
	seen   set
	counts TallyCounts
}

// TallyCounts is what a Tally has seen.
type TallyCounts struct {
	Received uint64 // deliveries in all
	Numbered uint64 // of them, with a tutorial body
	Repeated uint64 // of the numbered, with a number that had come already
	Highest  uint64 // the largest number that came
	// Partial says that the numbers were too scattered to remember all of
	// them: Repeated and Missing are then not known.
	Partial bool
}

// Missing is how many numbers from 1 to Highest have not come.
func (c TallyCounts) Missing() uint64 { return c.Highest - (c.Numbered - c.Repeated) }

// TallyConsumer is one consumer's way into a Tally. Numbers that count up cost
// a comparison each, and Commit once for each run of them. It is not safe for
// concurrent use.
type TallyConsumer struct {
	tally *Tally

	// The run under way is first to next-1, and empty when they are equal;
	// text is the body of next.
	first, next uint64
	text        text

	ended   []Range // the runs since the last Commit that have ended
	foreign uint64  // deliveries without a number since the last Commit
}

// NewTally returns an empty tally.
func NewTally() *Tally { return &Tally{seen: set{limit: tallyPages}} }

// Consumer returns a new consumer of the tally.
func (t *Tally) Consumer() *TallyConsumer {
	c := &TallyConsumer{tally: t, first: 1, next: 1}
	c.text.setNumber(1)
	return c
}

// Add reads one delivery. It counts from the next Commit on. The body is not
// kept.
func (c *TallyConsumer) Add(body []byte) {
	if !c.text.matches(body) {
		n, ok := parseNumbered(body)
		if !ok {
			c.foreign++
			return
		}
		if n != c.next {
			c.end()
			c.first, c.next = n, n
		}
		c.text.set(body)
	}
	c.next++ // to 0 from the greatest number there is
	c.text.advance(c.next)
}

// end ends the run that is under way, if there is one.
func (c *TallyConsumer) end() {
	if c.first != c.next {
		c.ended = append(c.ended, Range{First: c.first, Last: c.next - 1})
		c.first = c.next
	}
}

// Commit records the deliveries added since the last one.
func (c *TallyConsumer) Commit() {
	c.end()
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
