package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Work is what each consumer does with a message, if not just to ack it. The zero value is that
// nothing more is done.
type Work struct {
	// Each message takes a time between these two, one after another for a consumer.
	Least, Most time.Duration
	// Requeue and Reject are the shares of deliveries, from 0 to below 1, that go back to the
	// queue, or are rejected. One that goes back counts as not received; it comes again.
	Requeue, Reject float64
	// Rate is how many messages a second all consumers together take at most; 0 for any number.
	Rate float64
}

// any reports whether there is anything to do with a message.
func (w *Work) any() bool { return w.Most > 0 || w.Requeue+w.Reject > 0 }

// describe notes it in the settings.
func (w *Work) describe(s *result.Settings) {
	if w.Most > 0 {
		s.Work = w.Least.String()
		if w.Most != w.Least {
			s.Work = fmt.Sprintf("%v..%v", w.Least, w.Most)
		}
	}
	s.RequeueShare, s.RejectShare, s.ConsumeRate = w.Requeue, w.Reject, w.Rate
}

// recordWork writes how many deliveries consumers gave back and rejected, where they do anything with them.
func (p *Progress) recordWork(r *result.Run, w *Work) {
	if w.any() {
		r.Requeued, r.Dropped = new(p.requeued.Load()), new(p.rejected.Load())
	}
}

// worker is one consumer at its work.
type worker struct {
	*Work
	progress *Progress
	stop     <-chan struct{} // nothing takes any time once it is closed
	tickets  *atomic.Int64   // taker's

	kept     []thump.Delivery
	rejected []*thump.Delivery
}

// handle spends the time that the deliveries take, and gives some of them back. It returns the
// others, which are valid as long as the deliveries, and until handle is called again.
func (w *worker) handle(ctx context.Context, deliveries []thump.Delivery) ([]thump.Delivery, error) {
	w.kept, w.rejected = w.kept[:0], w.rejected[:0]
	for i := range deliveries {
		d := &deliveries[i]
		w.spend(ctx)
		switch share := rand.Float64(); {
		case share < w.Requeue:
			if w.tickets != nil {
				w.tickets.Add(1) // before the message can come to a consumer that would hold it for want of one
			}
			if err := d.Requeue(); err != nil && !errors.Is(err, thump.ErrStale) {
				return nil, err
			}
			w.progress.requeued.Add(1)
			continue
		case share < w.Requeue+w.Reject:
			w.rejected = append(w.rejected, d)
		}
		w.kept = append(w.kept, *d)
	}
	return w.kept, nil
}

// spend takes the time of one message.
func (w *worker) spend(ctx context.Context) {
	if w.Most == 0 || stopped(w.stop) {
		return
	}
	d := w.Least
	if w.Most > w.Least {
		d += rand.N(w.Most - w.Least + 1)
	}
	w.progress.working.Add(1)
	defer w.progress.working.Add(-1)
	if d <= napMost {
		nap(d)
		return
	}
	rest(ctx, w.stop, d)
}

// spare rejects none of these.
func (w *worker) spare(these func(thump.Delivery) bool) {
	w.rejected = slices.DeleteFunc(w.rejected, func(d *thump.Delivery) bool { return these(*d) })
}

// reject rejects what is to be rejected of what handle has returned last, once it is recorded.
func (w *worker) reject() error {
	for _, d := range w.rejected {
		if err := d.Reject(); err != nil && !errors.Is(err, thump.ErrStale) {
			return err
		}
	}
	w.progress.rejected.Add(uint64(len(w.rejected)))
	return nil
}
