package load

import (
	"context"
	"errors"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/ledger"
)

// publisher publishes one range of the plan.
type publisher struct {
	cfg       *SendConfig
	format    *ledger.Format
	number    int // counted from 0
	own       ledger.Range
	pub       *thump.Publisher
	times     *sentTimes
	clock     *clockKeeper // nil where messages do not say when they were sent
	pace      *pacer       // nil without a schedule
	published uint64
	fed       bool // the feed has come to its end
	err       error

	// Only outcomes writes these. They are read once the publisher has closed.
	last        time.Time // when the latest outcomes came
	unconfirmed []uint64
	resent      []uint64
	stopwatch   *stopwatch
}

// publish publishes the range in batches, as fast as possible. It ends with the range, when
// ctx ends, or on an error.
func (p *publisher) publish(ctx context.Context) error {
	b := p.newBatch()
	for next := p.own.First; next <= p.own.Last && ctx.Err() == nil; {
		messages, now := b.fill(next, p.own.Last-next+1), time.Now()
		p.times.sending(p.number, now)
		if b.stamps != nil {
			b.stamps.setAll(len(messages), now)
		}
		accepted, err := p.pub.Publish(ctx, messages...)
		p.count(accepted)
		next += uint64(accepted)
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// count counts messages that were published.
func (p *publisher) count(n int) {
	p.published += uint64(n)
	p.cfg.Progress.published.Add(uint64(n))
}

// messageBatch is the messages of one call of Publish, and their bodies. It makes
// those of every call in the same memory.
type messageBatch struct {
	format   *ledger.Format
	messages []thump.Message
	bodies   []byte
	ends     []int
	keys     keyring
	ranks    ranks
	stamps   *stamps // nil for none
}

// batchSize is how many messages a batch of such bodies has at most.
func batchSize(to Place, format *ledger.Format) int {
	return min(to.batchMessages(), max(1, batchBytes/format.MaxSize()))
}

func (p *publisher) newBatch() *messageBatch {
	to, size := p.cfg.To, batchSize(p.cfg.To, p.format)
	b := &messageBatch{
		format: p.format, messages: make([]thump.Message, size), ends: make([]int, 0, size), keys: newKeyring(to.routingKeys(), p.own.First),
	}
	properties := p.properties()
	b.ranks = newRanks(p.cfg.Priorities, properties)
	if p.clock != nil {
		each := p.pace != nil || b.ranks.levels != nil
		b.stamps = newStamps(b.messages, p.clock.name, each, properties)
	} else if properties != nil {
		for i := range b.messages {
			b.messages[i].Properties = properties
		}
	}
	return b
}

// properties are those of every message; nil for none.
func (p *publisher) properties() *thump.Properties {
	if !p.cfg.To.transient() {
		return p.cfg.Properties
	}
	var properties thump.Properties
	if p.cfg.Properties != nil {
		properties = *p.cfg.Properties
	}
	if properties.DeliveryMode == 0 {
		properties.DeliveryMode = thump.Transient
	}
	return &properties
}

// fill makes the messages from number first on: as many as fit, at most limit.
// They are valid until the next call.
func (b *messageBatch) fill(first, limit uint64) []thump.Message {
	messages := b.messages[:min(uint64(len(b.messages)), limit)]
	b.bodies, b.ends = b.format.AppendRun(b.bodies[:0], first, len(messages), b.ends[:0])
	start := 0
	for i := range messages {
		m := &messages[i]
		m.Body, m.Ref = b.bodies[start:b.ends[i]], first+uint64(i)
		start = b.ends[i]
		if b.keys.keys != nil {
			m.RoutingKey = b.keys.next()
		}
		switch {
		case b.ranks.levels == nil:
		case b.stamps != nil:
			b.ranks.give(m.Properties)
		default:
			m.Properties = b.ranks.next()
		}
	}
	return messages
}

// outcomes counts outcomes, and passes on the numbers of messages that were not confirmed
// and of those that were sent again, as nobody can rule out of what is Unknown.
func (p *publisher) outcomes(outcomes []thump.Outcome) {
	p.last = time.Now()
	p.time(outcomes)
	p.unconfirmed, p.resent = p.unconfirmed[:0], p.resent[:0]
	for i := range outcomes {
		o := &outcomes[i]
		if o.Status != thump.Confirmed {
			p.unconfirmed = append(p.unconfirmed, o.Ref)
		}
		if o.Resent || o.Status == thump.Unknown {
			p.resent = append(p.resent, o.Ref)
		}
	}
	if p.cfg.Feed != nil {
		p.cfg.Feed.Outcomes(outcomes)
	}
	p.cfg.Progress.answered.Add(uint64(len(outcomes)))
	p.cfg.Progress.confirmed.Add(uint64(len(outcomes) - len(p.unconfirmed)))
	if len(p.unconfirmed) > 0 && p.cfg.Unconfirmed != nil {
		p.cfg.Unconfirmed(p.unconfirmed)
	}
	if len(p.resent) > 0 && p.cfg.Resent != nil {
		p.cfg.Resent(p.resent)
	}
}

// time notes how long it took to confirm messages. Those that were not confirmed took no time
// that says anything.
func (p *publisher) time(outcomes []thump.Outcome) {
	if p.stopwatch == nil {
		return
	}
	for i := 0; i < len(outcomes); i++ {
		status, first := outcomes[i].Status, outcomes[i].Ref
		for i+1 < len(outcomes) && outcomes[i+1].Ref == outcomes[i].Ref+1 && outcomes[i+1].Status == status {
			i++
		}
		from, to := first-p.own.First, outcomes[i].Ref-p.own.First
		switch status {
		case thump.Confirmed:
			p.stopwatch.stop(p.number, from, to, p.last)
		case thump.Rejected, thump.Returned:
			p.stopwatch.pass(p.number, from, to, p.times.asked)
		default: // it may still come
		}
	}
	p.stopwatch.record(&p.cfg.Progress.confirmLatency)
}

// flushError returns err if it says that the publisher has ended. That the broker
// refused messages, or that the publisher was closed in order, is no failure of the
// sending: the counts tell it.
func flushError(err error) error {
	if outcome, ok := errors.AsType[*thump.OutcomeError](err); ok && outcome.Err == nil {
		return nil
	}
	if errors.Is(err, thump.ErrClosed) {
		return nil
	}
	return err
}
