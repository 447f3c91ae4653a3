package thump

import (
	"context"
	"fmt"
	"sync"

	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/amqpproto"
)

// amqpPublisher is the publishEngine of queues and exchanges: a connection and
// its one channel.
type amqpPublisher struct {
	to   Target
	cfg  *PublisherConfig
	conn *amqpconn.Conn
	ch   *amqpconn.Channel

	// next is where a message is prepared for the wire, between BeginPublish
	// and EndPublish, which exclude everyone else.
	next amqpconn.Publishing

	mu   sync.Mutex
	sent uint64 // without confirms: published before a settle that came back
}

func (c *Client) amqpPublisher(ctx context.Context, cfg *PublisherConfig) (publishEngine, error) {
	conn, err := c.dialFor(ctx)
	if err != nil {
		return nil, err
	}
	p := &amqpPublisher{to: cfg.To, cfg: cfg, conn: conn}
	if cfg.MaxMessageBytes == 0 {
		cfg.MaxMessageBytes = maxMessageBytes(text(conn.Server().Properties, "version"))
	}
	if err := p.open(ctx); err != nil {
		goodbye(ctx, conn)
		return nil, fmt.Errorf("thump: publisher to %v: %w", cfg.To, public(err))
	}
	return p, nil
}

func (p *amqpPublisher) open(ctx context.Context) error {
	ch, err := p.conn.Channel(ctx)
	if err != nil {
		return err
	}
	p.ch = ch
	if p.cfg.NoConfirms {
		return nil
	}
	return ch.Confirm(ctx, p.cfg.Window, p.cfg.OnOutcomes != nil)
}

func (p *amqpPublisher) publish(ctx context.Context, msgs []Message) (int, error) {
	if err := p.ch.BeginPublish(ctx); err != nil {
		return 0, err
	}
	defer p.ch.EndPublish()
	for i := range msgs {
		if err := p.cfg.checkSize(&msgs[i]); err != nil {
			return i, err
		}
		p.prepare(&msgs[i])
		if ok, err := p.ch.Publish(&p.next); !ok {
			return i, err
		}
	}
	return len(msgs), nil
}

// prepare fills p.next.
func (p *amqpPublisher) prepare(m *Message) {
	next := &p.next
	next.Exchange, next.RoutingKey = m.Exchange, m.RoutingKey
	if next.Exchange == "" {
		next.Exchange = p.to.exchange()
	}
	if next.RoutingKey == "" {
		next.RoutingKey = p.to.routingKey
	}
	next.Mandatory = !p.cfg.DropUnroutable
	setProperties(&next.Properties, &m.Properties)
	next.Body, next.Ref = m.Body, m.Ref
}

func (p *amqpPublisher) settle(ctx context.Context) error {
	if p.cfg.NoConfirms {
		return p.barrier(ctx)
	}
	return p.ch.WaitConfirms(ctx)
}

// barrier makes sure that the broker has read all that was published: a channel
// answers its methods in order, so the answer to a harmless one says so.
func (p *amqpPublisher) barrier(ctx context.Context) error {
	published := p.ch.Totals().Published
	if err := p.ch.Qos(ctx, 0); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = max(p.sent, published)
	return nil
}

func (p *amqpPublisher) sources() []outcomeSource { return []outcomeSource{p} }

func (p *amqpPublisher) outcomes(dst []Outcome) ([]Outcome, error) { return p.ch.Outcomes(dst) }

func (p *amqpPublisher) counts() Counts {
	ended := p.ch.Err() != nil
	n := countsOf(p.ch.Totals())
	if p.cfg.NoConfirms {
		p.mu.Lock()
		n.Sent = p.sent - min(p.sent, n.Returned)
		p.mu.Unlock()
		if ended {
			n.Unknown = n.Published - n.Sent - n.Returned
		}
	}
	n.InFlight = n.Published - n.Confirmed - n.Bad() - n.Sent
	return n
}

func (p *amqpPublisher) takeFirstBad() Outcome     { return p.ch.TakeFirstBad() }
func (p *amqpPublisher) blocked() string           { return p.conn.Blocked() }
func (p *amqpPublisher) done() <-chan struct{}     { return p.ch.Done() }
func (p *amqpPublisher) err() error                { return public(p.ch.Err()) }
func (p *amqpPublisher) close(ctx context.Context) { goodbye(ctx, p.conn) }

func (p *amqpPublisher) updateSecret(ctx context.Context, secret, reason string) error {
	return p.conn.UpdateSecret(ctx, secret, reason)
}

// amqpConsumer is the consumeEngine of queues: a connection and its one channel
// with its one consumer.
type amqpConsumer struct {
	cfg   *ConsumerConfig
	conn  *amqpconn.Conn
	ch    *amqpconn.Channel
	inbox *amqpconn.Inbox
	taken amqpconn.Deliveries // of the last batch
}

func (c *Client) amqpConsumer(ctx context.Context, cfg *ConsumerConfig) (consumeEngine, error) {
	conn, err := c.dialFor(ctx)
	if err != nil {
		return nil, err
	}
	con := &amqpConsumer{cfg: cfg, conn: conn}
	if err := con.open(ctx); err != nil {
		goodbye(ctx, conn)
		return nil, fmt.Errorf("thump: consumer of %v: %w", cfg.From, public(err))
	}
	return con, nil
}

func (c *amqpConsumer) open(ctx context.Context) error {
	ch, err := c.conn.Channel(ctx)
	if err != nil {
		return err
	}
	c.ch = ch
	if !c.cfg.AutoAck {
		if err := ch.Qos(ctx, uint16(c.cfg.Prefetch)); err != nil {
			return err
		}
	}
	c.inbox, err = ch.Consume(ctx, &amqpproto.BasicConsume{
		Queue: c.cfg.From.name, ConsumerTag: c.cfg.Tag, NoAck: c.cfg.AutoAck,
		Exclusive: c.cfg.Exclusive, Arguments: c.cfg.Arguments,
	})
	return err
}

func (c *amqpConsumer) watch(ctx context.Context) (stop func() bool) { return c.inbox.Watch(ctx) }

func (c *amqpConsumer) take(ctx context.Context, b *Batch, limit int) error {
	if err := c.inbox.Take(ctx, &c.taken, limit); err != nil {
		return public(err)
	}
	for i := range c.taken.List {
		d := &c.taken.List[i]
		b.Deliveries = append(b.Deliveries, Delivery{
			Body: d.Body, Exchange: d.Exchange, RoutingKey: d.RoutingKey, Redelivered: d.Redelivered,
			tag: d.Tag, properties: d.Properties, batch: b,
		})
	}
	return nil
}

func (c *amqpConsumer) settle(how settlement, tag uint64, multiple bool) error {
	var err error
	if how == settleAck {
		err = c.ch.Ack(tag, multiple)
	} else {
		err = c.ch.Nack(tag, multiple, how == settleRequeue)
	}
	if err != nil {
		return fmt.Errorf("thump: settling deliveries of %v: too late, they are delivered again if the queue is still there: %w", c.cfg.From, public(err))
	}
	return nil
}

func (c *amqpConsumer) finished(*Batch) {}
func (c *amqpConsumer) partly(*Batch)   {}

func (c *amqpConsumer) stop(ctx context.Context) error {
	if err := c.ch.Cancel(ctx, c.inbox); err != nil {
		return public(err)
	}
	return nil
}

// leave closes the channel: its answer says that the broker has every ack.
func (c *amqpConsumer) leave(ctx context.Context) error {
	if err := c.ch.Close(ctx); err != nil {
		return public(err)
	}
	return nil
}

func (c *amqpConsumer) close(ctx context.Context) { goodbye(ctx, c.conn) }
func (c *amqpConsumer) lost() bool                { return c.ch.Err() != nil }
func (c *amqpConsumer) done() <-chan struct{}     { return c.inbox.Done() }
func (c *amqpConsumer) err() error                { return public(c.inbox.Err()) }

func (c *amqpConsumer) unknown(n int) string {
	if c.cfg.AutoAck {
		return "deliveries that were on their way are lost (AutoAck)"
	}
	return fmt.Sprintf("%d deliveries were not settled: they, and perhaps the last that were, are delivered again if the queue is still there", n)
}

func (c *amqpConsumer) updateSecret(ctx context.Context, secret, reason string) error {
	return c.conn.UpdateSecret(ctx, secret, reason)
}
