package thump

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// settlement is what becomes of a delivery.
type settlement uint8

const (
	settleAck     settlement = iota
	settleReject             // dropped or dead-lettered
	settleRequeue            // back to the queue, as a failed delivery
	settleRelease            // back to the queue
)

// hold is what of one batch is settled. It is apart from the Batch, because it stays
// until everything is, and because each delivery refers to it: whoever keeps a Clone,
// or settles late, must not keep the other deliveries.
type hold struct {
	from  *unsettled // what it is settled through; nil until it is handed out
	tally *tally     // the consumer's; nil where nobody counts

	// Guarded by from.mu.
	first   uint64 // delivery tag; the tags of a batch are consecutive
	size    int
	open    int    // not settled
	settled []bool // by tag - first; nil while all or none are
	// released is like settled, for those of a stream that were released and not acked;
	// nil while none are.
	released []bool
	whole    bool  // it was settled as a batch
	stale    error // why what is open can't be settled any more

	// For a stream; guarded by from.mu too.
	firstOffset uint64
	offsets     []uint64 // of the deliveries; nil where they are consecutive
	last        uint64   // the offset that is acked once this batch is, and everything before it
	counted     int      // deliveries from the first on that were counted as acked
	after       int      // acked deliveries after it, up to last
}

// unsettled is what one channel, or one stream of a consumer, has handed out and
// what of it is not settled. A batch is settled through the one that it came
// from, so the tags of one channel never reach another.
//
// It is safe for concurrent use. Its lock comes before those of connections.
type unsettled struct {
	of string // what was consumed from, for errors

	// send tells the broker what becomes of the deliveries with those tags, or with
	// multiple of all unsettled ones up to the one: of all, or with an error of none. A
	// stream is told nothing.
	send func(how settlement, multiple bool, tags ...uint64) error

	// acked, where set, is called with the offset up to which everything is acked, and
	// with the number of deliveries acked since the last call. It must not settle
	// anything.
	acked func(offset uint64, more int)

	// keeps says that a stream keeps what is released. Its batch stays among those
	// that are not acked: the stored offset never goes over it.
	keeps bool

	// autoAck says that a batch counts as acked when the next one is asked for, and
	// that callers can't settle.
	autoAck bool

	// unnoted says that nothing follows from settling, so that nothing waits for it:
	// nobody stores the offset.
	unnoted bool

	// period counts the calls of expire; it changes with mu held. Who reads a stream
	// looks at it before, so that what others get by then does not count as handed out.
	period atomic.Uint64

	mu      sync.Mutex
	tags    []uint64      // what send is given
	batches []*hold       // not fully settled, or not all of it acked; oldest first
	idle    chan struct{} // where somebody waits: closed when there are none
}

// add notes a batch that is about to be handed out. Its deliveries have
// consecutive tags, and last is the offset up to which it counts.
func (u *unsettled) add(b *Batch, last uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.addLocked(u.period.Load(), b, last)
}

// addLocked is add for a batch that was read in a period. If that is over, it notes
// nothing and reports false: the batch is not to be handed out. u.mu is held.
func (u *unsettled) addLocked(period uint64, b *Batch, last uint64) bool {
	if period != u.period.Load() {
		return false
	}
	h := b.hold
	h.from, h.last = u, last
	h.first, h.size = b.Deliveries[0].tag, len(b.Deliveries)
	h.open = h.size
	if u.unnoted {
		return true
	}
	if u.acked != nil {
		h.setOffsets(b.Deliveries)
	}
	u.batches = append(u.batches, h)
	return true
}

// skip notes that everything up to an offset was dropped and not handed out: it
// counts as acked once all before it is. It notes nothing if the period that it was
// read in is over.
func (u *unsettled) skip(period, offset uint64) {
	if u.unnoted {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if period != u.period.Load() {
		return
	}
	if last := len(u.batches) - 1; last >= 0 {
		u.batches[last].last = offset
	} else {
		u.acked(offset, 0)
	}
}

// count is the number of deliveries that the caller has not settled.
func (u *unsettled) count() int {
	if u.autoAck {
		return 0
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	n := 0
	for _, h := range u.batches {
		n += h.open
	}
	return n
}

// settling returns a channel that is closed once the caller has settled everything.
// Nothing is handed out any more.
func (u *unsettled) settling() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.idle == nil {
		u.idle = make(chan struct{})
	}
	idle := u.idle
	if u.autoAck {
		close(idle)
		u.idle = nil
	}
	u.removed()
	return idle
}

// removed tells whoever waits when no batch is open. u.mu is held.
func (u *unsettled) removed() {
	open := func(h *hold) bool { return h.open > 0 }
	if u.idle != nil && !slices.ContainsFunc(u.batches, open) {
		close(u.idle)
		u.idle = nil
	}
}

// expire makes stale what is not settled: others get it now, or it comes again, and why
// says so. What was read before it can't be added any more. It returns how many deliveries
// that were, and none with autoAck, where the caller settles nothing.
func (u *unsettled) expire(why error) (open int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.period.Add(1)
	for _, h := range u.batches {
		h.stale = why
		if !u.autoAck {
			open += h.open
		}
	}
	u.batches = nil
	u.removed()
	return open
}

// batch settles what is left of a batch. It can be settled once; that nothing was
// left, because its deliveries were settled one by one, is no error.
func (u *unsettled) batch(h *hold, how settlement) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	var err error
	switch {
	case u.autoAck:
		err = ErrAutoAck
	case h.whole:
		err = ErrSettled
	case h.open == 0:
	case h.stale != nil:
		err = stale(h.stale)
	default:
		open := h.open
		if err = u.settleRest(h, how); err == nil {
			h.settle(open)
		}
	}
	if err != nil {
		return u.explain(err)
	}
	h.whole = true
	return nil
}

// settleRest settles what is left of a batch, where something is. One frame does it
// when no earlier batch is open; otherwise multiple would settle that one too. And
// basic.reject has no multiple. u.mu is held.
func (u *unsettled) settleRest(h *hold, how settlement) error {
	leaves := h.released != nil || u.keeps && how == settleRelease
	if how != settleRequeue && !leaves && (u.unnoted || u.batches[0] == h) {
		// The tag must itself be unsettled: RabbitMQ looks for exactly it.
		if err := u.tell(how, true, h.first+uint64(h.lastOpen())); err != nil {
			return err
		}
		u.remove(h)
		return nil
	}
	u.tags = u.tags[:0]
	for i := range uint64(h.size) {
		if !h.isSettled(i) {
			u.tags = append(u.tags, h.first+i)
		}
	}
	if err := u.send(how, false, u.tags...); err != nil {
		return err
	}
	if !leaves {
		u.remove(h)
		return nil
	}
	for _, tag := range u.tags {
		u.note(h, tag-h.first, how)
	}
	return nil
}

// tell is send for one tag. u.mu is held.
func (u *unsettled) tell(how settlement, multiple bool, tag uint64) error {
	u.tags = append(u.tags[:0], tag)
	return u.send(how, multiple, u.tags...)
}

// released notes that all that is open was given back. u.mu is held.
func (u *unsettled) released() {
	for _, h := range u.batches {
		h.settle(h.open)
		h.open, h.whole = 0, true
	}
	u.batches = nil
	u.removed()
}

// explain says what could not be settled.
func (u *unsettled) explain(err error) error {
	return fmt.Errorf("thump: settling deliveries of %s: %w", u.of, err)
}

// stale is ErrStale, and why.
func stale(why error) error { return fmt.Errorf("%w: %w", ErrStale, why) }

// delivery settles one delivery of a batch.
func (u *unsettled) delivery(h *hold, tag uint64, how settlement) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := tag - h.first
	var err error
	switch {
	case u.autoAck:
		err = ErrAutoAck
	case h.open == 0 || h.isSettled(i):
		err = ErrSettled
	case h.stale != nil:
		err = stale(h.stale)
	default:
		err = u.tell(how, false, tag)
	}
	if err != nil {
		return u.explain(err)
	}
	h.settle(1)
	u.note(h, i, how)
	return nil
}

// note notes that one delivery of a batch is settled. u.mu is held.
func (u *unsettled) note(h *hold, i uint64, how settlement) {
	bits := &h.settled
	if u.keeps && how == settleRelease {
		bits = &h.released
	}
	if *bits == nil {
		*bits = make([]bool, h.size)
	}
	(*bits)[i] = true
	h.open--
	if h.open == 0 && h.released == nil {
		u.remove(h)
		return
	}
	if u.acked != nil && !u.unnoted && u.batches[0] == h {
		if offset, more := h.begun(); more > 0 {
			u.acked(offset, more)
		}
	}
	u.removed()
}

// isSettled reports whether the delivery at i is. from.mu is held.
func (h *hold) isSettled(i uint64) bool {
	return h.settled != nil && h.settled[i] || h.released != nil && h.released[i]
}

// passed says that the batch after this one is asked for.
func (u *unsettled) passed(h *hold) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.autoAck && h.open > 0 && h.stale == nil {
		h.settle(h.open)
		u.remove(h)
	}
}

// settled reports whether nothing of a batch is left to settle.
func (u *unsettled) settled(h *hold) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return h.open == 0 && h.released == nil || u.unnoted
}

// remove forgets a batch that is settled. What was acked counts once everything
// before it is, so until then it is a part of the batch before. u.mu is held.
func (u *unsettled) remove(h *hold) {
	h.open = 0
	if u.unnoted {
		return
	}
	i := slices.Index(u.batches, h)
	u.batches = slices.Delete(u.batches, i, i+1)
	more := h.size - h.counted + h.after
	if i > 0 {
		before := u.batches[i-1]
		before.last, before.after = h.last, before.after+more
		return
	}
	if u.acked != nil {
		offset := h.last
		if len(u.batches) > 0 {
			if further, n := u.batches[0].begun(); n > 0 {
				offset, more = further, more+n
			}
		}
		u.acked(offset, more)
	}
	u.removed()
}

// begun is how far a batch is acked without a gap: up to that offset, which is
// more deliveries than at the last call. from.mu is held.
func (h *hold) begun() (offset uint64, more int) {
	if h.settled == nil {
		return 0, 0
	}
	n := h.counted
	for h.settled[n] { // not all of them are
		n++
	}
	more = n - h.counted
	h.counted = n
	if more > 0 {
		offset = h.offset(n - 1)
	}
	return offset, more
}

// setOffsets notes the offsets of a stream's deliveries, which rise.
func (h *hold) setOffsets(deliveries []Delivery) {
	h.firstOffset = deliveries[0].Offset
	if deliveries[h.size-1].Offset-h.firstOffset == uint64(h.size-1) {
		return
	}
	h.offsets = make([]uint64, h.size)
	for i := range deliveries {
		h.offsets[i] = deliveries[i].Offset
	}
}

// offset is that of the delivery at i.
func (h *hold) offset(i int) uint64 {
	if h.offsets != nil {
		return h.offsets[i]
	}
	return h.firstOffset + uint64(i)
}

// lastOpen is the index of the last unsettled delivery of a batch that has one.
func (h *hold) lastOpen() int {
	last := h.size - 1
	for h.settled != nil && h.settled[last] {
		last--
	}
	return last
}

// deliveriesWere writes a number of deliveries with its verb: "1 delivery was".
func deliveriesWere(n int) string {
	if n == 1 {
		return "1 delivery was"
	}
	return fmt.Sprintf("%d deliveries were", n)
}
