package load

import (
	"context"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// record writes what became of the run's messages to out.
func (r *runner) record(ctx context.Context, out *result.Run, interrupted bool) {
	r.sent.record(out)
	t := r.books.totals()
	expired := r.cfg.Progress.expired.Load()
	t.Received, t.Unique = t.Received-expired, t.Unique-min(t.Unique, expired)
	if r.aside() > 0 {
		out.Expired = &expired
	}
	out.Received, out.Unique, out.Duplicated = &t.Received, &t.Unique, &t.Duplicated
	if !r.cfg.Priorities.reorder() {
		out.Reordered = &t.Reordered
	}
	out.Corrupted, out.Unexpected = &t.Corrupted, &t.Unexpected
	// Only so many copies can be there for that reason, to each reader.
	sentAgain := min(t.SentAgain, r.sent.counts.Resent*uint64(len(r.books)))
	out.DuplicatedResent, out.DuplicatedRedelivered = &sentAgain, &t.DeliveredAgain
	r.cfg.Progress.recordWork(out, &r.cfg.Work)
	r.cfg.Progress.recordGets(out, r.cfg.To)
	if recordTimes(out, r.first, r.last); !r.first.IsZero() {
		out.ReceiveRatePerSecond = r.cfg.rateAfter(out.Received, r.first, r.last, func(w *warm) uint64 { return w.received })
	}
	out.ReceiveLatency = r.cfg.Progress.receiveLatency.latency(r.cfg.Schedule != nil)
	r.recordLost(ctx, out, interrupted)
	if r.left.known {
		out.LeftInQueue = &r.left.messages
	}
	r.recordBoth(out)
}

// recordLost writes which messages are lost, if that can be told: those that were
// confirmed (without confirms: sent), that have not come, and that are not in the
// queue. Of a stream, those that every consumer has read past.
func (r *runner) recordLost(ctx context.Context, out *result.Run, interrupted bool) {
	missing := r.books.missing()
	unknown, confirms := r.sent.counts.Unknown, r.cfg.To.Confirms()
	switch {
	case r.books == nil:
		return // the run never began
	case !confirms && unknown > 0:
		// Without confirms nobody can say which messages the broker never read.
		return
	case missing == 0:
		out.Lost = new(uint64(0))
	case r.finished && !confirms:
		// Without confirms nobody can say which of them were returned as unroutable.
		out.Lost = new(missing - min(missing, r.sent.counts.Returned*uint64(len(r.books))))
	case r.finished:
		out.Lost = new(missing)
	case interrupted && r.err == nil && unknown == 0:
		// Not everything was received, and nothing is on its way. What is neither here
		// nor in the queue is lost. Which messages these are cannot be told.
		if !r.left.known && ctx.Err() == nil {
			r.left, _ = r.remaining(ctx)
		}
		if !r.left.known {
			return
		}
		out.Lost = new(missing - min(missing, r.own(r.left)))
	default:
		return
	}
	out.LostMessages = []string{}
	if r.finished && confirms {
		for _, lost := range r.books.missingRanges(lostRangesMost) {
			out.LostMessages = append(out.LostMessages, lost.String())
		}
	}
}

// recordBoth writes what sending and receiving make together: the whole time, and
// what was still to be received when sending ended.
func (r *runner) recordBoth(out *result.Run) {
	if r.sent.first.IsZero() {
		return
	}
	end := r.sent.last
	if r.last.After(end) {
		end = r.last
	}
	out.TotalSeconds = seconds(end.Sub(r.sent.first))
	received := r.sent.receivedByEnd / uint64(max(1, len(r.books)))
	out.BacklogAtSendEnd = new(r.sent.counts.Published - min(r.sent.counts.Published, received))
}
