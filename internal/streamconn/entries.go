package streamconn

import (
	"sort"

	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/window"
)

// run is entries of Publish frames that follow each other, with ids that do so too: one or
// more of a message each, or one sub-entry batch. Its books are kept once for all of it.
type run struct {
	id       uint64 // publishing id of the last entry; of a batch, that of its last message
	first    uint64 // its first message, as the carrier numbers them
	messages uint32
	entries  uint32
	bytes    uint32 // on the wire
}

// firstID is the publishing id of the first entry.
func (r *run) firstID() uint64 { return r.id - uint64(r.entries-1) }

// entry returns the first message of an entry, from 0 on, and how many the entry has.
func (r *run) entry(i uint64) (first, messages uint64) {
	each := uint64(r.messages / r.entries)
	return r.first + i*each, each
}

// entries is what a publisher has in flight as the broker sees it, which confirms entries: a
// ring of runs of them, in the order of their ids. A run is put in before its bytes can
// leave, so a confirm always finds it. Runs are numbered from 0. Which of their messages
// have an outcome is known to the window.
//
// The lock of the publisher's window guards it.
type entries struct {
	carrier *window.Carrier
	ring    []run  // by number modulo its length, a power of two
	oldest  uint64 // the lowest run with a message that has no outcome, or next
	next    uint64 // the number of the next run
	cursor  uint64 // the run that the next confirm is most likely for
	end     uint64 // the message after the last run
	done    uint64 // the highest id below oldest

	unsent  uint64 // the last ones, that the connection does not have, or that have none
	carried uint64 // the runs below were on a connection that is lost
}

// entriesLeast is the length that the ring begins with.
const entriesLeast = 64

func (e *entries) at(number uint64) *run { return &e.ring[number&uint64(len(e.ring)-1)] }

// add adds a run of so many entries, of which the last has that id: the messages before end
// that are in none yet.
func (e *entries) add(id, end uint64, entries, bytes int) {
	if e.next-e.oldest >= uint64(len(e.ring)) {
		e.grow()
	}
	*e.at(e.next) = run{id: id, first: e.end, messages: uint32(end - e.end), entries: uint32(entries), bytes: uint32(bytes)}
	e.next++
	e.end = end
}

func (e *entries) grow() {
	larger := entries{ring: make([]run, max(entriesLeast, 2*len(e.ring)))}
	for i := e.oldest; i < e.next; i++ {
		*larger.at(i) = *e.at(i)
	}
	e.ring = larger.ring
}

// said returns the messages of the entry with that id, of which the broker speaks. They may
// have their outcome, and there are none once they are not in flight any more. published is
// false for an id that was never published.
func (e *entries) said(id uint64) (first, messages uint64, published bool) {
	r := e.find(id)
	if r == nil {
		return 0, 0, e.oldest > 0 && id <= e.done
	}
	first, messages = r.entry(id - r.firstID())
	return first, messages, true
}

// saidMany is said for the ids from i on that follow each other, as far as they are of one run:
// n of them, 0 where the first was never published.
func (e *entries) saidMany(ids streamproto.IDs, i int) (first, messages uint64, n int) {
	id := ids.At(i)
	first, messages, published := e.said(id)
	if !published {
		return 0, 0, 0
	}
	n = 1
	if messages == 1 {
		last := e.at(e.cursor).id
		for i+n < ids.Len() && id+uint64(n) <= last && ids.At(i+n) == id+uint64(n) {
			n++
		}
	}
	return first, messages * uint64(n), n
}

// find returns the run in flight with an entry of that id, nil if there is none that was
// sent. Confirms come in the order of the entries, nearly always.
func (e *entries) find(id uint64) *run {
	sent := e.next - e.unsent
	e.cursor = max(e.cursor, e.oldest)
	for i := e.cursor; i < min(e.cursor+2, sent); i++ {
		if r := e.at(i); r.firstID() <= id && id <= r.id {
			e.cursor = i
			return r
		}
	}
	n := int(sent - e.oldest)
	i := e.oldest + uint64(sort.Search(n, func(i int) bool { return e.at(e.oldest+uint64(i)).id >= id }))
	if i == sent || id < e.at(i).firstID() {
		return nil
	}
	e.cursor = i
	return e.at(i)
}

// advance passes over the runs whose messages have their outcomes, of those that were sent,
// and returns how many bytes they have.
func (e *entries) advance() (bytes int) {
	for sent := e.next - e.unsent; e.oldest < sent && e.open(e.oldest) == 0; {
		bytes += e.pass()
	}
	return bytes
}

// pass passes over the oldest run, and returns how many bytes it has.
func (e *entries) pass() (bytes int) {
	r := e.at(e.oldest)
	e.done = r.id
	e.oldest++
	return int(r.bytes)
}

// open is how many messages of a run have no outcome.
func (e *entries) open(number uint64) uint64 {
	r := e.at(number)
	return e.carrier.Open(r.first, uint64(r.messages))
}

// bytes is the size of all runs in flight.
func (e *entries) bytes() (sum int) {
	for i := e.oldest; i < e.next; i++ {
		sum += int(e.at(i).bytes)
	}
	return sum
}

// messages is how many messages of the runs below that number have no outcome.
func (e *entries) messages(below uint64) (n uint64) {
	for i := e.oldest; i < below; i++ {
		n += e.open(i)
	}
	return n
}

// lost notes that the connection is lost: no run is sent, for the next one.
func (e *entries) lost() {
	e.carried = max(e.carried, e.next-e.unsent)
	e.unsent = e.next - e.oldest
	e.cursor = e.oldest
}

// carriedEnd is the message after those that were on a connection that is lost.
func (e *entries) carriedEnd() uint64 {
	if e.carried == e.next {
		return e.end
	}
	return e.at(e.carried).first
}

// forget passes over what was on the connection that is lost. It returns the messages that
// may have no outcome, and the size of their runs.
func (e *entries) forget() (first, end uint64, bytes int) {
	if e.oldest == e.carried {
		return 0, 0, 0
	}
	first, end = e.at(e.oldest).first, e.carriedEnd()
	for e.unsent = e.next - e.carried; e.oldest < e.carried; {
		bytes += e.pass()
	}
	return first, end, bytes
}

// unsentNext takes the next run that was not sent to be that; false: there is none.
func (e *entries) unsentNext() (number uint64, more bool) {
	if e.unsent == 0 {
		return 0, false
	}
	number = e.next - e.unsent
	e.unsent--
	return number, true
}
