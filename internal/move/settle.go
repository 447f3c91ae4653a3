package move

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/thumpmq/thump"
)

// Pauses before what a full target has rejected is published again.
const (
	pauseLeast = 100 * time.Millisecond
	pauseMost  = 5 * time.Second
)

// hear is for PublisherConfig.OnOutcomes.
func (m *mover) hear(outcomes []thump.Outcome) {
	m.mu.Lock()
	m.outcomes = append(m.outcomes, outcomes...)
	m.mu.Unlock()
	m.tellSettler()
}

func (m *mover) tellSettler() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// settle acks what is confirmed, until the mover is closed.
func (m *mover) settle(ctx context.Context) {
	ended := m.pub.Done()
	retry := time.NewTimer(time.Hour)
	defer retry.Stop()
	for {
		select {
		case <-m.wake:
		case <-retry.C:
		case <-ended:
			ended = nil
			m.fail(fmt.Errorf("publishing to %v: %w", m.job.To, m.pub.Err()))
		case <-m.end:
			return
		}
		m.pass(ctx)
		retry.Reset(m.publishAgain())
	}
}

// pass settles whatever can be.
func (m *mover) pass(ctx context.Context) {
	m.mu.Lock()
	marks := m.apply()
	var ready []*flight
	for len(m.flights) > 0 && m.flights[0].open == 0 && (m.last || len(m.flights) > 1) {
		ready = append(ready, m.flights[0])
		m.flights = m.flights[1:]
	}
	last := m.last && len(m.flights) == 0
	m.settling = true
	m.mu.Unlock()

	err := errors.Join(m.nameTwice(), m.journal.mark(marks))
	if err != nil {
		m.fail(err)
	}
	for i, f := range ready {
		if err == nil {
			m.ack(ctx, f, last && i == len(ready)-1)
		} else {
			m.giveBack(f)
		}
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	m.settling = false
	close(m.changed)
	m.changed = make(chan struct{})
}

// apply gives messages their fates, and returns what the journal is to note. m.mu is held.
func (m *mover) apply() []marking {
	var marks []marking
	var f *flight
	note := func(position uint64, s status) {
		if n := len(marks); n > 0 && marks[n-1].status == s && marks[n-1].to == position {
			marks[n-1].to++
			return
		}
		marks = append(marks, marking{position, position + 1, s})
	}
	for _, o := range m.outcomes {
		if f == nil || o.Ref < f.first || o.Ref >= f.first+uint64(len(f.fates)) {
			if f = m.flightOf(o.Ref); f == nil {
				continue
			}
		}
		i := int(o.Ref - f.first)
		if f.fates[i] != waiting {
			continue // too late: it was given up
		}
		switch o.Status {
		case thump.Confirmed:
			m.receipt.Confirmed++
			f.settleFate(i, arrived)
			note(o.Ref, confirmed)
			m.pause = 0
		case thump.Rejected:
			note(o.Ref, left)
			m.reject(f, i)
		case thump.Returned:
			note(o.Ref, left)
			m.leave(f, i, fmt.Sprintf("it is unroutable: %d %s", o.Code, o.Text))
		default:
			f.settleFate(i, unanswered)
			m.receipt.leave("no confirm has come")
			if !m.dedupes {
				m.double(f, i, whyNoWord)
			}
			continue
		}
		if o.Resent && !m.dedupes {
			m.double(f, i, whyResent)
		}
	}
	m.outcomes = m.outcomes[:0]
	m.job.Progress.confirmed.Store(m.receipt.Confirmed)
	m.job.Progress.full.Store(uint64(len(m.again)))
	return marks
}

// flightOf finds the flight of a position. m.mu is held.
func (m *mover) flightOf(position uint64) *flight {
	i := sort.Search(len(m.flights), func(i int) bool { return m.flights[i].first > position }) - 1
	if i < 0 || position >= m.flights[i].first+uint64(len(m.flights[i].fates)) {
		return nil
	}
	return m.flights[i]
}

// reject decides what becomes of a message that the target has rejected. m.mu is held.
func (m *mover) reject(f *flight, i int) {
	switch {
	case m.job.GiveUpWhenFull:
		if m.fatal == nil {
			m.fatal = ErrFull
		}
		fallthrough
	case m.ending || m.job.To.streams():
		m.leave(f, i, "the target rejected it")
	default:
		m.again = append(m.again, rejected{f, i})
		if m.due.IsZero() {
			m.pause = min(pauseMost, max(pauseLeast, 2*m.pause))
			m.due = time.Now().Add(m.pause)
		}
	}
}

// publishAgain publishes what was rejected when its time has come, or lets it stay at the
// source when the move ends. It returns how long to wait until the next time.
func (m *mover) publishAgain() time.Duration {
	m.mu.Lock()
	again := m.again
	if len(again) == 0 {
		m.mu.Unlock()
		return time.Hour
	}
	if m.ending || m.fatal != nil {
		for _, r := range again {
			m.leave(r.f, r.i, "the target rejected it")
		}
		m.again = nil
		m.mu.Unlock()
		m.tellSettler()
		return time.Hour
	}
	if wait := time.Until(m.due); wait > 0 {
		m.mu.Unlock()
		return wait
	}
	m.again, m.due = nil, time.Time{}
	publishing := m.republishing
	m.mu.Unlock()
	marks := make([]marking, len(again))
	msgs := make([]thump.Message, len(again))
	for i, r := range again {
		position := r.f.first + uint64(r.i)
		marks[i] = marking{position, position + 1, sent}
		msgs[i] = r.f.msgs[r.i]
	}
	if err := m.journal.mark(marks); err != nil {
		m.fail(err)
		return time.Hour
	}
	n, err := m.pub.Publish(publishing, msgs...)
	if err != nil {
		for _, r := range again[n:] {
			m.refuse(r.f, r.i, r.i+1, whyUnpublished)
		}
	}
	return time.Hour
}

// refuse lets messages of a flight stay that were not published, and have no fate yet.
func (m *mover) refuse(f *flight, from, to int, why string) {
	m.mu.Lock()
	var marks []marking
	for i := from; i < to; i++ {
		if f.fates[i] == waiting {
			m.leave(f, i, why)
			marks = append(marks, marking{f.first + uint64(i), f.first + uint64(i) + 1, left})
		}
	}
	m.mu.Unlock()
	if err := m.journal.mark(marks); err != nil {
		m.fail(err)
	}
	m.tellSettler()
}

// leave lets message i of a flight stay at the source. m.mu is held.
func (m *mover) leave(f *flight, i int, why string) {
	f.settleFate(i, stays)
	m.receipt.leave(why)
	m.checkHeld()
}

// ack acks what is confirmed of a flight of which everything has its fate. last says that
// nothing behind it was taken.
func (m *mover) ack(ctx context.Context, f *flight, last bool) {
	n, whole := 0, len(f.fates) == len(f.batch.Deliveries)
	newest := -1
	for i, fate := range f.fates {
		if fate == arrived || fate == known || m.job.From.streams() && (fate == stays || fate == skipped) {
			n++
			newest = i
		} else {
			whole = false
		}
	}
	pace := m.paceOfAcks()
	var err error
	switch {
	case n == 0:
	case last && m.holds(f, newest) && m.job.Shared: // others would get it
		if err = m.journal.finish(); err == nil {
			err = f.ackEach(ctx, newest+1, pace)
		}
	case last && m.holds(f, newest):
		n--
		err = f.ackEach(ctx, newest, pace)
	case whole && !pace.slow(n):
		err = f.batch.Ack()
		pace.acked(ctx, n)
	default:
		err = f.ackEach(ctx, newest+1, pace)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case err == nil:
		m.receipt.Acked += uint64(n)
	case errors.Is(err, thump.ErrStale):
		m.stale = true
	default:
		if m.fatal == nil {
			m.fatal = err
		}
	}
	if n < len(f.batch.Deliveries) {
		f.batch.Deliveries = nil // which may be large: nothing more is asked of them
		m.behind = append(m.behind, f.batch)
	}
}

// giveBack lets all of a flight go back to the source.
func (m *mover) giveBack(f *flight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.behind = append(m.behind, f.batch)
}

// ackEach acks those that are confirmed, up to message end.
func (f *flight) ackEach(ctx context.Context, end int, p *pace) error {
	for i, fate := range f.fates[:end] {
		if fate == arrived || fate == known {
			if err := f.batch.Deliveries[i].Ack(); err != nil {
				return err
			}
			p.acked(ctx, 1)
		}
	}
	return nil
}

// holds reports whether message i of the last flight is held back: it is the newest that was
// taken from a queue. See verify.
func (m *mover) holds(f *flight, i int) bool {
	return i == len(f.fates)-1 && m.job.From.Kind == Queue
}

// giveUpOn gives what has no fate yet one: the move ends, and all is settled.
func (m *mover) giveUpOn() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ending, m.last = true, true
	m.endRepublishing()
	for _, r := range m.again {
		m.leave(r.f, r.i, "the target rejected it")
	}
	m.again = nil
	for _, f := range m.flights {
		for i := range f.fates {
			if f.fates[i] != waiting {
				continue
			}
			f.settleFate(i, unanswered)
			m.receipt.leave("no confirm has come")
			if !m.dedupes {
				m.double(f, i, whyNoWord)
			}
		}
	}
}

// await waits until done, which is called with m.mu held.
func (m *mover) await(ctx context.Context, done func() bool) error {
	for {
		m.mu.Lock()
		over, changed := done(), m.changed
		m.mu.Unlock()
		if over {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// open is how many messages have no fate yet. m.mu is held.
func (m *mover) open() (n int) {
	for _, f := range m.flights {
		n += f.open
	}
	return n
}

// fail notes the first reason why the move can't go on.
func (m *mover) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fatal == nil {
		m.fatal = err
	}
}

func (m *mover) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fatal
}
