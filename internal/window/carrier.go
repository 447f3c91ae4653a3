package window

import (
	"sort"

	"github.com/thumpmq/thump/internal/outcome"
)

// Carrier is one connection's part of a window. The connection numbers the
// messages that it carries from 0, and the Carrier knows which messages of the
// window those are: they follow each other there, unless other connections carry
// messages of the same window.
//
// Every method wants the window locked.
type Carrier struct {
	w     *Window
	next  uint64 // the connection's number of the next message
	spans []span // those that may have messages without an outcome, oldest first
	ended bool

	resent uint64 // the messages below, by the connection's numbers, were sent before
}

// span is messages that follow each other in the window as they do on the
// connection.
type span struct {
	first   uint64 // the connection's number of the first
	message uint64 // its number in the window
	count   uint64
}

// Carry returns a connection's part of the window, which is empty yet.
func (w *Window) Carry() *Carrier { return &Carrier{w: w} }

// Window is the window that the messages are in.
func (c *Carrier) Window() *Window { return c.w }

// Next is the connection's number of the next message.
func (c *Carrier) Next() uint64 { return c.next }

// Add enters a message and returns the connection's number for it. The caller has seen
// that there is room, and lets the message's bytes leave only afterwards: so a confirm
// always finds it.
func (c *Carrier) Add(tag Tag) uint64 {
	number := c.w.add(tag)
	c.w.carried = c.w.next
	return c.carry(number, 1)
}

// AddRun is Add for n messages, and returns nothing; tags are theirs, nil where no message has
// one.
func (c *Carrier) AddRun(n int, tags []Tag) {
	if n == 0 {
		return
	}
	first := c.w.addRun(n, tags)
	c.w.carried = c.w.next
	c.carry(first, uint64(n))
}

// AddAgain takes over a message that is in the window and that no connection carries now.
// The numbers of those that are taken over rise. It returns the connection's number for it.
func (c *Carrier) AddAgain(number uint64) uint64 {
	if number < c.w.carried {
		c.resent = c.next + 1
		c.w.totals.Resent++
	}
	c.w.carried = max(c.w.carried, number+1)
	return c.carry(number, 1)
}

// SentAgain says that what the carrier has in flight below that number, n messages, is sent
// again, on another connection that goes on with its numbers. With exact the broker keeps no
// second copy of them, so that their outcomes do not say Resent.
func (c *Carrier) SentAgain(below, n uint64, exact bool) {
	c.w.totals.Resent += n
	if !exact {
		c.resent = max(c.resent, below)
	}
}

// carry makes n messages of the window, from that number on, the connection's next ones. It
// returns the connection's number for the first.
func (c *Carrier) carry(number, n uint64) uint64 {
	if last := len(c.spans) - 1; last >= 0 && c.spans[last].message+c.spans[last].count == number {
		c.spans[last].count += n
	} else {
		c.begin(number, n)
	}
	first := c.next
	c.next += n
	return first
}

// AddEncoded is Add for a window with Keep, which copies the encoded message.
func (c *Carrier) AddEncoded(tag Tag, encoded []byte) uint64 {
	c.w.bytes += c.w.store.Add(encoded)
	return c.Add(tag)
}

// begin begins a span of n messages, and uses the room of those that are done with.
func (c *Carrier) begin(message, n uint64) {
	if len(c.spans) == cap(c.spans) {
		done := 0
		for done < len(c.spans) && c.spans[done].message+c.spans[done].count <= c.w.oldest {
			done++
		}
		if done >= len(c.spans)/2 { // so that on average a span moves once
			c.spans = c.spans[:copy(c.spans, c.spans[done:])]
		}
	}
	c.spans = append(c.spans, span{first: c.next, message: message, count: n})
}

// Count counts a message of an Unconfirmed window.
func (c *Carrier) Count() { c.w.totals.Published++ }

// CountReturned counts a message of an Unconfirmed window that came back, with the
// broker's reason. It returns how many were published, and reports false where more came
// back.
func (c *Carrier) CountReturned(code uint16, text string) (published uint64, ok bool) {
	t := &c.w.totals
	if t.Returned >= t.Published {
		return t.Published, false
	}
	t.Returned++
	if c.w.bad.Status == 0 {
		c.w.bad = outcome.Outcome{Status: outcome.Returned, Code: code, Text: text}
	}
	return t.Published, true
}

// Resolve gives n messages, by the connection's numbers from first on, their
// outcome. All of them were added; those that have an outcome are left alone.
// Window.Wake must follow.
func (c *Carrier) Resolve(first, n uint64, status outcome.Status, code uint16, text string) {
	if c.ended {
		return
	}
	result := Result{Status: status, Code: code, Text: text, Resent: first < c.resent}
	if again := c.resent - first; result.Resent && again < n {
		c.resolve(first, again, result)
		first, n, result.Resent = c.resent, n-again, false
	}
	c.resolve(first, n, result)
}

func (c *Carrier) resolve(first, n uint64, r Result) {
	end := first + n
	for i := c.find(first); i < len(c.spans) && c.spans[i].first < end; i++ {
		s := &c.spans[i]
		from, until := max(first, s.first), min(end, s.first+s.count)
		c.w.Resolve(s.message+(from-s.first), until-from, r)
	}
}

// find returns the index of the first span that has messages from that number on.
func (c *Carrier) find(number uint64) int {
	if len(c.spans) == 0 || number < c.spans[0].first+c.spans[0].count {
		return 0
	}
	return sort.Search(len(c.spans), func(i int) bool { return number < c.spans[i].first+c.spans[i].count })
}

// Resolved reports whether the message of that number has its outcome.
func (c *Carrier) Resolved(number uint64) bool {
	i := c.find(number)
	return i == len(c.spans) || number < c.spans[i].first || c.w.resolved(c.spans[i].message+(number-c.spans[i].first))
}

// Open is how many of the n messages from that number on have no outcome.
func (c *Carrier) Open(first, n uint64) (open uint64) {
	end := first + n
	for i := c.find(first); i < len(c.spans) && c.spans[i].first < end; i++ {
		s := &c.spans[i]
		from, until := max(first, s.first), min(end, s.first+s.count)
		open += c.w.open(s.message+(from-s.first), s.message+(until-s.first))
	}
	return open
}

// Oldest is the lowest number that may have no outcome.
func (c *Carrier) Oldest() uint64 {
	for _, s := range c.spans {
		if end := s.message + s.count; end > c.w.oldest {
			return s.first + max(s.message, c.w.oldest) - s.message
		}
	}
	return c.next
}

// Ended reports whether the connection carries nothing any more.
func (c *Carrier) Ended() bool { return c.ended }

// End says that the connection carries nothing any more, and why: what the broker
// has not answered is Unknown, and what it says now comes too late.
func (c *Carrier) End(why string) {
	c.Resolve(0, c.next, outcome.Unknown, 0, why)
	c.ended, c.spans = true, nil
	c.w.Wake()
}

// Leave says that the connection carries nothing any more, of a window that keeps its
// messages: what the broker has not answered stays in it, for another connection.
func (c *Carrier) Leave() {
	c.ended, c.spans = true, nil
	if c.w.cfg.Unconfirmed {
		c.w.lose()
	}
}
