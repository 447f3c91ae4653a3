package move

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/outcome"
)

// prepare makes the flight of a batch: what is to be published of it, and what becomes of
// the rest. entries are what is known of its first deliveries.
func (m *mover) prepare(batch *thump.Batch, entries []entry) *flight {
	n := len(batch.Deliveries)
	if room := m.room(len(entries)); n > room {
		n = room // the rest goes back
	}
	f := &flight{batch: batch, msgs: make([]thump.Message, n), fates: make([]fate, n), list: make([]entry, n)}
	sentLater := false
	for i := n - 1; i >= 0; i-- {
		var was entry
		if i < len(entries) {
			was = entries[i]
		} else {
			was.id = m.ids.of(&batch.Deliveries[i], batch.Stream)
		}
		f.list[i] = was
		sentLater = sentLater || was.status == sent
	}
	for i := range f.list {
		m.decide(f, i, sentLater)
	}
	m.count(f)
	return f
}

// leaveUnpublished counts what was to be published of a flight that the journal can't take.
func (m *mover) leaveUnpublished(f *flight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, fate := range f.fates {
		if fate == waiting {
			m.receipt.leave(whyUnpublished)
		}
	}
}

// nameTwice writes down which messages may be at the target twice, before that can be.
func (m *mover) nameTwice() error {
	m.mu.Lock()
	list := m.naming
	m.naming = nil
	m.mu.Unlock()
	return m.journal.name(list)
}

// double counts a message that may be at the target twice. m.mu is held.
func (m *mover) double(f *flight, i int, why string) {
	d := Double{Message: named(&f.batch.Deliveries[i], f.list[i].id), Why: why}
	m.receipt.double(d)
	m.naming = append(m.naming, d)
}

// room is how many deliveries of a batch may be taken, of which so many are known: those
// are taken in any case.
func (m *mover) room(known int) int {
	switch {
	case m.job.NothingNew:
		return known
	case m.job.Limit == 0:
		return batchMost
	}
	counted := uint64(known)
	if m.resuming {
		counted = 0 // they were counted before
	}
	return known + int(min(batchMost, m.job.Limit-min(m.job.Limit, m.taken()+counted)))
}

// decide decides what to do with message i of a flight: its fate, where it is not
// published, and its message, where it is.
func (m *mover) decide(f *flight, i int, sentLater bool) {
	e, d := &f.list[i], &f.batch.Deliveries[i]
	switch {
	case e.status == confirmed:
		f.fates[i] = known
		return
	case e.status == left && (m.resuming || m.dedupes && sentLater):
		// It was tried in this run. Or it would get a higher id than those behind it
		// that may be at the target, and the target would drop them unseen.
		f.stay(i, "")
		return
	}
	if m.job.Skip != nil {
		skip, err := m.job.Skip(d)
		if skip || err != nil {
			e.status = left
			if f.fates[i] = skipped; err != nil {
				f.stay(i, err.Error())
			}
			return
		}
	}
	msg, err := m.job.Message(d)
	if err != nil {
		f.stay(i, err.Error())
		e.status = left
		return
	}
	if m.job.KeepKeys {
		msg.RoutingKey = d.RoutingKey
	}
	f.msgs[i] = msg
	f.open++
	if e.status == sent && !m.dedupes {
		f.double(i, whyKilled)
	}
	if e.status == fresh && m.doubt[e.id] > 0 {
		m.doubt[e.id]--
		f.double(i, whyUnfit)
	}
	if e.status != sent {
		e.publishingID = 0 // a new one
	}
	e.status = sent
}

// count counts what was taken of a flight, and what is decided of it.
func (m *mover) count(f *flight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range f.fates {
		switch f.fates[i] {
		case known:
			if m.resuming {
				continue
			}
			m.receipt.Known++
		case stays:
			why := f.why[i]
			if why == "" && m.resuming {
				continue
			}
			if why == "" {
				why = "an earlier move could not publish it"
			}
			m.receipt.leave(why)
		case skipped:
			m.receipt.Skipped++
		default: // it is published
		}
		m.receipt.Taken++
	}
	for i, why := range f.twice {
		m.double(f, i, why)
	}
	m.job.Progress.taken.Store(m.receipt.Taken)
	m.checkHeld()
}

// checkHeld ends the move when no more can be held. m.mu is held.
func (m *mover) checkHeld() {
	if m.fatal == nil && m.job.From.Kind == Queue && m.receipt.Left+m.receipt.Skipped >= uint64(m.prefetch-room) {
		m.fatal = ErrTooManyLeft
	}
}

// fly adds a flight, which the journal knows of, to those on their way.
func (m *mover) fly(f *flight) {
	for i := range f.msgs {
		f.msgs[i].Ref = f.first + uint64(i)
		switch {
		case m.byOffset:
			f.msgs[i].PublishingID = f.batch.Deliveries[i].Offset + 1
		case m.dedupes:
			f.msgs[i].PublishingID = f.list[i].publishingID
		}
	}
	m.mu.Lock()
	m.flights = append(m.flights, f)
	m.mu.Unlock()
	if f.open == 0 {
		m.tellSettler()
	}
}

// publish publishes what is to be published of a flight.
func (m *mover) publish(ctx context.Context, f *flight) error {
	if err := m.nameTwice(); err != nil {
		m.refuse(f, 0, len(f.msgs), whyUnpublished)
		m.fail(err)
		return err
	}
	for begin := 0; begin < len(f.msgs); {
		if f.fates[begin] != waiting {
			begin++
			continue
		}
		end := begin + 1
		for end < len(f.msgs) && f.fates[end] == waiting {
			end++
		}
		if err := m.awaitRoom(ctx, end-begin); err != nil {
			m.refuse(f, begin, len(f.msgs), whyUnpublished)
			return err
		}
		n, err := m.pub.Publish(ctx, f.msgs[begin:end]...)
		begin += n
		switch {
		case err == nil:
		case ctx.Err() != nil || m.ended(err):
			m.refuse(f, begin, len(f.msgs), whyUnpublished)
			if ctx.Err() == nil {
				m.fail(fmt.Errorf("publishing to %v: %w", m.job.To, err))
			}
			return err
		default:
			m.refuse(f, begin, begin+1, outcome.Refusal(err))
			begin++
		}
	}
	return nil
}

// ended reports whether a publish failed because the publisher has ended: nothing more can
// be published. Otherwise it was the one message that can't be.
func (m *mover) ended(err error) bool {
	_, broker := errors.AsType[*thump.BrokerError](err)
	return broker || errors.Is(err, thump.ErrClosed) || m.pub.Err() != nil || thump.Temporary(err)
}

// awaitRoom waits until n messages may be published: because of Rate, and while a full
// target has rejected some, which go first.
func (m *mover) awaitRoom(ctx context.Context, n int) error {
	err := m.await(ctx, func() bool { return len(m.again) == 0 || m.ending || m.fatal != nil })
	if err != nil || m.job.Rate <= 0 {
		return err
	}
	if m.begun.IsZero() {
		m.begun = time.Now()
	}
	due := m.begun.Add(time.Duration(m.paced / m.job.Rate * float64(time.Second)))
	m.paced += float64(n)
	select {
	case <-time.After(time.Until(due)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
