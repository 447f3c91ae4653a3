package load

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/thumpmq/thump"
)

// Selection says which messages a receive is for.
type Selection struct {
	// Wanted is asked about each message. It is used by several consumers at a time. An error
	// ends the receiving.
	Wanted func(*thump.Delivery) (bool, error)
	// Hold says that the other messages are held until the end, and then go back to the queue.
	// Otherwise they are acked, which a stream keeps them after.
	Hold bool

	others atomic.Uint64
}

// Others is how many messages were not wanted so far. Those that came again count again.
func (s *Selection) Others() uint64 { return s.others.Load() }

// choose says which deliveries of a batch go to the output, and which are acked once those are
// safe there. What is in neither stays unsettled.
func (in *intake) choose(t *taker, batch *thump.Batch) (taken, acked []thump.Delivery, err error) {
	s := in.cfg.selection
	if s == nil {
		taken = batch.Deliveries[:t.take(len(batch.Deliveries))]
		return taken, taken, nil
	}
	for i := range batch.Deliveries {
		d := &batch.Deliveries[i]
		if t.hasEnough() {
			break
		}
		wanted, err := s.Wanted(d)
		switch {
		case err != nil:
			return nil, nil, err
		case !wanted:
			s.others.Add(1)
		case t.take(1) == 0:
			return taken, acked, nil // another consumer was quicker
		default:
			taken = append(taken, *d)
		}
		if wanted || !s.Hold {
			acked = append(acked, *d)
		}
	}
	return taken, acked, nil
}

// hasEnough reports whether no more deliveries may be taken.
func (t *taker) hasEnough() bool { return t.tickets != nil && t.tickets.Load() <= 0 }

// handled is what was done with a batch, to be acked: all of it, or those of its deliveries,
// which can be settled when they are no longer valid.
func handled(batch *thump.Batch, acked []thump.Delivery) written {
	if len(acked) == len(batch.Deliveries) {
		return written{batch: batch, count: len(acked), whole: true}
	}
	acked = slices.Clone(acked)
	for i := range acked {
		acked[i].Body = nil // which may be large
	}
	return written{batch: batch, count: len(acked), deliveries: acked}
}

// giveBack notes that what is unsettled of a batch goes back at the end.
func (t *taker) giveBack(batch *thump.Batch) {
	rest := *batch
	rest.Deliveries = nil // which are not valid then
	t.rest = append(t.rest, &rest)
}

// keep notes that a part of a batch stays unsettled until the end. It is an error if the
// consumer holds as many of those as it may: then nothing more comes. What it holds only because
// others had taken enough is none: a consumer that gives something back takes its place.
func (t *taker) keep(batch *thump.Batch, acked int) error {
	if lost := t.con.Stats().Reconnects; lost != t.lost {
		t.lost, t.rest, t.held = lost, nil, 0 // they come again
	}
	t.held += len(batch.Deliveries) - acked
	t.giveBack(batch)
	enough := t.tickets != nil && (t.selection == nil || !t.selection.Hold)
	if t.held < t.prefetch || t.hasEnough() || enough {
		return nil
	}
	return fmt.Errorf("%d messages are held that are not wanted, as many as may be, so that nothing more comes; they go back to the queue", t.held)
}
