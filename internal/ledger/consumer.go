package ledger

// redeliveredBit marks an arrival that the broker said it may have delivered
// before. Numbers stay far below it (MaxCount).
const redeliveredBit = 1 << 63

// Consumer is one consumer's way into a Ledger. Its order is judged by itself,
// because RabbitMQ promises no order between consumers. It is not safe for
// concurrent use.
type Consumer struct {
	ledger   *Ledger
	arrivals []uint64 // numbers since the last Commit
	bad      Totals   // bodies without a number since the last Commit

	// highest is, for each publisher, one more than the place of the latest of
	// its messages that has come here for the first time.
	highest []uint64
}

// Consumer returns a new consumer of the ledger.
func (l *Ledger) Consumer() *Consumer {
	return &Consumer{ledger: l, highest: make([]uint64, l.format.plan.Publishers)}
}

// Add reads one delivery. It counts from the next Commit on.
func (c *Consumer) Add(body []byte, redelivered bool) {
	n, class := c.ledger.format.Parse(body)
	switch class {
	case Ours:
		if redelivered {
			n |= redeliveredBit
		}
		c.arrivals = append(c.arrivals, n)
	case Corrupted:
		c.bad.Corrupted++
	case Unexpected:
		c.bad.Unexpected++
	}
}

// Commit records the deliveries added since the last one, and returns how many
// messages of the plan have come at least once, to any consumer.
func (c *Consumer) Commit() (unique uint64) {
	l := c.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &l.totals
	t.Received += uint64(len(c.arrivals)) + c.bad.Corrupted + c.bad.Unexpected
	t.Corrupted += c.bad.Corrupted
	t.Unexpected += c.bad.Unexpected

	var s *stream
	publisher := 0
	for _, n := range c.arrivals {
		redelivered := n&redeliveredBit != 0
		n &^= redeliveredBit
		if s == nil || n < s.own.First || n > s.own.Last {
			publisher = l.format.plan.owner(n)
			s = &l.streams[publisher]
		}
		place := n - s.own.First
		added, _ := s.received.add(place)
		switch {
		case !added:
			t.Duplicated++
			if redelivered {
				t.Redelivered++
			}
		case redelivered:
			// It may have been on its way here or elsewhere before: neither
			// its own place nor its successors' can be judged by it.
			t.Unique++
		case place < c.highest[publisher]:
			t.Unique++
			t.Reordered++
			t.FarthestReorder = max(t.FarthestReorder, c.highest[publisher]-1-place)
		default:
			t.Unique++
			c.highest[publisher] = place + 1
		}
	}
	c.arrivals = c.arrivals[:0]
	c.bad = Totals{}
	return t.Unique
}
