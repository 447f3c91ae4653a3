package thump

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/thumpmq/thump/internal/amqpconn"
)

const (
	windowDefault = 10000
	windowMost    = 1 << 20 // a slot is 40 bytes
)

// Target is where a publisher publishes to and a consumer consumes from.
type Target struct {
	queue, exchange, routingKey string
}

// Queue is the queue called name: published to through the default exchange,
// or consumed from.
func Queue(name string) Target { return Target{queue: name, routingKey: name} }

// Exchange is the exchange called name, with the routing key for messages that
// name none. It can be published to, not consumed from.
func Exchange(name, routingKey string) Target {
	return Target{exchange: name, routingKey: routingKey}
}

// String names the target for errors and settings: `queue "hello"`.
func (t Target) String() string {
	if t.queue != "" {
		return fmt.Sprintf("queue %q", t.queue)
	}
	return fmt.Sprintf("exchange %q", t.exchange)
}

// PublisherConfig says where and how to publish.
type PublisherConfig struct {
	To Target

	// Window is how many messages may be in flight: published, and their
	// outcome not known or not yet handed over. Publish waits for room in it.
	// Default 10000, at most 1048576.
	Window int

	// NoConfirms turns publisher confirms off: nothing is known of a message
	// but that the broker has read it (after a Flush), or that it came back.
	NoConfirms bool

	// DropUnroutable publishes without the mandatory flag: a message that no
	// queue wants is then confirmed and dropped by the broker. By default it is
	// Returned.
	DropUnroutable bool

	// MaxMessageBytes is the largest body that Publish accepts; default: what
	// the broker's version accepts when nobody configured it, 128 MiB before
	// RabbitMQ 4.0 and 16 MiB since.
	MaxMessageBytes int

	// OnOutcomes, where set, is called with the outcomes of messages, many at a
	// time, in the order in which they became known, from one goroutine of the
	// publisher. The slice is valid until it returns. While it runs the window
	// fills: it must not call this publisher's Publish, Flush or Close. Without
	// confirms there are no outcomes and it is not called: Counts has the number
	// of messages Returned.
	OnOutcomes func([]Outcome)
}

// Publisher publishes messages on a connection of its own. It is safe for
// concurrent use; the messages of one call are sent in order.
//
// It ends with its connection: every message in flight is then Unknown, and
// every method says so with an *OutcomeError.
type Publisher struct {
	client *Client
	cfg    PublisherConfig
	conn   *amqpconn.Conn
	ch     *amqpconn.Channel

	// next is where a message is prepared for the wire, between BeginPublish
	// and EndPublish, which exclude everyone else.
	next amqpconn.Publishing

	outcomes sync.WaitGroup // the goroutine that calls OnOutcomes

	mu       sync.Mutex
	handled  uint64 // outcomes that OnOutcomes has returned from
	progress sync.Cond
	told     Counts // as of the last Flush
	sent     uint64 // without confirms: published before a Flush that came back
}

// Publisher opens a connection and makes a publisher on it. It does not declare
// its target.
func (c *Client) Publisher(ctx context.Context, cfg PublisherConfig) (*Publisher, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	conn, err := c.dialFor(ctx)
	if err != nil {
		return nil, err
	}
	p := &Publisher{client: c, cfg: cfg, conn: conn}
	p.progress.L = &p.mu
	if p.cfg.MaxMessageBytes == 0 {
		p.cfg.MaxMessageBytes = maxMessageBytes(text(conn.Server().Properties, "version"))
	}
	if err := p.open(ctx); err != nil {
		goodbye(ctx, conn)
		return nil, fmt.Errorf("thump: publisher to %v: %w", cfg.To, public(err))
	}
	if err := c.join(p); err != nil {
		goodbye(ctx, conn)
		return nil, err
	}
	if cfg.OnOutcomes != nil && !cfg.NoConfirms {
		p.outcomes.Go(p.handOutcomes)
	}
	return p, nil
}

func (cfg *PublisherConfig) validate() error {
	var faults []error
	if cfg.Window == 0 {
		cfg.Window = windowDefault
	}
	if cfg.Window < 1 || cfg.Window > windowMost {
		faults = append(faults, fmt.Errorf("thump: PublisherConfig.Window is %d, not between 1 and %d", cfg.Window, windowMost))
	}
	if cfg.MaxMessageBytes < 0 {
		faults = append(faults, fmt.Errorf("thump: PublisherConfig.MaxMessageBytes is %d", cfg.MaxMessageBytes))
	}
	if cfg.To == (Target{}) {
		faults = append(faults, errors.New("thump: PublisherConfig.To is empty"))
	}
	return errors.Join(faults...)
}

// maxMessageBytes is the default of max_message_size by version
// (rabbit/Makefile: 134217728, and since 4.0 16777216).
func maxMessageBytes(version string) int {
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err == nil && n < 4 {
		return 128 << 20
	}
	return 16 << 20
}

func (p *Publisher) open(ctx context.Context) error {
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

// Publish puts messages into the window and returns, without waiting for their
// outcomes; it waits only for room in the window, for the broker to lift an
// alarm (connection.blocked), and for a full socket. It returns how many of
// msgs were accepted: each of those gets an outcome, the others were not sent.
//
// A message that cannot be sent (body over MaxMessageBytes, properties larger
// than a frame, a name over 255 bytes) is refused before anything of it leaves,
// with an error that names the size; those before it in msgs are accepted.
func (p *Publisher) Publish(ctx context.Context, msgs ...Message) (int, error) {
	accepted := 0
	for accepted < len(msgs) {
		n, err := p.publishSome(ctx, msgs[accepted:])
		accepted += n
		if err != nil {
			return accepted, p.explain(err)
		}
	}
	return accepted, nil
}

// publishSome publishes what there is room for, at least one message.
func (p *Publisher) publishSome(ctx context.Context, msgs []Message) (int, error) {
	if err := p.ch.BeginPublish(ctx); err != nil {
		return 0, err
	}
	defer p.ch.EndPublish()
	for i := range msgs {
		if len(msgs[i].Body) > p.cfg.MaxMessageBytes {
			return i, fmt.Errorf("a body of %d bytes is over the limit of %d (MaxMessageBytes)",
				len(msgs[i].Body), p.cfg.MaxMessageBytes)
		}
		p.prepare(&msgs[i])
		if ok, err := p.ch.Publish(&p.next); !ok {
			return i, err
		}
	}
	return len(msgs), nil
}

// prepare fills p.next.
func (p *Publisher) prepare(m *Message) {
	next := &p.next
	next.Exchange, next.RoutingKey = m.Exchange, m.RoutingKey
	if next.Exchange == "" {
		next.Exchange = p.cfg.To.exchange
	}
	if next.RoutingKey == "" {
		next.RoutingKey = p.cfg.To.routingKey
	}
	next.Mandatory = !p.cfg.DropUnroutable
	setProperties(&next.Properties, &m.Properties)
	next.Body, next.Ref = m.Body, m.Ref
}

// explain says what is known of the messages in flight when the publisher has
// ended; any other error only needs to say who speaks.
func (p *Publisher) explain(err error) error {
	if ended := p.ch.Err(); ended != nil {
		return p.problem(Counts{}, public(ended))
	}
	return fmt.Errorf("thump: publishing to %v: %w", p.cfg.To, err)
}

// problem makes the error for the messages since the counts in since.
func (p *Publisher) problem(since Counts, why error) error {
	now := p.Counts()
	return &OutcomeError{
		Target:    p.cfg.To.String(),
		Published: now.Published - since.Published,
		Rejected:  now.Rejected - since.Rejected,
		Returned:  now.Returned - since.Returned,
		Unknown:   now.Unknown - since.Unknown,
		First:     outcome(p.ch.TakeFirstBad()),
		Err:       why,
	}
}

func outcome(o amqpconn.Outcome) Outcome {
	return Outcome{Ref: o.Ref, Status: Status(o.Status), Code: o.Code, Text: o.Text}
}

// Flush waits until every message accepted so far has its outcome, and
// OnOutcomes has returned from it. It returns nil if all since the last Flush
// were confirmed, else an *OutcomeError that counts the others. Without
// confirms it waits until the broker has read them all.
func (p *Publisher) Flush(ctx context.Context) error {
	if err := p.wait(ctx); err != nil {
		return p.explain(err)
	}
	now := p.Counts()
	p.mu.Lock()
	since := p.told
	p.told = now
	p.mu.Unlock()
	ended := p.ch.Err()
	if ended != nil || now.Bad() > since.Bad() {
		return p.problem(since, public(ended))
	}
	return nil
}

// wait is the waiting of Flush.
func (p *Publisher) wait(ctx context.Context) error {
	if p.cfg.NoConfirms {
		return p.barrier(ctx)
	}
	if err := p.ch.WaitConfirms(ctx); err != nil {
		return err
	}
	if p.cfg.OnOutcomes == nil {
		return nil
	}
	totals := p.ch.Totals()
	known := totals.Confirmed + totals.Rejected + totals.Returned + totals.Unknown
	stop := context.AfterFunc(ctx, func() {
		p.mu.Lock()
		p.progress.Broadcast()
		p.mu.Unlock()
	})
	defer stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.handled < known {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.progress.Wait()
	}
	return nil
}

// barrier makes sure that the broker has read all that was published: a channel
// answers its methods in order, so the answer to a harmless one says so.
func (p *Publisher) barrier(ctx context.Context) error {
	published := p.ch.Totals().Published
	if err := p.ch.Qos(ctx, 0); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = max(p.sent, published)
	return nil
}

// handOutcomes calls OnOutcomes until the channel has ended and every outcome
// was handed over.
func (p *Publisher) handOutcomes() {
	var taken []amqpconn.Outcome
	var outcomes []Outcome
	var err error
	for {
		taken, err = p.ch.Outcomes(taken)
		if err != nil {
			return
		}
		outcomes = outcomes[:0]
		for _, o := range taken {
			outcomes = append(outcomes, outcome(o))
		}
		p.cfg.OnOutcomes(outcomes)
		p.mu.Lock()
		p.handled += uint64(len(taken))
		p.progress.Broadcast()
		p.mu.Unlock()
	}
}

// Close flushes, then closes the connection. When ctx ends first the connection
// is dropped and what was in flight is Unknown. Close returns what Flush would;
// after it, every method says ErrClosed.
func (p *Publisher) Close(ctx context.Context) error {
	if errors.Is(p.ch.Err(), amqpconn.ErrClosed) {
		return nil
	}
	err := p.Flush(ctx)
	goodbye(ctx, p.conn)
	p.outcomes.Wait()
	p.client.leave(p)
	if ctx.Err() != nil && err != nil {
		// Dropped: by now every message has its outcome, Unknown at worst.
		p.mu.Lock()
		since := p.told
		p.mu.Unlock()
		return p.problem(since, ctx.Err())
	}
	return err
}

// Counts returns the totals so far.
func (p *Publisher) Counts() Counts {
	ended := p.ch.Err() != nil
	t := p.ch.Totals()
	n := Counts{
		Published: t.Published, Confirmed: t.Confirmed, Rejected: t.Rejected,
		Returned: t.Returned, Unknown: t.Unknown,
	}
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

// Blocked returns the broker's reason while it blocks this publisher
// (connection.blocked: a memory or disk alarm), else "".
func (p *Publisher) Blocked() string { return p.conn.Blocked() }

// Done is closed when the publisher has ended, by Close or by a failure.
func (p *Publisher) Done() <-chan struct{} { return p.ch.Done() }

// Err is nil until Done is closed, then why: ErrClosed after Close.
func (p *Publisher) Err() error { return public(p.ch.Err()) }

func (p *Publisher) updateSecret(ctx context.Context, secret, reason string) error {
	return p.conn.UpdateSecret(ctx, secret, reason)
}
