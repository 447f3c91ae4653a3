package move

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thumpmq/thump"
)

// mayPass reports whether err is the loss of a queue's connection, after which another one is
// made. A stream's consumer comes back by itself.
func (m *mover) mayPass(err error) bool {
	return m.job.From.Kind == Queue && !m.job.NoRecovery && !m.stopped() && err != nil &&
		m.failure() == nil && thump.Temporary(err) && !errors.Is(err, context.DeadlineExceeded)
}

// noteLost notes that the source has no connection, and why.
func (m *mover) noteLost(err error) {
	if m.lostAt.IsZero() {
		m.lostAt = time.Now()
		m.job.Progress.away.Store(&away{since: m.lostAt, why: err})
	}
	m.lastLoss = err
}

// comeBack waits until the queue can be consumed from again, and the broker has noticed that
// the last connection is gone. Else another consumer would get what is new first, and what
// was not acked later, in another order than the journal knows.
func (m *mover) comeBack(ctx context.Context) error {
	if m.job.From.streams() {
		return nil
	}
	pause := pauseLeast
	if m.lostAt.IsZero() {
		m.lostAt = time.Now()
	}
	for {
		info, err := m.job.Source.InspectQueue(ctx, m.job.From.Name)
		waited := time.Since(m.lostAt)
		switch {
		case err == nil && (info.Consumers == 0 || m.job.Shared || waited > ghostTimeout):
			return nil
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case !thump.Temporary(err):
			return err
		case m.job.GiveUp > 0 && waited > m.job.GiveUp:
			return fmt.Errorf("%v has no connection since %v, and it is given up: %w (first: %w)", m.job.From, waited.Round(time.Second), err, m.lastLoss)
		}
		select {
		case <-time.After(pause):
		case <-m.job.Stop:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(2*pause, comePauseMost)
	}
}

// comePauseMost is the longest pause before a source is asked again.
const comePauseMost = time.Second

// ghostTimeout is how long a broker may take to notice that a connection was lost.
const ghostTimeout = 30 * time.Second

// back notes that the source has a connection.
func (m *mover) back() {
	if !m.lostAt.IsZero() {
		m.lostAt = time.Time{}
		m.job.Progress.away.Store(nil)
	}
}

// takeAgain takes what the last move with this journal, or the last connection, has taken
// and not acked: the source delivers it again, first. batch, where there is one, is the
// beginning of it.
func (m *mover) takeAgain(ctx context.Context, con *thump.Consumer, batch *thump.Batch) error {
	expected := min(m.journal.expected(), m.prefetch)
	bytes := 0
	var batches []*thump.Batch
	var came []identity
	for last := time.Now(); ; {
		if batch != nil {
			last = time.Now()
			batches = append(batches, batch)
			for i := range batch.Deliveries {
				came = append(came, m.ids.of(&batch.Deliveries[i], batch.Stream))
				bytes += len(batch.Deliveries[i].Body)
			}
		}
		if len(came) >= expected || bytes > againBytes {
			break
		}
		var over bool
		var err error
		batch, over, err = m.more(ctx, con, last)
		switch {
		case errors.Is(err, errAgain): // once more, from the beginning
			batches, came, bytes, err = nil, nil, 0, nil
		case over || batch == nil && time.Since(last) > againTimeout:
			expected = 0
		}
		if err != nil {
			m.mu.Lock()
			m.behind = append(m.behind, batches...)
			m.mu.Unlock()
			return err
		}
	}
	entries, doubt := m.journal.fit(came)
	m.suspect(doubt)
	flights := make([]*flight, 0, len(batches))
	var all []entry
	for _, batch := range batches {
		n := min(len(entries), len(batch.Deliveries))
		f := m.prepare(batch, entries[:n])
		entries = entries[n:]
		flights = append(flights, f)
		all = append(all, f.list...)
	}
	m.resuming = true
	first, err := m.journal.restart(all)
	if err != nil {
		m.fail(err)
		return err
	}
	for _, f := range flights {
		if len(f.list) == 0 { // no newest message that would be held back
			m.giveBack(f)
			continue
		}
		all = all[copy(f.list, all):] // with publishing ids
		f.first = first
		first += uint64(len(f.list))
		m.fly(f)
	}
	for _, f := range flights {
		if err := m.publish(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// againTimeout is how long a source that should deliver again, and has messages, may
// deliver nothing, until what has come is taken as all that comes again.
const againTimeout = 10 * time.Second

// againBytes is how much of what comes again is held at a time: more than a publisher has
// in flight.
const againBytes = 256 << 20

// suspect notes what may be at the target, and is not known to come again.
func (m *mover) suspect(doubt []entry) {
	clear(m.doubt)
	for _, e := range doubt {
		if e.status != left {
			m.doubt[e.id]++
		}
	}
}

// forget forgets what came on a connection that was lost: nothing of it can be acked. What was
// published gets its outcome first, so that the journal knows of it when it comes again.
func (m *mover) forget(ctx context.Context) error {
	if err := m.await(ctx, func() bool { return m.open() == 0 && !m.settling }); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.flights, m.behind, m.stale = nil, nil, false
	return m.fatal
}
