package window

import (
	"context"

	"github.com/thumpmq/thump/internal/outcome"
)

// Tag is what a message is known by.
type Tag struct {
	Ref   uint64 // the caller's; comes back with the outcome
	Watch *Watch // nil: nobody waits for this message alone
}

// Watch is who waits for the outcome of one message.
type Watch struct {
	// Call, where set, is told as soon as the outcome is known. Index is the message's
	// place among those of the call.
	Call  *Call
	Index int

	// Later, where set, is the caller's: the outcome is collected, and Outcomes.Later
	// returns it.
	Later any
}

// watch notes who waits for a message.
func (w *Window) watch(number uint64, watch *Watch) {
	if w.watches == nil {
		w.watches = make(Ring[*Watch], len(w.refs))
	}
	*w.watches.At(number) = watch
	if watch != nil {
		w.watched++
	}
}

// tellCalls tells those who wait for messages of a run; a Report does not count those any
// more. untold is the first message that no call was told of, and the end of the run where
// there is none; later reports whether a message has a Later.
func (w *Window) tellCalls(r Run) (untold uint64, later bool) {
	untold = r.First
	for i := r.First; i < r.First+r.Count && w.watched > 0; i++ {
		at := w.watches.At(i)
		watch := *at
		if watch == nil {
			continue
		}
		w.watched--
		if watch.Call != nil && watch.Call.resolve(watch.Index, &r) {
			w.told.Count(r.Status, 1)
			if i == untold {
				untold++
			}
		}
		if watch.Later != nil {
			later = true
		} else {
			*at = nil
		}
	}
	return untold, later
}

// Call waits for the outcomes of the messages of one call. It is made by NewCall, and
// used again by the window once Release has given it back.
type Call struct {
	window  *Window
	watches []Watch
	done    chan struct{} // gets a token when nothing is left

	// Guarded by the window's lock.
	statuses []outcome.Status // by message; 0 while it has none
	notable  map[int]Result   // of messages that were not confirmed, or sent again
	refused  int              // messages that were not confirmed
	left     int              // messages without an outcome
	gone     bool             // nobody waits any more
}

// NewCall begins a call of n messages.
func (w *Window) NewCall(n int) *Call {
	c, ok := w.calls.Get().(*Call)
	if !ok {
		c = &Call{done: make(chan struct{}, 1)}
	}
	c.window, c.left = w, n
	if cap(c.watches) < n {
		c.watches, c.statuses = make([]Watch, n), make([]outcome.Status, n)
	}
	c.watches, c.statuses = c.watches[:n], c.statuses[:n]
	clear(c.statuses)
	for i := range c.watches {
		c.watches[i] = Watch{Call: c, Index: i}
	}
	return c
}

// Watches are those of the messages, for their Tags.
func (c *Call) Watches() []Watch { return c.watches }

// resolve notes an outcome. It reports false if nobody waits for it any more. The window
// is locked.
func (c *Call) resolve(i int, r *Run) bool {
	if c.gone {
		return false
	}
	c.statuses[i] = r.Status
	if r.Status != outcome.Confirmed {
		c.refused++
	}
	if r.Status != outcome.Confirmed || r.Resent {
		if c.notable == nil {
			c.notable = make(map[int]Result)
		}
		c.notable[i] = r.Result
	}
	c.left--
	if c.left == 0 {
		c.done <- struct{}{}
	}
	return true
}

// Wait waits until the first accepted messages of the call have their outcomes: the
// others were not added. It reports whether all of those were confirmed; ctx's end
// ends the waiting, and what has no outcome by then never gets one here.
func (c *Call) Wait(ctx context.Context, accepted int) (confirmed bool, err error) {
	w := c.window
	w.mu.Lock()
	c.left -= len(c.statuses) - accepted
	left := c.left
	w.mu.Unlock()
	if left > 0 {
		select {
		case <-c.done:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.left > 0 {
		c.gone = true
		return false, err
	}
	select { // the last outcome came before the waiting, or with the end of ctx
	case <-c.done:
	default:
	}
	return c.refused == 0, nil
}

// Outcome is what became of message i, after Wait; its Status is 0 where that is not
// known.
func (c *Call) Outcome(i int) outcome.Outcome {
	result, ok := c.notable[i]
	if !ok {
		result.Status = c.statuses[i]
	}
	return result.outcome(0)
}

// Release gives the call back after Wait; it must not be used any more. One that did
// not get all its outcomes is not used again: late ones may still come.
func (c *Call) Release() {
	if c.gone {
		return
	}
	c.notable, c.refused = nil, 0
	for i := range c.watches {
		c.watches[i] = Watch{}
	}
	calls := c.window.calls
	c.window = nil // the pool does not hold the window
	calls.Put(c)
}
