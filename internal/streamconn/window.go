package streamconn

import (
	"sort"

	"github.com/thumpmq/thump/internal/outcome"
)

// slot is one entry of a Publish frame between publish and outcome: a message,
// or a sub-entry batch of them.
type slot struct {
	id      uint64 // publishing id; of a batch, that of its last message
	first   uint64 // number of its first message
	count   uint32 // messages
	bytes   uint32 // on the wire
	settled bool   // has its outcome
}

// run is messages that follow each other and ended alike.
type run struct {
	first, count uint64 // numbers
	status       outcome.Status
	code         uint16
	text         string
}

// window is what a publisher has in flight: a ring of entries, because the
// broker confirms entries, over a ring of the messages' refs. An entry is put in
// before its bytes can leave, so a confirm always finds its slot. Messages are
// numbered from 0, and so are entries; ids rise, as the protocol wants.
//
// It is a plain data structure: its publisher's connection locks it.
type window struct {
	limit int // messages
	bytes int // in flight

	slots  ring[slot]
	oldest uint64 // lowest entry without an outcome, or sealed
	cursor uint64 // the entry that the next confirm is most likely for
	sealed uint64 // entries that are complete; at most one more is being filled

	messages  uint64       // the number of the next message
	refs      ring[uint64] // by message; only with collect
	refsFloor uint64       // no message below is still needed, as of the last look

	totals   outcome.Totals
	firstBad outcome.Outcome // the first outcome that is not Confirmed

	collect bool   // keep outcomes for the publisher to take
	runs    []run  // known and not taken
	kept    uint64 // messages in runs, or taken and not yet handed over
}

// ring is a slice of which numbers are the places, modulo its length, which is a
// power of two.
type ring[T any] []T

func (r ring[T]) at(i uint64) *T { return &r[i&uint64(len(r)-1)] }

// ringLeast is the size that a ring begins with.
const ringLeast = 1024

// grown returns the ring with room for one more than the numbers from first to
// next-1, each in its place.
func (r ring[T]) grown(first, next uint64) ring[T] {
	if next-first < uint64(len(r)) {
		return r
	}
	larger := make(ring[T], max(ringLeast, 2*len(r)))
	for i := first; i < next; i++ {
		*larger.at(i) = *r.at(i)
	}
	return larger
}

func newWindow(limit int, collect bool) *window {
	return &window{limit: limit, collect: collect}
}

// front is the number of the oldest message in flight, or of the next.
func (w *window) front() uint64 {
	if w.oldest < w.sealed {
		return w.slots.at(w.oldest).first
	}
	return w.unsealedFirst()
}

// unsealedFirst is the number of the first message behind the complete entries.
func (w *window) unsealedFirst() uint64 {
	if w.sealed == 0 {
		return 0
	}
	last := w.slots.at(w.sealed - 1)
	return last.first + uint64(last.count)
}

// free is how many more messages the window takes now. Outcomes that nobody has
// handed over occupy room too, so that a slow taker slows publishing down
// instead of filling the memory.
func (w *window) free() int { return w.limit - int(w.messages-w.front()) - int(w.kept) }

// lowest is the number of the oldest message whose ref is still needed: in
// flight, or in a run that nobody has taken. Such a run may lie before the
// messages in flight, behind others that were confirmed and taken earlier.
func (w *window) lowest() uint64 {
	lowest := w.front()
	for i := range w.runs {
		lowest = min(lowest, w.runs[i].first)
	}
	return lowest
}

// add enters a message into the entry that is being filled. The caller has seen
// that there is room.
func (w *window) add(ref uint64) {
	if w.collect {
		if w.messages-w.refsFloor >= uint64(len(w.refs)) {
			w.growRefs()
		}
		*w.refs.at(w.messages) = ref
	}
	w.messages++
	w.totals.Published++
}

// growRefs makes room for one more ref, where there is none.
func (w *window) growRefs() {
	w.refsFloor = w.lowest()
	w.refs = w.refs.grown(w.refsFloor, w.messages)
}

// seal completes the entry that is being filled, under the id that it is sent
// with.
func (w *window) seal(id uint64) {
	first := w.unsealedFirst()
	// The last complete entry stays in its place even when it is settled: it says
	// where the next begins.
	w.slots = w.slots.grown(w.oldest-min(w.oldest, 1), w.sealed)
	*w.slots.at(w.sealed) = slot{id: id, first: first, count: uint32(w.messages - first)}
	w.sealed++
}

// weigh notes the size of the entry that was just sealed.
func (w *window) weigh(bytes int) {
	w.slots.at(w.sealed - 1).bytes = uint32(bytes)
	w.bytes += bytes
}

// find returns the slot of an entry in flight, nil if there is none with the id.
// Confirms come in the order of the entries, nearly always.
func (w *window) find(id uint64) *slot {
	if w.cursor < w.oldest {
		w.cursor = w.oldest
	}
	if w.cursor < w.sealed {
		if s := w.slots.at(w.cursor); s.id == id {
			w.cursor++
			return s
		}
	}
	n := int(w.sealed - w.oldest)
	i := sort.Search(n, func(i int) bool { return w.slots.at(w.oldest+uint64(i)).id >= id })
	if i == n || w.slots.at(w.oldest+uint64(i)).id != id {
		return nil
	}
	w.cursor = w.oldest + uint64(i) + 1
	return w.slots.at(w.cursor - 1)
}

// settle gives the entry of that id its outcome. It reports false for an id that
// was never published; one that has its outcome already is left alone.
func (w *window) settle(id uint64, status outcome.Status, code uint16, text string) bool {
	s := w.find(id)
	if s == nil {
		return w.oldest > 0 && id <= w.slots.at(w.oldest-1).id
	}
	if s.settled {
		return true
	}
	s.settled = true
	w.bytes -= int(s.bytes)
	w.count(run{first: s.first, count: uint64(s.count), status: status, code: code, text: text})
	for w.oldest < w.sealed && w.slots.at(w.oldest).settled {
		w.oldest++
	}
	return true
}

// count notes what became of messages.
func (w *window) count(r run) {
	if r.count == 0 {
		return
	}
	w.totals.Count(r.status, r.count)
	if r.status != outcome.Confirmed && w.firstBad.Status == 0 {
		w.firstBad = outcome.Outcome{Status: r.status, Code: r.code, Text: r.text}
		if w.collect {
			w.firstBad.Ref = *w.refs.at(r.first)
		}
	}
	if !w.collect {
		return
	}
	w.kept += r.count
	if last := len(w.runs) - 1; last >= 0 {
		if l := &w.runs[last]; l.first+l.count == r.first && l.status == r.status && l.code == r.code {
			l.count += r.count
			return
		}
	}
	w.runs = append(w.runs, r)
}

// abandon gives every message without an outcome the outcome Unknown.
func (w *window) abandon() {
	for i := w.oldest; i < w.sealed; i++ {
		if s := w.slots.at(i); !s.settled {
			s.settled = true
			w.count(run{first: s.first, count: uint64(s.count), status: outcome.Unknown})
		}
	}
	w.oldest = w.sealed
	// What was not sent at all was accepted all the same.
	first := w.unsealedFirst()
	w.count(run{first: first, count: w.messages - first, status: outcome.Unknown})
	if w.messages > first {
		w.seal(^uint64(0))
		w.oldest = w.sealed
	}
}
