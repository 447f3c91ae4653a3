package streamconn

import "sort"

// entry is one entry of a Publish frame between publish and outcome: a message,
// or a sub-entry batch of them.
type entry struct {
	id      uint64 // publishing id; of a batch, that of its last message
	first   uint64 // its first message, as the carrier numbers them
	count   uint32 // messages
	bytes   uint32 // on the wire
	settled bool   // has its outcome
}

// entries is what a publisher has in flight as the broker sees it, which confirms
// entries: a ring of them, in the order of their ids. An entry is put in before
// its bytes can leave, so a confirm always finds it. Entries are numbered from 0.
//
// The lock of the publisher's window guards it.
type entries struct {
	ring   []entry // by number modulo its length, a power of two
	oldest uint64  // the lowest entry without an outcome, or next
	next   uint64  // the number of the next entry
	cursor uint64  // the entry that the next confirm is most likely for
	end    uint64  // the message after the last entry
	done   uint64  // the highest id below oldest

	unsent  uint64 // the last ones, that the connection does not have, or that have none
	carried uint64 // the entries below were on a connection that is lost
}

// entriesLeast is the length that the ring begins with.
const entriesLeast = 1024

func (e *entries) at(number uint64) *entry { return &e.ring[number&uint64(len(e.ring)-1)] }

// add adds an entry: the messages before end that are in none yet.
func (e *entries) add(id, end uint64, bytes int) {
	if e.next-e.oldest >= uint64(len(e.ring)) {
		e.grow()
	}
	*e.at(e.next) = entry{id: id, first: e.end, count: uint32(end - e.end), bytes: uint32(bytes)}
	e.next++
	e.end = end
}

func (e *entries) grow() {
	larger := entries{ring: make([]entry, max(entriesLeast, 2*len(e.ring)))}
	for i := e.oldest; i < e.next; i++ {
		*larger.at(i) = *e.at(i)
	}
	e.ring = larger.ring
}

// settle notes that the entry with that id has its outcome, and returns it. It
// reports false for an id that was never published. An entry that was settled
// already comes back without messages.
func (e *entries) settle(id uint64) (settled entry, published bool) {
	found := e.find(id)
	if found == nil {
		return entry{}, e.oldest > 0 && id <= e.done
	}
	if found.settled {
		return entry{}, true
	}
	found.settled = true
	settled = *found
	e.advance()
	return settled, true
}

// advance passes over what is settled, of those that were sent.
func (e *entries) advance() {
	for sent := e.next - e.unsent; e.oldest < sent && e.at(e.oldest).settled; e.oldest++ {
		e.done = e.at(e.oldest).id
	}
}

// find returns the entry in flight with that id, nil if there is none that was sent.
// Confirms come in the order of the entries, nearly always.
func (e *entries) find(id uint64) *entry {
	sent := e.next - e.unsent
	e.cursor = max(e.cursor, e.oldest)
	if e.cursor < sent {
		if at := e.at(e.cursor); at.id == id {
			e.cursor++
			return at
		}
	}
	n := int(sent - e.oldest)
	i := sort.Search(n, func(i int) bool { return e.at(e.oldest+uint64(i)).id >= id })
	if i == n || e.at(e.oldest+uint64(i)).id != id {
		return nil
	}
	e.cursor = e.oldest + uint64(i) + 1
	return e.at(e.cursor - 1)
}

// bytes is the size of all entries in flight.
func (e *entries) bytes() (sum int) {
	for i := e.oldest; i < e.next; i++ {
		if at := e.at(i); !at.settled {
			sum += int(at.bytes)
		}
	}
	return sum
}

// messages is how many messages the entries in flight below that number have.
func (e *entries) messages(below uint64) (n uint64) {
	for i := e.oldest; i < below; i++ {
		if at := e.at(i); !at.settled {
			n += uint64(at.count)
		}
	}
	return n
}

// lost notes that the connection is lost: no entry is sent, for the next one.
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

// forget settles what was on the connection that is lost. It returns the messages that
// had no outcome, with others between them, and the size of their entries.
func (e *entries) forget() (first, end uint64, bytes int) {
	if e.oldest == e.carried {
		return 0, 0, 0
	}
	first, end, bytes = e.at(e.oldest).first, e.carriedEnd(), e.bytes()
	for e.unsent = e.next - e.carried; e.oldest < e.carried; e.oldest++ {
		e.done = e.at(e.oldest).id
	}
	return first, end, bytes - e.bytes()
}

// unsentNext takes the next entry in flight that was not sent to be that; false: there is
// none.
func (e *entries) unsentNext() (number uint64, more bool) {
	for e.unsent > 0 {
		number = e.next - e.unsent
		e.unsent--
		if !e.at(number).settled {
			return number, true
		}
		e.advance()
	}
	return 0, false
}
