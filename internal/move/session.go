package move

import (
	"context"
	"errors"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/version"
)

// session takes and publishes until the end of the move. errAgain says that the source lost
// its connection: what was not acked comes again.
func (m *mover) session(ctx context.Context) error {
	taking, cancel := context.WithCancel(ctx)
	defer cancel()
	if m.job.Stop != nil {
		go func() {
			select {
			case <-m.job.Stop:
				cancel()
			case <-taking.Done():
			}
		}()
	}
	con, err := m.consume(taking)
	if err != nil {
		if m.resuming && m.mayPass(err) {
			m.noteLost(err)
			return errAgain
		}
		return m.unlessStopped(err)
	}
	m.mu.Lock()
	m.con, m.last, m.ending = con, false, m.stopped()
	m.republishing, m.endRepublishing = context.WithCancel(ctx)
	m.mu.Unlock()
	var batch *thump.Batch // of a stream that goes back to what was not acked
	for err = m.takeAgain(taking, con, nil); err == nil; err = m.takeAgain(taking, con, batch) {
		if batch, err = m.takeNew(taking, con); !errors.Is(err, errAgain) {
			break
		}
		if err = m.forget(taking); err != nil {
			break
		}
	}
	if m.mayPass(err) {
		m.noteLost(err)
		if err := m.forget(taking); err == nil {
			_ = con.Close(ctx) // it has ended
			return errAgain
		}
	}
	if err = m.unlessStopped(err); err != nil {
		m.sourceFailed = m.failure() == nil
	}
	return m.finish(ctx, con, err)
}

// unlessStopped is err, or nil where the end of a stopped move is all that it says.
func (m *mover) unlessStopped(err error) error {
	if m.stopped() && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// stopped reports whether the move is to end.
func (m *mover) stopped() bool {
	select {
	case <-m.job.Stop: // a nil one never is
		return true
	default:
		return false
	}
}

// consume opens the consumer.
func (m *mover) consume(ctx context.Context) (*thump.Consumer, error) {
	if !m.job.From.streams() {
		most := m.prefetch
		if limit := m.job.Limit; limit > 0 && m.journal.expected() == 0 && limit < uint64(most) {
			most = int(limit) // what is not to be taken is not fetched
		}
		return m.consumeQueue(ctx, most, m.batchMost())
	}
	cfg := thump.ConsumerConfig{From: m.job.From.target(""), MaxBatch: m.batchMost()}
	cfg.Stream = thump.StreamConsuming{Start: m.job.Start, Name: m.job.ConsumerName}
	if offset, ok := m.journal.resumeAt(); ok {
		cfg.Stream.Start = thump.FromOffset(offset)
	} else if last := m.pub.LastPublishingID(); m.byOffset && last > 0 {
		cfg.Stream.Start = thump.FromOffset(last) // ids are one higher than offsets
	}
	if !m.job.Follow && m.job.Idle == 0 {
		cfg.Stream.Until = time.Now()
	}
	con, err := m.job.Source.Consumer(ctx, cfg)
	if err != nil && !cfg.Stream.Until.IsZero() && version.Before(m.job.Source.Server().Version, 3, 11) {
		cfg.Stream.Until = time.Time{}
		m.job.Idle = idleOf310
		return m.job.Source.Consumer(ctx, cfg)
	}
	return con, err
}

// consumeQueue opens a consumer of the source queue that may hold most deliveries.
func (m *mover) consumeQueue(ctx context.Context, most, maxBatch int) (*thump.Consumer, error) {
	m.most = most
	return m.job.Source.Consumer(ctx, thump.ConsumerConfig{From: m.job.From.target(""), Prefetch: most, MaxBatch: maxBatch})
}

// idleOf310 ends the move of a stream of RabbitMQ 3.10, which does not say where a stream
// ends.
const idleOf310 = 3 * time.Second

// batchMost is the most messages of a batch: with a low rate few, so that they go evenly.
func (m *mover) batchMost() int {
	if m.job.Rate <= 0 {
		return batchMost
	}
	return max(1, min(batchMost, int(m.job.Rate/10)))
}

func (m *mover) taken() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.receipt.Taken
}

// takeNew takes what comes and publishes it. With errAgain it returns the first batch of
// another connection.
func (m *mover) takeNew(ctx context.Context, con *thump.Consumer) (*thump.Batch, error) {
	last := time.Now()
	for {
		if err := m.failure(); err != nil {
			return nil, err
		}
		if m.job.NothingNew || m.job.Limit > 0 && m.taken() >= m.job.Limit {
			return nil, nil
		}
		batch, over, err := m.more(ctx, con, last)
		switch {
		case errors.Is(err, errAgain):
			return batch, err
		case over || err != nil:
			return nil, err
		case batch == nil:
			continue
		}
		last = time.Now()
		m.back()
		f := m.prepare(batch, nil)
		if f.first, err = m.journal.taken(f.list); err != nil {
			m.fail(err)
			m.leaveUnpublished(f)
			m.giveBack(f)
			return nil, err
		}
		m.fly(f)
		if err := m.publish(ctx, f); err != nil {
			return nil, err
		}
	}
}

// more waits for a batch, a moment, and returns none where none comes: then the caller looks
// around. over says that the source, which has delivered nothing since last, has no more.
func (m *mover) more(ctx context.Context, con *thump.Consumer, last time.Time) (batch *thump.Batch, over bool, err error) {
	batch, err = m.receive(ctx, con, pollEvery)
	if errors.Is(err, thump.ErrEnd) {
		return nil, true, nil
	}
	if !quiet(ctx, err) {
		return batch, false, err
	}
	if over, err = m.over(ctx, time.Since(last)); !over || m.job.From.streams() {
		return nil, over, err
	}
	// A queue that has none ready may have sent some that are not here yet. They come before the
	// answer to a flush.
	flushing, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if con.Flush(flushing) != nil {
		return nil, false, nil // the consumer says it, if that does not pass
	}
	batch, err = m.receive(ctx, con, pauseLeast)
	if quiet(ctx, err) {
		return nil, true, nil
	}
	return batch, false, err
}

// quiet reports whether err says that nothing came in time.
func quiet(ctx context.Context, err error) bool {
	return errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
}

// receive waits for a batch, for so long. errAgain comes with a batch of a stream with which it
// goes back to what was not acked.
func (m *mover) receive(ctx context.Context, con *thump.Consumer, patience time.Duration) (*thump.Batch, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	batch, err := con.Receive(waiting)
	if err != nil {
		return nil, err
	}
	if m.repeats(batch) {
		return batch, errAgain
	}
	return batch, nil
}

// repeats reports whether a stream goes back to a lower offset.
func (m *mover) repeats(batch *thump.Batch) bool {
	if !m.job.From.streams() {
		return false
	}
	seen, before := m.offsets[batch.Stream]
	m.offsets[batch.Stream] = batch.Deliveries[len(batch.Deliveries)-1].Offset
	return before && batch.Deliveries[0].Offset <= seen
}

// over reports whether a source that delivers nothing, since so long, has no more, but for what
// is on its way.
func (m *mover) over(ctx context.Context, silent time.Duration) (bool, error) {
	if m.job.Idle > 0 {
		return silent >= m.job.Idle, nil
	}
	if m.job.Follow || m.job.From.streams() {
		return false, nil
	}
	info, err := m.job.Source.InspectQueue(ctx, m.job.From.Name)
	if err != nil {
		if thump.IsNotFound(err) {
			return false, err
		}
		return false, nil // the consumer says it, if that does not pass
	}
	return empty(info), nil
}

// empty reports whether nothing is ready in a queue that has a consumer. A quorum queue that is
// too busy to answer says that it has no messages, and no consumers (rabbit_quorum_queue.erl,
// stat).
func empty(info thump.QueueInfo) bool { return info.Messages == 0 && info.Consumers > 0 }

// finish acks what is confirmed, and gives back the rest.
func (m *mover) finish(ctx context.Context, con *thump.Consumer, why error) error {
	waiting, cancel := m.orderly(ctx)
	unanswered := m.await(waiting, func() bool { return m.open() == 0 })
	cancel()
	m.giveUpOn()
	m.tellSettler()
	_ = m.await(ctx, func() bool { return len(m.flights) == 0 && !m.settling }) // else ctx has ended
	m.mu.Lock()
	behind, stale, some := m.behind, m.stale, m.receipt.Left+m.receipt.Skipped > 0
	m.mu.Unlock()
	closed := m.closeSource(ctx, con, behind, some)
	if why == nil {
		why = m.failure()
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case (stale || closed != nil) && why == nil && !m.stopped() && !m.job.NoRecovery && m.endings < endingsMost:
		m.endings++
		m.mu.Lock()
		m.behind, m.stale = nil, false
		m.mu.Unlock()
		m.noteLost(closed)
		return errAgain
	case stale || closed != nil || unanswered != nil || m.sourceFailed:
		return errors.Join(why, m.unlessStopped(closed))
	}
	return m.settleLast(ctx, why)
}

// closeSource closes a consumer of which some batches go back. inOrder says that there is more
// in them than the message that is held back.
//
// A quorum queue without a delivery limit puts what is released at its end, before RabbitMQ
// 4.3, and only what a connection held that is gone back at its beginning. One of 4.3 counts
// what a connection held as failed deliveries. Where nothing is left in the queue, its end is
// its beginning.
func (m *mover) closeSource(ctx context.Context, con *thump.Consumer, behind []*thump.Batch, inOrder bool) error {
	closing, done := context.WithTimeout(ctx, closeTimeout)
	defer done()
	if m.job.From.Kind != Queue {
		con.Stop()
		for _, batch := range behind {
			_ = batch.Release() // it goes back in any case
		}
		return con.Close(closing)
	}
	left, err := m.holdAll(closing, con)
	m.least = left + int(con.Stats().Unsettled)
	if err != nil || left > 0 && inOrder && version.Before(m.job.Source.Server().Version, 4, 3) {
		drop(ctx, con)
		return err
	}
	_ = con.ReleaseAll(closing) // it goes back in any case
	return con.Close(closing)
}

// holdAll receives until the consumer holds as much as it may, or the queue has no more, and
// says how many the queue has then. So the queue has applied every ack, which for a quorum queue
// is later than that the broker has read it: only then it sends something for what was acked. It
// would forget those that it has not applied when the connection is dropped.
func (m *mover) holdAll(ctx context.Context, con *thump.Consumer) (left int, err error) {
	full := func() bool { return int(con.Stats().Unsettled) >= m.most }
	for flushed := false; ; {
		for !full() {
			_, err := m.receive(ctx, con, pauseLeast)
			if quiet(ctx, err) {
				break
			}
			if err != nil {
				return 0, err
			}
		}
		info, err := m.job.Source.InspectQueue(ctx, m.job.From.Name)
		switch {
		case err != nil:
			return 0, err
		case info.Consumers > 0 && full(), empty(info) && flushed:
			return info.Messages, nil
		case empty(info): // but what it has sent may be on its way, and comes before the answer to this
			if err := con.Flush(ctx); err != nil {
				return 0, err
			}
			flushed = true
		}
	}
}

// drop drops the connection of a consumer: so does a Close whose context has ended.
func drop(ctx context.Context, con *thump.Consumer) {
	ended, end := context.WithCancel(ctx)
	end()
	_ = con.Close(ended) // it says what is not settled
}

// settleLast sees to it that everything that was to be acked was. why is why the move ended.
func (m *mover) settleLast(ctx context.Context, why error) error {
	if m.stopped() {
		hasty, cancel := context.WithTimeout(ctx, closeTimeout)
		defer cancel()
		ctx = hasty
	}
	err := m.comeBack(ctx) // until the broker has ended the consumer
	if err == nil {
		m.back()
		err = m.verify(ctx)
	}
	if err == nil && m.knowsAll(why) {
		_, err = m.journal.restart(nil)
	}
	if why != nil || m.stopped() {
		return why // and the journal knows the rest
	}
	return err
}

// knowsAll reports whether the journal has nothing more to say: of a stream, which is read
// from its beginning the next time, only when all of it was moved; of a queue, when all that
// came again was looked at.
func (m *mover) knowsAll(why error) bool {
	if m.job.From.streams() {
		return why == nil && !m.stopped()
	}
	return m.resuming
}

// endingsMost is how often the end of a move is tried again, whose last acks were lost with a
// connection.
const endingsMost = 5

// orderly is ctx, which ends some time after the move was stopped.
func (m *mover) orderly(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if m.job.Stop != nil {
		go func() {
			select {
			case <-m.job.Stop:
				m.mu.Lock()
				m.ending = true // what a full target has rejected stays
				m.mu.Unlock()
				m.tellSettler()
			case <-ctx.Done():
				return
			}
			select {
			case <-time.After(orderlyTimeout):
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}
