package load

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/ledger"
)

const (
	// queueMessages, streamMessages and batchBytes bound one call of Publish:
	// enough that the cost of the call is nothing beside the messages', and large
	// bodies don't pile up.
	queueMessages  = 256
	streamMessages = 1000
	batchBytes     = 256 << 10

	// routingKeys is how many routing keys the messages to a super stream have:
	// their number, modulo this. It is many times the number of partitions.
	routingKeys = 4096
)

// publisher publishes one range of the plan.
type publisher struct {
	cfg       *SendConfig
	format    *ledger.Format
	own       ledger.Range
	pub       *thump.Publisher
	published uint64
	err       error

	// Written by outcomes alone, and read when the publisher has closed.
	last time.Time
	bad  []uint64
}

// publish publishes the range in batches until its end, stop, or an error.
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

// batch is the messages of one call of Publish, and their bodies, made anew in
// the same memory for every call.
type batch struct {
	format   *ledger.Format
	messages []thump.Message
	bodies   []byte
	ends     []int
	keys     []string // routing keys; nil for none
}

func (p *publisher) newBatch() *batch {
	most := queueMessages
	if p.cfg.To.Streams() {
		most = streamMessages
	}
	size := min(most, max(1, batchBytes/p.format.MaxSize()))
	b := &batch{format: p.format, messages: make([]thump.Message, size), ends: make([]int, 0, size)}
	if p.cfg.Transient {
		for i := range b.messages {
			b.messages[i].Properties.DeliveryMode = thump.Transient
		}
	}
	if p.cfg.To.Kind == SuperStream {
		b.keys = make([]string, routingKeys)
		for i := range b.keys {
			b.keys[i] = strconv.Itoa(i)
		}
	}
	return b
}

// fill makes the messages from number first on, as many as fit, at most limit.
// They are valid until the next call.
func (b *batch) fill(first, limit uint64) []thump.Message {
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

// outcomes hears what became of messages, many at a time.
func (p *publisher) outcomes(outcomes []thump.Outcome) {
	p.last = time.Now()
	p.bad = p.bad[:0]
	for i := range outcomes {
		if outcomes[i].Status != thump.Confirmed {
			p.bad = append(p.bad, outcomes[i].Ref)
		}
	}
	p.cfg.Progress.confirmed.Add(uint64(len(outcomes) - len(p.bad)))
	if len(p.bad) > 0 && p.cfg.Unconfirmed != nil {
		p.cfg.Unconfirmed(p.bad)
	}
}

// flushError returns err where it says that the publisher has ended. That the
// broker refused messages, or that the publisher was closed in order, is no
// failure of the sending: the counts tell it.
func flushError(err error) error {
	if outcome, ok := errors.AsType[*thump.OutcomeError](err); ok && outcome.Err == nil {
		return nil
	}
	if errors.Is(err, thump.ErrClosed) {
		return nil
	}
	return err
}
