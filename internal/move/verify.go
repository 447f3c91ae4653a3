package move

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thumpmq/thump"
)

// verify looks, after a consumer has closed, whether the queue still delivers what was acked:
// a quorum queue may lose the last acks with the channel (RabbitMQ 3.10 does when it is
// busy). errAgain says that it does. The newest message, which was held back so far, is
// acked now: as long as one that was taken is not, the journal can tell what was, also
// where messages are alike.
func (m *mover) verify(ctx context.Context) error {
	want, held := m.journal.remains()
	if m.job.From.streams() || m.job.Shared || m.taken() == 0 {
		return nil
	}
	if m.endings >= endingsMost {
		return fmt.Errorf("%v delivers again and again what was acked", m.job.From)
	}
	m.endings++
	if len(want) == 0 {
		return nil
	}
	ready, err := m.ready(ctx, max(len(want), m.least))
	if err != nil || !held && ready <= len(want) {
		return err
	}
	// It may hold what the last one has given back: a quorum queue puts what comes back behind what
	// came back before.
	con, err := m.consumeQueue(ctx, max(len(want), m.most), batchMost)
	if err != nil {
		return err
	}
	batches, came, err := m.front(ctx, con, len(want))
	if err == nil {
		err = m.compare(want, came)
	}
	switch {
	case !held || err != nil && !errors.Is(err, errElsewhere):
	case err != nil || len(came) < len(want):
		if err := m.closeSource(ctx, con, batches, true); err != nil {
			return err
		}
		return m.seek(ctx, want[len(want)-1])
	default:
		err = m.ackHeld(batches, len(want)-1)
	}
	return errors.Join(err, m.closeSource(ctx, con, batches, len(want) > 1))
}

// ready asks how many messages the queue has, until it has as many as went back at least: a quorum
// queue that is too busy to answer says that it has none (rabbit_quorum_queue.erl, stat), and what
// a closed channel held may come back a little later. Where somebody has taken some, it has fewer
// for good: it says how many, and that changes no more.
func (m *mover) ready(ctx context.Context, least int) (int, error) {
	for last, since := 0, time.Now(); ; {
		info, err := m.job.Source.InspectQueue(ctx, m.job.From.Name)
		if err != nil || info.Messages >= least {
			return info.Messages, err
		}
		if info.Messages != last {
			last, since = info.Messages, time.Now()
		}
		if unchanged := time.Since(since); unchanged > returnPatience || last > 0 && unchanged > fewerPatience {
			return last, nil
		}
		select {
		case <-time.After(pauseLeast):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// errElsewhere is the error of a queue that does not deliver first what it delivered first: the
// message that was held back is in both places, or somebody else has it.
var errElsewhere = errors.New("the queue does not deliver the last message that was moved, which is not acked yet: it is in both places, or somebody else has it")

// seek acks the message that was held back, where others are before it now: a quorum queue puts
// what comes back behind what came back before, such as what its consumer had been sent and had
// not taken. One that is alike will do.
func (m *mover) seek(ctx context.Context, held identity) error {
	if _, err := m.ready(ctx, m.least); err != nil {
		return err
	}
	const most = prefetchHolding // and not what the queue has: a busy quorum queue says that it is empty
	con, err := m.consumeQueue(ctx, most, batchMost)
	if err != nil {
		return err
	}
	var batches []*thump.Batch
	for seen, last := 0, time.Now(); ; {
		batch, err := m.receive(ctx, con, pollEvery)
		if quiet(ctx, err) && time.Since(last) < returnPatience && seen < most {
			continue
		}
		if quiet(ctx, err) {
			err = m.notDelivered()
		}
		if err != nil {
			return errors.Join(err, m.closeSource(ctx, con, batches, true))
		}
		last = time.Now()
		batches = append(batches, batch)
		for i := range batch.Deliveries {
			if m.ids.of(&batch.Deliveries[i], "") == held {
				return errors.Join(m.ackHeld([]*thump.Batch{batch}, i), m.closeSource(ctx, con, batches, true))
			}
		}
		seen += len(batch.Deliveries)
		batch.Deliveries = nil // which may be large: nothing more is asked of them
	}
}

// returnPatience is how long a queue may take to deliver again what a closed channel held. A
// quorum queue of RabbitMQ 3.10 takes seconds.
const returnPatience = 15 * time.Second

// fewerPatience is how long a queue has the same few messages before no more are expected to come
// back: one that is busy says that it has none.
const fewerPatience = 2 * time.Second

// front takes n deliveries, or as many as come.
func (m *mover) front(ctx context.Context, con *thump.Consumer, n int) ([]*thump.Batch, []identity, error) {
	var batches []*thump.Batch
	var came []identity
	for last := time.Now(); len(came) < n; {
		batch, err := m.receive(ctx, con, pollEvery)
		if quiet(ctx, err) {
			if time.Since(last) > returnPatience {
				return batches, came, nil
			}
			continue
		}
		if err != nil {
			return batches, came, err
		}
		last = time.Now()
		batches = append(batches, batch)
		for i := range batch.Deliveries {
			came = append(came, m.ids.of(&batch.Deliveries[i], ""))
		}
	}
	return batches, came, nil
}

// compare returns errAgain where something comes that was acked, instead of what is to
// remain.
func (m *mover) compare(want, came []identity) error {
	acked := m.journal.confirmed()
	for i, id := range came[:min(len(came), len(want))] {
		switch {
		case id == want[i]:
		case acked[id]:
			return errAgain
		default:
			return m.notDelivered()
		}
	}
	return nil
}

// notDelivered is errElsewhere, with the name of the queue.
func (m *mover) notDelivered() error { return fmt.Errorf("%v: %w", m.job.From, errElsewhere) }

// ackHeld acks delivery i of the batches, the message that was held back.
func (m *mover) ackHeld(batches []*thump.Batch, i int) error {
	if err := m.journal.finish(); err != nil {
		return err
	}
	for _, batch := range batches {
		if i >= len(batch.Deliveries) {
			i -= len(batch.Deliveries)
			continue
		}
		if err := batch.Deliveries[i].Ack(); err != nil {
			return err
		}
		m.mu.Lock()
		m.receipt.Acked++
		m.mu.Unlock()
		return nil
	}
	return nil
}
