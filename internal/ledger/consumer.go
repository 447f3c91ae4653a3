package ledger

// Consumer records what one consumer receives. It judges order for itself,
// because RabbitMQ promises no order between consumers. It is not safe for
// concurrent use.
//
// A message in its publisher's order costs one comparison, with the body that is
// expected next. Commit enters messages by spans of consecutive numbers, so its
// cost does not grow with the length of a span.
type Consumer struct {
	ledger  *Ledger
	cursors []*cursor // by publisher; nil until one of its messages has come
	current *cursor   // the cursor of the latest message

	// The deliveries since the last Commit: spans that have ended, in the order of
	// their end; the cursors whose span may still be open; bodies without a number.
	ended  []span
	active []*cursor
	bad    Totals

	arrivals []Arrival // of the latest Commit
}

// Arrival is consecutive messages of one publisher, First to Last, that came for the first
// time. They are numbered from 0, by their places in the publisher's range.
type Arrival struct {
	Publisher   int
	First, Last uint64
}

// span is messages of one publisher that came in order, one after another. They
// are numbered from 0 here, by their places in the publisher's range.
type span struct {
	of          *cursor
	first, last uint64
	redelivered bool // the broker said that it may have delivered them before
}

// cursor is where a consumer is in one publisher's messages, which are own:
//
//	own.First        first                next               own.Last
//	    |--------------|====================|- - - - - - - - - - |
//	                       the open span         expected
//
// The open span is first to next-1, and empty while the two are equal. From its
// second message on, the cursor holds the body of next to compare with.
type cursor struct {
	first, next uint64
	// expectedTo is the last number whose body is worth comparing with text or
	// header, whichever the format has: own.Last, or 0 while neither holds the
	// body of next.
	expectedTo uint64
	text       text
	header     header

	own    Range
	of     int             // the publisher
	books  *publisherBooks // the ledger's; guarded by its lock
	active bool            // it is in the consumer's active

	// highest is one more than the place of the latest message that came here
	// for the first time.
	highest uint64
	// successor is the cursor of the message that followed this one's latest span.
	// Where publishers take turns, it has the message after the next span too.
	successor *cursor
}

// Consumer returns a new consumer of the ledger.
func (l *Ledger) Consumer() *Consumer {
	c := &Consumer{ledger: l, cursors: make([]*cursor, l.format.plan.Publishers)}
	c.switchTo(c.cursor(0))
	return c
}

// Add reads one delivery. The next Commit counts it. Add does not keep the body.
func (c *Consumer) Add(body []byte, redelivered bool) {
	// This is expects and advance, written out: calling them would cost a third of
	// what an expected message costs.
	if k := c.current; !redelivered && k.next <= k.expectedTo {
		if s := c.ledger.format.sized; s == nil {
			if k.text.matches(body) {
				k.next++
				k.text.advance(k.next)
				return
			}
		} else if s.matches(&k.header, body) {
			k.next++
			k.header.advance(s)
			return
		}
	}
	c.add(body, redelivered)
}

// add is Add for a body that the current cursor does not expect.
func (c *Consumer) add(body []byte, redelivered bool) {
	f := &c.ledger.format
	if k := c.current.successor; k != nil && !redelivered && k.expects(f.sized, body) {
		c.switchTo(k)
		k.advance(f.sized)
		return
	}
	n, class := f.Parse(body)
	switch class {
	case Ours:
		c.place(n, body, redelivered)
	case Corrupted:
		c.bad.Corrupted++
	case Unexpected:
		c.bad.Unexpected++
	}
}

// expects reports whether body is the publisher's next message, and the cursor
// holds it to compare with.
func (k *cursor) expects(s *sized, body []byte) bool {
	switch {
	case k.next > k.expectedTo:
		return false
	case s != nil:
		return s.matches(&k.header, body)
	default:
		return k.text.matches(body)
	}
}

// advance adds the expected message to the open span, and makes the body of the
// one after it.
func (k *cursor) advance(s *sized) {
	k.next++
	if s != nil {
		k.header.advance(s)
	} else {
		k.text.advance(k.next)
	}
}

// place enters message n, which came as body.
func (c *Consumer) place(n uint64, body []byte, redelivered bool) {
	k := c.current
	if n < k.own.First || n > k.own.Last {
		k = c.cursor(c.ledger.format.plan.owner(n))
		c.current.successor = k
		c.switchTo(k)
	}
	switch {
	case redelivered:
		// A redelivery says nothing about what comes next.
		c.endSpan(k)
		c.ended = append(c.ended, span{of: k, first: n - k.own.First, last: n - k.own.First, redelivered: true})
	case n != k.next:
		// A jump. Whether a span begins here shows with its second message.
		c.endSpan(k)
		k.first, k.next, k.expectedTo = n, n+1, 0
	case c.ledger.format.mix != nil: // the next body is not made from this one
		k.next++
	default:
		k.expectedTo = k.own.Last
		s := c.ledger.format.sized
		if s != nil {
			// Not the body's own checksum: a forged filler may have changed it.
			k.header.id = readHeader(body).id
			k.header.sum = s.checksum(k.header.id)
		} else {
			k.text.set(body)
		}
		k.advance(s)
	}
}

// cursor returns the publisher's cursor. It makes one if there is none.
func (c *Consumer) cursor(publisher int) *cursor {
	k := c.cursors[publisher]
	if k == nil {
		b := &c.ledger.publishers[publisher]
		k = &cursor{own: b.own, of: publisher, books: b, first: b.own.First, next: b.own.First}
		c.cursors[publisher] = k
	}
	return k
}

// switchTo makes k the current cursor.
func (c *Consumer) switchTo(k *cursor) {
	c.current = k
	if !k.active {
		k.active = true
		c.active = append(c.active, k)
	}
}

// endSpan ends the open span of k, unless it is empty.
func (c *Consumer) endSpan(k *cursor) {
	if k.first == k.next {
		return
	}
	c.ended = append(c.ended, span{of: k, first: k.first - k.own.First, last: k.next - 1 - k.own.First})
	k.first = k.next
}

// Commit records the deliveries since the last Commit. It returns how many
// messages of the plan have come at least once, to any consumer.
func (c *Consumer) Commit() (unique uint64) {
	// The order of one publisher's messages is independent of another's, so the
	// spans that are still open may be entered last.
	for _, k := range c.active {
		c.endSpan(k)
		k.active = false
	}
	c.active = c.active[:0]
	c.switchTo(c.current)

	l := c.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.totals
	t.Received += c.bad.Corrupted + c.bad.Unexpected
	t.Corrupted += c.bad.Corrupted
	t.Unexpected += c.bad.Unexpected
	c.arrivals = c.arrivals[:0]
	for i := range c.ended {
		c.enter(&c.ended[i])
	}
	c.ended = c.ended[:0]
	c.bad = Totals{}
	return t.Unique
}

// Bad is how many deliveries since the latest Commit were no message of the plan as it was
// published: corrupted or unexpected ones.
func (c *Consumer) Bad() uint64 { return c.bad.Corrupted + c.bad.Unexpected }

// Arrivals are the messages that the latest Commit has recorded as the first of their kind to
// come, to any consumer of the ledger, in no particular order. The slice is valid until the
// next Commit.
func (c *Consumer) Arrivals() []Arrival { return c.arrivals }

// arrived notes first to last, but for the repeated ones among them, which are in order.
func (c *Consumer) arrived(k *cursor, first, last uint64, repeated []Range) {
	for _, r := range repeated {
		if r.First > first {
			c.arrivals = append(c.arrivals, Arrival{k.of, first, r.First - 1})
		}
		first = r.Last + 1
	}
	if first <= last {
		c.arrivals = append(c.arrivals, Arrival{k.of, first, last})
	}
}

// enter counts a span. The caller holds the ledger's lock.
func (c *Consumer) enter(s *span) {
	l := c.ledger
	t, k, received := &l.totals, s.of, &s.of.books.received
	n := s.last - s.first + 1
	t.Received += n
	if s.redelivered {
		// Its messages may have been on their way before, to this consumer or to
		// another: their order says nothing, for them and for what follows them.
		fresh, _ := received.addRange(s.first, s.last)
		c.arrived(k, s.first, s.last, received.repeated)
		if fresh.n > 0 {
			s.of.books.repeats.marked.add(s.first) // a span of one, as all that are redelivered
		}
		t.Unique += fresh.n
		t.Duplicated += n - fresh.n
		t.Redelivered += n - fresh.n // which Totals explains
		return
	}
	var unique uint64
	if s.first < k.highest {
		last := min(s.last, k.highest-1)
		late, _ := received.addRange(s.first, last)
		c.arrived(k, s.first, last, received.repeated)
		if late.n > 0 {
			t.Reordered += late.n
			t.FarthestReorder = max(t.FarthestReorder, k.highest-1-late.first)
		}
		unique += late.n
		l.repeated(s.of.books)
	}
	if s.last >= k.highest {
		first := max(s.first, k.highest)
		fresh, _ := received.addRange(first, s.last)
		c.arrived(k, first, s.last, received.repeated)
		if fresh.n > 0 {
			k.highest = fresh.last + 1
		}
		unique += fresh.n
		l.repeated(s.of.books)
	}
	t.Unique += unique
	t.Duplicated += n - unique
}
