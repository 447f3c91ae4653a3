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

// TallyConsumer is one consumer's way into a Tally. It is not safe for
// concurrent use.
type TallyConsumer struct {
	tally    *Tally
	received uint64
	numbers  []uint64
}

// NewTally returns an empty tally.
func NewTally() *Tally { return &Tally{seen: set{limit: tallyPages}} }

// Consumer returns a new consumer of the tally.
func (t *Tally) Consumer() *TallyConsumer { return &TallyConsumer{tally: t} }

// Add reads one delivery. It counts from the next Commit on.
func (c *TallyConsumer) Add(body []byte) {
	c.received++
	if n, ok := parseNumbered(body); ok {
		c.numbers = append(c.numbers, n)
	}
}

// Commit records the deliveries added since the last one.
func (c *TallyConsumer) Commit() {
	t := c.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Received += c.received
	t.counts.Numbered += uint64(len(c.numbers))
	for _, n := range c.numbers {
		t.counts.Highest = max(t.counts.Highest, n)
		if t.counts.Partial {
			break
		}
		added, ok := t.seen.add(n - 1)
		if !ok {
			t.counts.Partial = true
			t.seen = set{}
		} else if !added {
			t.counts.Repeated++
		}
	}
	c.received, c.numbers = 0, c.numbers[:0]
}

// Counts returns what has been seen so far.
func (t *Tally) Counts() TallyCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}
