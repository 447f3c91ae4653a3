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
	own       ledger.Range
	pub       *thump.Publisher
	published uint64
	fed       bool // the feed has come to its end
	err       error

	// Only outcomes writes these. They are read once the publisher has closed.
	last        time.Time // when the latest outcomes came
	unconfirmed []uint64
	resent      []uint64
}

// publish publishes the range in batches. It ends with the range, when stop is
// closed, or on an error.
func (p *publisher) publish(ctx context.Context, stop <-chan struct{}) error {
	b := p.newBatch()
	for next := p.own.First; next <= p.own.Last && !stopped(stop); {
		messages := b.fill(next, p.own.Last-next+1)
		accepted, err := p.pub.Publish(ctx, messages...)
		p.published += uint64(accepted)
		next += uint64(accepted)
		p.cfg.Progress.published.Add(uint64(accepted))
		if err != nil && !stopped(stop) {
			return err
		}
	}
	return nil
}

// messageBatch is the messages of one call of Publish, and their bodies. It makes
// those of every call in the same memory.
type messageBatch struct {
	format   *ledger.Format
	messages []thump.Message
	bodies   []byte
	ends     []int
	keys     []string // routing keys; nil for none
}

func (p *publisher) newBatch() *messageBatch {
	to := p.cfg.To
	size := min(to.batchMessages(), max(1, batchBytes/p.format.MaxSize()))
	b := &messageBatch{
		format: p.format, messages: make([]thump.Message, size), ends: make([]int, 0, size), keys: to.routingKeys(),
	}
	if to.transient() {
		transient := &thump.Properties{DeliveryMode: thump.Transient}
		for i := range b.messages {
			b.messages[i].Properties = transient
		}
	}
	return b
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
		if b.keys != nil {
			m.RoutingKey = b.keys[m.Ref%routingKeys]
		}
	}
	return messages
}

// outcomes counts outcomes, and passes on the numbers of messages that were not confirmed
// and of those that were sent again, as nobody can rule out of what is Unknown.
func (p *publisher) outcomes(outcomes []thump.Outcome) {
	p.last = time.Now()
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
