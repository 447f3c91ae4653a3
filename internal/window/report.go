package window

import "github.com/thumpmq/thump/internal/outcome"

// Report says what became of messages: counts, and the first that was not
// confirmed. Published counts those whose outcome became known, so that the others
// are a part of them whatever was in flight at the last Report.
type Report struct {
	Counts   outcome.Totals
	InFlight uint64          // of all messages, those that have no outcome yet
	First    outcome.Outcome // its Status is 0 where there was none, or it was reported before
}

// Totals counts all messages so far.
//
// In an Unconfirmed window Sent counts the messages that the broker has read and
// that did not come back, and Unknown, once the window has failed, the others.
func (w *Window) Totals() outcome.Totals {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total()
}

func (w *Window) total() outcome.Totals {
	t := w.totals
	if !w.cfg.Unconfirmed {
		t.Published = w.next
		return t
	}
	t.Sent = min(w.sent, t.Published-t.Returned-t.Unknown)
	if w.failed {
		t.Unknown = t.Published - t.Sent - t.Returned
	}
	return t
}

// lose counts, for an Unconfirmed window, what was published and is not known to have been
// read, as Unknown: its connection has ended.
func (w *Window) lose() {
	w.totals.Unknown = w.totals.Published - w.totals.Returned - min(w.sent, w.totals.Published-w.totals.Returned)
}

// Report counts the messages since the last Report, without those of which a Call was
// told.
func (w *Window) Report() Report {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.total()
	r := Report{Counts: now.Since(w.told), InFlight: now.InFlight(), First: w.bad}
	r.Counts.Published = r.Counts.Confirmed + r.Counts.Bad() + r.Counts.Sent
	w.told, w.bad = now, outcome.Outcome{}
	return r
}

// Untold is how many messages that were not confirmed the next Report would count.
func (w *Window) Untold() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total().Since(w.told).Bad()
}

// MarkSent says, for an Unconfirmed window, that the broker has read the first n
// messages, and that those of them that came back have been counted. Others that came
// back meanwhile are taken for some of the n: too few count as sent rather than too many.
func (w *Window) MarkSent(n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = max(w.sent, n-min(n, w.totals.Returned+w.totals.Unknown))
}
