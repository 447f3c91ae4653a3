package main

import (
	"fmt"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/ledger"
)

// tutorial is the format of all bodies: "Message 1", "Message 2" and so on. A
// stream moves tens of millions a second, and the ledger makes and checks one in
// a few nanoseconds: neither hides what the clients cost.
func tutorial() ledger.Format {
	return ledger.Tutorial(ledger.Plan{Count: ledger.MaxCount, Publishers: 1})
}

// appendBody appends body number i.
func appendBody(dst []byte, i int) []byte {
	format := tutorial()
	var ends [1]int
	dst, _ = format.AppendRun(dst, uint64(i), 1, ends[:0])
	return dst
}

// bodyRun is room for bodies that follow one another.
type bodyRun struct {
	format ledger.Format
	text   []byte
	ends   []int
}

// fill gives messages their bodies, from number first on. They are valid until the
// next call.
func (r *bodyRun) fill(messages []thump.Message, first int) {
	r.text, r.ends = r.format.AppendRun(r.text[:0], uint64(first), len(messages), r.ends[:0])
	start := 0
	for i, end := range r.ends {
		messages[i].Body = r.text[start:end:end]
		start = end
	}
}

// bodyCheck expects bodies 1 to total, in order. The ledger looks at every
// delivery; what it makes of them is asked now and then, and after the last.
type bodyCheck struct {
	count    int // deliveries so far
	total    int // deliveries that are expected
	due      int // deliveries at which the ledger is asked next
	ledger   *ledger.Ledger
	consumer *ledger.Consumer
}

// askEvery is the most deliveries that come before the ledger is asked again, so
// many that the answer's microsecond costs nothing.
const askEvery = 1000

func newBodyCheck(total int) *bodyCheck {
	l := ledger.New(tutorial())
	c := &bodyCheck{total: total, ledger: l, consumer: l.Consumer()}
	c.setDue()
	return c
}

// setDue sets when the ledger is asked next. Near the end that is halfway to it:
// where a message was lost the last delivery never comes, and the loss must show
// before.
func (c *bodyCheck) setDue() {
	c.due = c.count + askEvery
	if left := c.total - c.count; left > 0 {
		c.due = min(c.due, c.count+(left+1)/2)
	}
}

// add takes a delivery.
func (c *bodyCheck) add(body []byte) {
	c.consumer.Add(body, false)
	c.count++
}

// addData takes a message of a stream, which is a data section around a body.
func (c *bodyCheck) addData(message []byte) error {
	body, ok := amqp10.Data(message)
	if !ok {
		return fmt.Errorf("delivery %d is not a data section: %.60q", c.count+1, message)
	}
	c.add(body)
	return nil
}

// err says what is wrong with the deliveries so far, if it is time to ask: a
// message that is lost, repeated, out of order or damaged is an error.
func (c *bodyCheck) err() error {
	if c.count < c.due {
		return nil
	}
	return c.ask()
}

// take is add and err, for deliveries that come one at a time.
func (c *bodyCheck) take(body []byte) error {
	c.add(body)
	return c.err()
}

func (c *bodyCheck) ask() error {
	c.setDue()
	c.consumer.Commit()
	count := uint64(c.count)
	// As if no more had been published, so that each of those must have come.
	c.ledger.Published(0, count)
	t := c.ledger.Totals()
	if t == (ledger.Totals{Received: count, Unique: count}) {
		return nil
	}
	return fmt.Errorf("the first %d deliveries are not messages 1 to %[1]d in order: "+
		"%d missing (the first %v), %d repeated, %d out of order, %d damaged, %d unexpected",
		count, c.ledger.Missing(), c.ledger.MissingRanges(3), t.Duplicated, t.Reordered, t.Corrupted, t.Unexpected)
}
