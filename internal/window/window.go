// Package window is what a publisher has in flight, whatever carries it: the
// messages that it accepted and that have no outcome yet, or one that nobody has
// been told.
//
// A Window belongs to a publisher and outlives connections. A connection has a
// Carrier of it: it adds messages through that, under its own numbers, and
// reports what the broker says of them as runs of outcomes. Back-pressure, the
// totals, who waits for what, and where asked the encoded messages are here and
// nowhere else.
//
// Locks: a Window has one of its own. Whoever holds a connection's lock may take
// it, never the other way round. Methods that say "the window is locked" want it
// held; the others take it.
package window

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/thumpmq/thump/internal/outcome"
)

// Config says how much a window takes, and what it keeps.
type Config struct {
	Messages int // the most messages in flight, at least 1
	Bytes    int // the most bytes in flight; 0 for no such limit

	// Collect keeps outcomes for Outcomes. A message then occupies the window until
	// its outcome has been handed over.
	Collect bool

	// Keep keeps a copy of every encoded message until its outcome is known, so that
	// another connection can send it again. What it holds counts as Bytes.
	Keep bool

	// Unconfirmed is for a publisher without confirms: messages are counted and do
	// not occupy the window.
	Unconfirmed bool
}

// Window is the messages of one publisher, numbered from 0 in the order in which
// they were added. It is safe for concurrent use.
type Window struct {
	cfg Config

	mu      sync.Mutex
	room    sync.Cond // publishers wait in it
	waiting int       // publishers in room
	known   sync.Cond // whoever takes outcomes waits in it
	taker   func()    // takes them, once there are some; nil once it was called
	flushed sync.Cond // Wait waits in it
	flushAt uint64    // the lowest oldest that somebody in flushed waits for; 0: nobody does
	handing int       // those in flushed who wait for outcomes to be handed over

	next    uint64         // the number of the next message
	carried uint64         // the messages below were given to a connection, once at least
	oldest  uint64         // the lowest number without an outcome, or next
	ahead   int            // messages above oldest that have their outcome
	marked  bitRing        // those; nil until there is one
	refs    Ring[uint64]   // by number; nil until a message has a Tag
	watches Ring[*Watch]   // by number; nil until there is one
	watched int            // messages with a Watch that have no outcome
	floor   uint64         // no ref of a lower number is needed, as of the last look
	store   Store          // the encoded messages, with Keep
	bytes   int            // in flight, as far as they were weighed or are kept
	totals  outcome.Totals // so far
	sent    uint64         // Unconfirmed: the broker has read that many
	told    outcome.Totals // of them, what a Report or a Call has told
	bad     outcome.Outcome
	closed  error // why nothing more is added
	failed  bool  // nothing that was added will reach the broker any more

	runs   []Run  // outcomes that are known and not taken
	taken  []Run  // taken and not handed over
	kept   uint64 // messages in both
	handed uint64 // outcomes that were handed over

	out *Outcomes // what was taken; nil until something was

	// calls keeps calls that are over, with their memory. It is apart, for the reason that
	// spareBlocks has, and the window's own: a channel must not leave a test's bubble.
	calls *sync.Pool
}

// Run is messages that follow each other in a window and ended alike.
type Run struct {
	First, Count uint64
	Result
}

// Result is what became of messages; the fields are those of an outcome.Outcome.
type Result struct {
	Status outcome.Status
	Code   uint16
	Text   string
	Resent bool
}

// outcome is that of a message with that Ref.
func (r *Result) outcome(ref uint64) outcome.Outcome {
	return outcome.Outcome{Ref: ref, Status: r.Status, Code: r.Code, Text: r.Text, Resent: r.Resent}
}

// New returns an empty window.
func New(cfg Config) *Window {
	w := &Window{cfg: cfg, calls: new(sync.Pool)}
	w.room.L, w.known.L, w.flushed.L = &w.mu, &w.mu, &w.mu
	return w
}

// Keeps reports whether the window keeps the encoded messages.
func (w *Window) Keeps() bool { return w.cfg.Keep }

// Unconfirmed reports whether the window is of a publisher without confirms.
func (w *Window) Unconfirmed() bool { return w.cfg.Unconfirmed }

// Lock locks the window, for the methods that want it locked.
func (w *Window) Lock() { w.mu.Lock() }

// Unlock unlocks the window.
func (w *Window) Unlock() { w.mu.Unlock() }

// Free is how many more messages can be added now; none once the window was
// closed. The window is locked.
//
// Outcomes that nobody has been told occupy room too, so that a slow callback
// slows publishing down instead of filling the memory.
func (w *Window) Free() int {
	switch {
	case w.closed != nil, w.heavy():
		return 0
	case w.cfg.Unconfirmed:
		return w.cfg.Messages
	}
	return w.cfg.Messages - int(w.next-w.oldest) - int(w.kept)
}

// heavy reports whether the bytes in flight leave no room, where they are kept none for
// another block.
func (w *Window) heavy() bool {
	limit := w.cfg.Bytes
	if w.cfg.Keep {
		limit -= blockSize - 1
	}
	return w.cfg.Bytes > 0 && w.bytes >= limit
}

// worthwhile reports whether there is enough room to wake a publisher for. One
// that woke for every confirm would send its messages one by one, and make the
// broker confirm them one by one: so a full window is left to empty by an
// eighth.
func (w *Window) worthwhile() bool {
	return w.Free() > w.cfg.Messages/8 && (w.cfg.Bytes == 0 || w.bytes < w.cfg.Bytes-w.cfg.Bytes/8)
}

// WaitForRoom waits until a worthwhile part of the window is free, and returns
// nil then; otherwise why it was closed, or ctx's error and why there is no room.
// Another publisher may be quicker, so the caller looks at Free once it has the
// locks.
func (w *Window) WaitForRoom(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { w.wake(&w.room) })
	defer stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting++
	defer func() { w.waiting-- }()
	for {
		switch {
		case w.closed != nil:
			return w.closed
		case w.worthwhile():
			return nil
		case ctx.Err() != nil:
			return w.full(ctx.Err())
		}
		w.room.Wait()
	}
}

// full says what fills the window.
func (w *Window) full(err error) error {
	flying, kept := w.next-w.oldest, w.kept
	switch {
	case kept > flying:
		return fmt.Errorf("the window is full: the callback has not returned from %d outcomes: %w", kept, err)
	case w.heavy():
		return fmt.Errorf("the window is full: %d bytes in %d messages have no outcome yet: %w", w.bytes, flying, err)
	default:
		return fmt.Errorf("the window is full: %d messages have no outcome yet: %w", flying, err)
	}
}

func (w *Window) wake(c *sync.Cond) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.Broadcast()
}

// add enters a message, and returns its number. The caller has seen that there is
// room. The window is locked.
func (w *Window) add(tag Tag) uint64 {
	number := w.next
	w.next++
	if w.refs != nil || tag != (Tag{}) {
		w.makeRoom(number, 1)
		w.tag(number, tag)
	}
	return number
}

// addRun is add for n messages, at least one, and returns the number of the first; tags are
// theirs, nil where none has one.
func (w *Window) addRun(n int, tags []Tag) uint64 {
	first := w.next
	w.next += uint64(n)
	if w.refs == nil && tags == nil {
		return first
	}
	w.makeRoom(first, n)
	for i := range n {
		var tag Tag
		if tags != nil {
			tag = tags[i]
		}
		w.tag(first+uint64(i), tag)
	}
	return first
}

// tag notes what a message is known by. There is room for it.
func (w *Window) tag(number uint64, tag Tag) {
	*w.refs.At(number) = tag.Ref
	if tag.Watch != nil || w.watches != nil {
		w.watch(number, tag.Watch)
	}
}

// makeRoom makes room for the refs of n more messages, from number next on.
func (w *Window) makeRoom(next uint64, n int) {
	if next-w.floor+uint64(n) <= uint64(len(w.refs)) {
		return
	}
	w.floor = w.lowest()
	w.refs = w.refs.Grown(w.floor, next, n)
	if w.watches != nil && len(w.watches) < len(w.refs) {
		w.watches = w.watches.resized(len(w.refs), w.floor, next)
	}
}

// lowest is the lowest number whose ref is still needed: in flight, or in a run
// that was not handed over, which may lie before what is in flight.
func (w *Window) lowest() uint64 {
	lowest := w.oldest
	for _, runs := range [2][]Run{w.runs, w.taken} {
		for i := range runs {
			lowest = min(lowest, runs[i].First)
		}
	}
	return lowest
}

// Accept enters an encoded message that no connection carries yet, into a window with
// Keep, and copies it. The caller has seen that there is room. The window is locked.
func (w *Window) Accept(tag Tag, encoded []byte) {
	w.bytes += w.store.Add(encoded)
	w.add(tag)
}

// Weigh adds n, which may be negative, to the bytes in flight: for a connection
// that knows the sizes of what it sends only when several messages are together.
// The window is locked, and does not Keep.
func (w *Window) Weigh(n int) { w.bytes += n }

// Resolve gives n messages from number first on their outcome. Those that have
// one are left alone. The window is locked; Wake must follow.
func (w *Window) Resolve(first, n uint64, r Result) {
	end := first + n
	first = max(first, w.oldest)
	if first >= end {
		return
	}
	if w.ahead == 0 && first == w.oldest { // nearly always
		w.count(Run{first, end - first, r})
		w.advance(end)
		return
	}
	if w.marked == nil {
		w.marked = newBitRing(w.cfg.Messages)
	}
	for first < end {
		first = w.marked.next(first, end, false)
		until := w.marked.next(first, end, true)
		if until > first {
			w.count(Run{first, until - first, r})
			w.marked.set(first, until)
			w.ahead += int(until - first)
		}
		first = until
	}
	if done := w.marked.next(w.oldest, w.next, false); done > w.oldest {
		w.marked.clear(w.oldest, done)
		w.ahead -= int(done - w.oldest)
		w.advance(done)
	}
}

// advance notes that everything below oldest has its outcome.
func (w *Window) advance(oldest uint64) {
	w.oldest = oldest
	if w.cfg.Keep {
		w.bytes -= w.store.Drop(oldest)
	}
}

// open is how many messages of the numbers from first to end-1, which were added, have no
// outcome. The window is locked.
func (w *Window) open(first, end uint64) (n uint64) {
	if first = max(first, w.oldest); first >= end || w.ahead == 0 {
		return end - min(first, end)
	}
	for first < end {
		first = w.marked.next(first, end, false)
		until := w.marked.next(first, end, true)
		n += until - first
		first = until
	}
	return n
}

// resolved reports whether a message has its outcome. The window is locked.
func (w *Window) resolved(number uint64) bool {
	return number < w.oldest || w.ahead > 0 && w.marked.next(number, number+1, false) > number
}

// count notes what became of messages.
func (w *Window) count(r Run) {
	w.totals.Count(r.Status, r.Count)
	untold, later := r.First, false
	if w.watched > 0 {
		untold, later = w.tellCalls(r)
	}
	if r.Status != outcome.Confirmed && w.bad.Status == 0 && untold < r.First+r.Count {
		w.bad = r.outcome(refOf(w.refs, untold))
	}
	if !w.cfg.Collect && !later && w.kept == 0 {
		return // else it waits its turn, so that a callback that does not return fills the window
	}
	w.kept += r.Count
	if last := len(w.runs) - 1; last >= 0 {
		if l := &w.runs[last]; l.First+l.Count == r.First && l.Result == r.Result {
			l.Count += r.Count
			return
		}
	}
	w.runs = append(w.runs, r)
}

// Wake wakes those who wait for what was resolved since the last Wake. The
// window is locked.
func (w *Window) Wake() {
	if w.waiting > 0 && w.worthwhile() {
		w.room.Broadcast()
	}
	w.wakeTaker()
	if w.flushAt != 0 && w.oldest >= w.flushAt {
		w.flushAt = 0
		w.flushed.Broadcast()
	}
}

// ready reports whether Outcomes need not wait.
func (w *Window) ready() bool { return len(w.runs) > 0 || w.failed && w.oldest == w.next }

// wakeTaker wakes whoever takes outcomes, where Outcomes need not wait.
func (w *Window) wakeTaker() {
	if !w.ready() {
		return
	}
	w.known.Signal()
	if w.taker != nil {
		go w.taker()
		w.taker = nil
	}
}

// WhenKnown calls take, in a goroutine of its own, as soon as Outcomes need not wait, so that
// none waits for outcomes that nobody wants to know. It is called once, before anything is
// added.
func (w *Window) WhenKnown(take func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taker = take
	w.wakeTaker()
}

// Close says that nothing more is to be added, and why; the first reason stays.
// Those who wait for room get it. What is in flight may still be resolved.
func (w *Window) Close(why error) { w.close(why, false) }

// Fail is Close for a window of which nothing will reach the broker any more: what
// is in flight was resolved before, or will be by the connections that still live.
func (w *Window) Fail(why error) { w.close(why, true) }

func (w *Window) close(why error, failed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed == nil {
		w.closed = why
	}
	w.failed = w.failed || failed
	w.room.Broadcast()
	w.wakeTaker()
}

// Abandon gives every message that has no outcome Unknown, and why: no connection carries
// them any more. The window is locked.
func (w *Window) Abandon(why string) { w.abandon(w.next, why) }

// AbandonCarried is Abandon for those that were given to a connection. The others may still
// be sent, for the first time. The window is locked.
func (w *Window) AbandonCarried(why string) { w.abandon(max(w.carried, w.oldest), why) }

func (w *Window) abandon(end uint64, why string) {
	if w.cfg.Unconfirmed {
		w.lose()
		return
	}
	w.Resolve(w.oldest, end-w.oldest, Result{Status: outcome.Unknown, Text: why})
	w.Wake()
}

// Outcomes waits for outcomes and returns all that are known. To call it again says
// that those it returned before were handed over, and they leave the window. When
// the window has failed and no message is left in it, it returns why it was closed. One
// goroutine at a time may call it.
func (w *Window) Outcomes() (*Outcomes, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handOver()
	for len(w.runs) == 0 {
		if w.failed && w.oldest == w.next {
			return nil, w.closed
		}
		w.known.Wait()
	}
	w.taken, w.runs = w.runs, w.taken[:0]
	if w.out == nil {
		w.out = new(Outcomes)
	}
	*w.out = Outcomes{Runs: w.taken, refs: w.refs, watches: w.watches}
	return w.out, nil
}

// handOver notes that what was taken was handed over.
func (w *Window) handOver() {
	if len(w.taken) == 0 {
		return
	}
	n := uint64(0)
	for _, r := range w.taken {
		n += r.Count
		if w.watches != nil {
			for i := r.First; i < r.First+r.Count; i++ {
				*w.watches.At(i) = nil
			}
		}
	}
	clear(w.taken) // lets go of the texts
	w.taken = w.taken[:0]
	w.kept -= n
	w.handed += n
	if w.waiting > 0 && w.worthwhile() {
		w.room.Broadcast()
	}
	if w.handing > 0 {
		w.flushed.Broadcast()
	}
}

// Outcomes is what became of messages, as runs of them. It is valid until
// Window.Outcomes is called again.
type Outcomes struct {
	Runs    []Run
	refs    Ring[uint64]
	watches Ring[*Watch]
}

// Ref is the Ref of the message of that number, which is in one of the runs.
func (o *Outcomes) Ref(number uint64) uint64 { return refOf(o.refs, number) }

// refOf is the ref of that number; 0 where no message had one.
func refOf(refs Ring[uint64], number uint64) uint64 {
	if refs == nil {
		return 0
	}
	return *refs.At(number)
}

// Later is the Watch.Later of the message of that number; nil where there is none.
func (o *Outcomes) Later(number uint64) any {
	if o.watches == nil {
		return nil
	}
	if watch := *o.watches.At(number); watch != nil {
		return watch.Later
	}
	return nil
}

// Wait waits until every message that was added so far has its outcome, and until
// the outcomes that are collected were handed over; or until ctx ends.
func (w *Window) Wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { w.wake(&w.flushed) })
	defer stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	for last := w.next; w.oldest < last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if w.flushAt == 0 || last < w.flushAt {
			w.flushAt = last
		}
		w.flushed.Wait()
	}
	w.handing++
	defer func() { w.handing-- }()
	for known := w.handed + w.kept; w.handed < known; {
		if err := ctx.Err(); err != nil {
			return err
		}
		w.flushed.Wait()
	}
	return nil
}

// InFlight is how many messages have no outcome. The window is locked.
func (w *Window) InFlight() int { return int(w.total().InFlight()) }

// Unresolved returns the messages from that number on that have no outcome, by number and
// as they were encoded, oldest first. It is for a window with Keep, which is locked. The
// bytes are the window's: they are valid until it is unlocked.
func (w *Window) Unresolved(from uint64) iter.Seq2[uint64, []byte] {
	return func(yield func(number uint64, encoded []byte) bool) {
		for i := max(from, w.oldest); i < w.next; i++ {
			if w.ahead > 0 {
				if i = w.marked.next(i, w.next, false); i == w.next {
					return
				}
			}
			if !yield(i, w.store.At(i)) {
				return
			}
		}
	}
}
