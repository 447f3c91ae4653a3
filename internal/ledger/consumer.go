package ledger

// Consumer is one consumer's way into a Ledger. Its order is judged by itself,
// because RabbitMQ promises no order between consumers. It is not safe for
// concurrent use.
//
// Messages that come in order, each publisher's for itself, cost a comparison
// with the body that is expected next, and Commit costs nothing for them but
// once for each run of them.
type Consumer struct {
	ledger  *Ledger
	cursors []*cursor // by publisher; nil as long as nothing of it has come
	current *cursor   // the cursor of the latest message

	// What has come since the last Commit: runs that have ended, in order, then
	// those of the cursors under way.
	ended    []run
	underWay []*cursor
	bad      Totals // bodies without a number
}

// run is messages of one publisher that came one after the other, in order, by
// their places in its range, from 0.
type run struct {
	of          *cursor
	first, last uint64
	redelivered bool // the broker said that it may have delivered them before
}

// cursor is where a consumer is within one publisher's messages.
type cursor struct {
	// The run under way is first to next-1, and empty when they are equal.
	first, next uint64
	// Up to this number, text or header, whichever the format has, is the body
	// of next. It is 0 where none has been made.
	expectedTo uint64
	text       text
	header     header

	own      Range
	stream   *stream // the ledger's; under its lock
	underWay bool    // it is among the consumer's underWay

	// highest is one more than the place of the latest message that has come
	// here for the first time.
	highest uint64
	// follower is the cursor that had the message after this one's latest run.
	// Where publishers take turns it will have the next one as well.
	follower *cursor
}

// Consumer returns a new consumer of the ledger.
func (l *Ledger) Consumer() *Consumer {
	c := &Consumer{ledger: l, cursors: make([]*cursor, l.format.plan.Publishers)}
	c.turnTo(c.cursor(0))
	return c
}

// Add reads one delivery. It counts from the next Commit on. The body is not
// kept.
func (c *Consumer) Add(body []byte, redelivered bool) {
	// This is expects and advance, written out: calling them would cost a
	// third of what an expected message does.
	if e := c.current; !redelivered && e.next <= e.expectedTo {
		if s := c.ledger.format.sized; s == nil {
			if e.text.matches(body) {
				e.next++
				e.text.advance(e.next)
				return
			}
		} else if s.matches(&e.header, body) {
			e.next++
			e.header.advance(s)
			return
		}
	}
	c.add(body, redelivered)
}

// add is Add for a body that the current cursor does not expect.
func (c *Consumer) add(body []byte, redelivered bool) {
	f := &c.ledger.format
	if e := c.current.follower; e != nil && !redelivered && e.expects(f.sized, body) {
		c.turnTo(e)
		e.advance(f.sized)
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

// expects reports whether body is that of the publisher's next message and one
// that was expected.
func (e *cursor) expects(s *sized, body []byte) bool {
	switch {
	case e.next > e.expectedTo:
		return false
	case s != nil:
		return s.matches(&e.header, body)
	default:
		return e.text.matches(body)
	}
}

// advance goes on to the next message.
func (e *cursor) advance(s *sized) {
	e.next++
	if s != nil {
		e.header.advance(s)
	} else {
		e.text.advance(e.next)
	}
}

// place enters message n, whose body is given.
func (c *Consumer) place(n uint64, body []byte, redelivered bool) {
	e := c.current
	if n < e.own.First || n > e.own.Last {
		e = c.cursor(c.ledger.format.plan.owner(n))
		c.current.follower = e
		c.turnTo(e)
	}
	switch {
	case redelivered:
		// It says nothing of what comes next.
		c.end(e)
		c.ended = append(c.ended, run{of: e, first: n - e.own.First, last: n - e.own.First, redelivered: true})
	case n != e.next:
		// Whether a run begins here is seen when its second message comes.
		c.end(e)
		e.first, e.next, e.expectedTo = n, n+1, 0
	default:
		e.expectedTo = e.own.Last
		s := c.ledger.format.sized
		if s != nil {
			// Not the checksum of the body, whose filler need not be ours.
			e.header.id = readHeader(body).id
			e.header.sum = s.checksum(e.header.id)
		} else {
			e.text.set(body)
		}
		e.advance(s)
	}
}

// cursor returns the cursor of publisher, made if it is not there.
func (c *Consumer) cursor(publisher int) *cursor {
	e := c.cursors[publisher]
	if e == nil {
		s := &c.ledger.streams[publisher]
		e = &cursor{own: s.own, stream: s, first: s.own.First, next: s.own.First}
		c.cursors[publisher] = e
	}
	return e
}

// turnTo makes e the current cursor.
func (c *Consumer) turnTo(e *cursor) {
	c.current = e
	if !e.underWay {
		e.underWay = true
		c.underWay = append(c.underWay, e)
	}
}

// end ends the run of e that is under way, if there is one.
func (c *Consumer) end(e *cursor) {
	if e.first == e.next {
		return
	}
	c.ended = append(c.ended, run{of: e, first: e.first - e.own.First, last: e.next - 1 - e.own.First})
	e.first = e.next
}

// Commit records the deliveries added since the last one, and returns how many
// messages of the plan have come at least once, to any consumer.
func (c *Consumer) Commit() (unique uint64) {
	// Publishers have nothing to do with each other's order, so what is still
	// under way may come last.
	for _, e := range c.underWay {
		c.end(e)
		e.underWay = false
	}
	c.underWay = c.underWay[:0]
	c.turnTo(c.current)

	l := c.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.totals
	t.Received += c.bad.Corrupted + c.bad.Unexpected
	t.Corrupted += c.bad.Corrupted
	t.Unexpected += c.bad.Unexpected
	for i := range c.ended {
		l.record(&c.ended[i])
	}
	c.ended = c.ended[:0]
	c.bad = Totals{}
	return t.Unique
}

// record enters a run. The caller holds the lock.
func (l *Ledger) record(r *run) {
	t, e, received := &l.totals, r.of, &r.of.stream.received
	n := r.last - r.first + 1
	t.Received += n
	if r.redelivered {
		// A message of it may have been on its way here or elsewhere before:
		// neither its own place nor its successors' can be judged by it.
		fresh, _ := received.addRange(r.first, r.last)
		t.Unique += fresh.n
		t.Duplicated += n - fresh.n
		t.Redelivered += n - fresh.n
		return
	}
	var unique uint64
	if r.first < e.highest {
		late, _ := received.addRange(r.first, min(r.last, e.highest-1))
		if late.n > 0 {
			t.Reordered += late.n
			t.FarthestReorder = max(t.FarthestReorder, e.highest-1-late.first)
		}
		unique += late.n
	}
	if r.last >= e.highest {
		fresh, _ := received.addRange(max(r.first, e.highest), r.last)
		if fresh.n > 0 {
			e.highest = fresh.last + 1
		}
		unique += fresh.n
	}
	t.Unique += unique
	t.Duplicated += n - unique
}
