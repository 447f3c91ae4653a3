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
	info, err := m.job.Source.InspectQueue(ctx, m.job.From.Name)
	if err != nil {
		return err
	}
	if !held && info.Messages <= len(want) || len(want) == 0 {
		return nil
	}
	con, err := m.job.Source.Consumer(ctx, thump.ConsumerConfig{From: m.job.From.target(""), Prefetch: len(want), MaxBatch: batchMost})
	if err != nil {
		return err
	}
	batches, came, err := m.front(ctx, con, len(want))
	if err == nil {
		err = m.compare(want, came)
	}
	switch {
	case err != nil || !held:
	case len(came) < len(want):
		err = m.notDelivered()
	default:
		err = m.ackHeld(batches, len(want)-1)
	}
	return errors.Join(err, m.closeSource(ctx, con, batches, len(want) > 1))
}

// returnPatience is how long a queue may take to deliver again what a closed channel held. A
// quorum queue of RabbitMQ 3.10 takes seconds.
const returnPatience = 15 * time.Second

// front takes n deliveries, or as many as come.
func (m *mover) front(ctx context.Context, con *thump.Consumer, n int) ([]*thump.Batch, []identity, error) {
	var batches []*thump.Batch
	var came []identity
	for last := time.Now(); len(came) < n; {
		batch, err := m.receive(ctx, con)
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
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

// notDelivered is the error of a queue that does not deliver first what it delivered first.
func (m *mover) notDelivered() error {
	return fmt.Errorf("%v does not deliver the last message that was moved, which is not acked yet: it is in both places, or somebody else has it", m.job.From)
}

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
