package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Feed is where the messages of a Send come from that does not make them up. Next and Refused
// are called by one goroutine, and Outcomes by another.
type Feed interface {
	// String is where they come from, for people.
	String() string
	// Next returns the next messages, at least one, which are valid until the next call.
	// Their Ref is the feed's. It returns early when ctx ends. The error is io.EOF at the
	// end.
	Next(ctx context.Context) ([]thump.Message, error)
	// Refused is told of a message that can't be sent, and why. With an error, which may be
	// that one, the sending ends.
	Refused(m *thump.Message, why error) error
	// Outcomes is told what became of messages. It must not keep the slice.
	Outcomes(outcomes []thump.Outcome)
}

// feed publishes what the feed has, until its end, until ctx ends, or until an error.
func (p *publisher) feed(ctx context.Context) error {
	for {
		messages, err := p.nextOfFeed(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, io.EOF):
			p.fed = true
			return nil
		case err != nil:
			return err
		}
		for len(messages) > 0 {
			if p.pace != nil && p.published >= p.cfg.Schedule.Count(p.cfg.Duration) {
				p.fed = true
				return nil
			}
			accepted, err := p.pub.Publish(ctx, messages[:p.ready(ctx, uint64(len(messages)))]...)
			p.count(accepted)
			messages = messages[accepted:]
			if err == nil {
				continue
			}
			switch {
			case ctx.Err() != nil:
				if p.pace != nil {
					p.pace.notSent(p.published)
				}
				return nil
			case p.pub.Err() != nil:
				return err
			}
			if err := p.cfg.Feed.Refused(&messages[0], err); err != nil {
				return err
			}
			messages = messages[1:]
		}
	}
}

// nextOfFeed returns the feed's next messages. Where they were not there when the first was due,
// the schedule goes on with them: it is not the sending that is late.
func (p *publisher) nextOfFeed(ctx context.Context) ([]thump.Message, error) {
	if p.pace == nil {
		return p.cfg.Feed.Next(ctx)
	}
	p.pace.end() // nothing is late that is not there
	asked := time.Since(p.pace.begin)
	messages, err := p.cfg.Feed.Next(ctx)
	due := p.pace.due(p.published)
	if waited := time.Since(p.pace.begin) - max(asked, due); waited > 0 {
		p.pace.shift += waited
	}
	return messages, err
}

// ready waits for the first of the feed's next n messages to be due, and returns how many are
// due together; without a schedule all are. After ctx has ended it does not wait.
func (p *publisher) ready(ctx context.Context, n uint64) uint64 {
	if p.pace == nil {
		return n
	}
	return p.pace.await(ctx, p.published, min(n, p.cfg.Schedule.Count(p.cfg.Duration)-p.published))
}

// Exchange is an exchange. It keeps nothing, so that it can only be sent to.
type Exchange struct {
	Queue
	RoutingKey string // of messages that have none of their own
	Keys       Keys   // of messages that are made up; none for RoutingKey
}

// NewExchange is the exchange of that name, "" for the default one. queue says how to publish.
func NewExchange(name, routingKey string, keys Keys, queue Queue) Exchange {
	queue.Name = name
	return Exchange{Queue: queue, RoutingKey: routingKey, Keys: keys}
}

// Target is the exchange as package thump names it.
func (e Exchange) Target() thump.Target { return thump.Exchange(e.Name, e.RoutingKey) }

// String is "exchange" and the name.
func (e Exchange) String() string {
	if e.Name == "" {
		return "the default exchange"
	}
	return fmt.Sprintf("exchange %s", e.Name)
}

func (e Exchange) publisher(int, int) thump.PublisherConfig {
	return thump.PublisherConfig{To: e.Target(), NoConfirms: e.NoConfirms}
}

func (e Exchange) routingKeys() Keys { return e.Keys }

func (e Exchange) sending(s *result.Settings) {
	e.Queue.sending(s)
	s.RoutingKeys = e.Keys.Text
}

// describeFeed notes the settings of a Send with a Feed.
func (cfg *SendConfig) describeFeed(s *result.Settings) {
	s.Body, s.BodyBytes = cfg.Feed.String(), 0
}
