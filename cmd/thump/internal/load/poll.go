package load

import (
	"context"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// poller is a taker's part that asks for each message, one at a time.
type poller struct {
	interval time.Duration // how long it waits where the queue was empty
	progress *Progress
}

// answered counts an answer, and waits where that was that the queue is empty. It reports whether
// there is a message.
func (p *poller) answered(ctx context.Context, messages int, stop <-chan struct{}) bool {
	p.progress.gets.Add(1)
	if messages > 0 {
		return true
	}
	p.progress.emptyGets.Add(1)
	rest(ctx, stop, p.interval)
	return false
}

// awaitEnd waits, where all that may be taken was taken, for the end: whoever asks for more would take
// it from the queue only to give it back.
func (t *taker) awaitEnd(ctx context.Context) {
	if !t.hasEnough() {
		return
	}
	select {
	case <-t.stop:
	case <-ctx.Done():
	}
}

// polls reports whether the consumers of a place poll.
func polls(p Place) bool { return p.consumer(0, 1).Poll }

// recordGets writes how often consumers asked for a message, where they did.
func (p *Progress) recordGets(r *result.Run, of Place) {
	if polls(of) {
		r.Gets, r.EmptyGets = new(p.Gets()), new(p.EmptyGets())
	}
}
