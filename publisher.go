package thump

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

const (
	windowDefault = 10000
	windowMost    = 1 << 20 // a slot is 40 bytes
)

// PublisherConfig says where and how to publish.
type PublisherConfig struct {
	To Target

	// Window is how many messages may be in flight: published, and their
	// outcome not known or not yet handed over. Publish waits for room in it.
	// Default 10000, for a stream 100000; at most 1048576. Of a stream's, no more
	// than 8 MiB are in flight, however many: the broker may store all of it as
	// one chunk, and each consumer holds several.
	Window int

	// NoConfirms turns publisher confirms off: nothing is known of a message
	// but that the broker has read it (after a Flush), or that it came back. A
	// stream always confirms.
	NoConfirms bool

	// DropUnroutable publishes without the mandatory flag: a message that no
	// queue wants is then confirmed and dropped by the broker. By default it is
	// Returned. It is for queues and exchanges.
	DropUnroutable bool

	// MaxMessageBytes is the largest body that Publish accepts; default: what
	// the broker's version accepts when nobody configured it, 128 MiB before
	// RabbitMQ 4.0 and 16 MiB since; for a stream, what fits a frame, which the
	// broker limits to 1 MiB unless it is configured otherwise.
	MaxMessageBytes int

	// OnOutcomes, where set, is called with the outcomes of messages, many at a
	// time, in the order in which they became known, from a goroutine of the
	// publisher, one call at a time. The slice is valid until it returns. While it runs the window
	// fills: it must not call this publisher's Publish, Flush or Close. Without
	// confirms there are no outcomes and it is not called: Counts has the number
	// of messages Returned.
	OnOutcomes func([]Outcome)

	// Stream is for a stream or super stream, and has to be zero for others.
	Stream StreamPublishing
}

// Publisher publishes messages on a connection of its own. It is safe for
// concurrent use; the messages of one call are sent in order.
//
// It ends with its connection: every message in flight is then Unknown, and
// every method says so with an *OutcomeError.
type Publisher struct {
	client *Client
	cfg    PublisherConfig
	engine publishEngine

	outcomes sync.WaitGroup // the goroutines that call OnOutcomes
	handing  sync.Mutex     // held during the call

	mu       sync.Mutex
	handled  uint64 // outcomes that OnOutcomes has returned from
	progress sync.Cond
	told     Counts // as of the last Flush
}

// Publisher opens a connection and makes a publisher on it, for a super stream
// one for each partition. It does not declare its target; a stream has to be
// there.
func (c *Client) Publisher(ctx context.Context, cfg PublisherConfig) (*Publisher, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	p := &Publisher{client: c, cfg: cfg}
	p.progress.L = &p.mu
	var err error
	switch cfg.To.kind {
	case targetStream:
		p.engine, err = c.streamPublisher(ctx, &p.cfg, cfg.To.name)
	case targetSuperStream:
		p.engine, err = c.superPublisher(ctx, &p.cfg)
	default:
		p.engine, err = c.amqpPublisher(ctx, &p.cfg)
	}
	if err != nil {
		return nil, err
	}
	if err := c.join(p); err != nil {
		p.engine.close(ctx)
		return nil, err
	}
	if cfg.OnOutcomes != nil && !cfg.NoConfirms {
		for _, source := range p.engine.sources() {
			p.outcomes.Go(func() { p.handOutcomes(source) })
		}
	}
	return p, nil
}

func (cfg *PublisherConfig) validate() error {
	var faults []error
	if cfg.Window == 0 {
		cfg.Window = windowDefault
		if cfg.To.streams() {
			cfg.Window = streamWindowDefault
		}
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
	if cfg.To.streams() && cfg.To.name == "" {
		faults = append(faults, errors.New("thump: PublisherConfig.To has no name"))
	}
	if cfg.To.streams() && cfg.NoConfirms {
		faults = append(faults, errors.New("thump: PublisherConfig.NoConfirms: a stream always confirms"))
	}
	if cfg.To.streams() && cfg.DropUnroutable {
		faults = append(faults, errors.New("thump: PublisherConfig.DropUnroutable: a stream has no routing"))
	}
	return errors.Join(append(faults, cfg.Stream.validate(cfg.To)...)...)
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

// checkSize refuses a message that is larger than the publisher accepts.
func (cfg *PublisherConfig) checkSize(m *Message) error {
	if len(m.Body) > cfg.MaxMessageBytes {
		return fmt.Errorf("a body of %d bytes is over the limit of %d (MaxMessageBytes)", len(m.Body), cfg.MaxMessageBytes)
	}
	return nil
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
		n, err := p.engine.publish(ctx, msgs[accepted:])
		accepted += n
		if err != nil {
			return accepted, p.explain(err)
		}
	}
	return accepted, nil
}

// explain says what is known of the messages in flight when the publisher has
// ended; any other error only needs to say who speaks.
func (p *Publisher) explain(err error) error {
	if ended := p.engine.err(); ended != nil {
		return p.problem(Counts{}, ended)
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
		InFlight:  now.InFlight,
		First:     p.engine.takeFirstBad(),
		Err:       why,
	}
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
	ended := p.engine.err()
	if ended != nil || now.Bad() > since.Bad() {
		return p.problem(since, ended)
	}
	return nil
}

// wait is the waiting of Flush.
func (p *Publisher) wait(ctx context.Context) error {
	if err := p.engine.settle(ctx); err != nil {
		return err
	}
	if p.cfg.OnOutcomes == nil || p.cfg.NoConfirms {
		return nil
	}
	n := p.engine.counts()
	known := n.Confirmed + n.Bad()
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

// handOutcomes calls OnOutcomes until the source has ended and every outcome of
// it was handed over.
func (p *Publisher) handOutcomes(source outcomeSource) {
	var outcomes []Outcome
	var err error
	for {
		outcomes, err = source.outcomes(outcomes)
		if err != nil {
			return
		}
		p.handing.Lock()
		p.cfg.OnOutcomes(outcomes)
		p.handing.Unlock()
		p.mu.Lock()
		p.handled += uint64(len(outcomes))
		p.progress.Broadcast()
		p.mu.Unlock()
	}
}

// Close flushes, then closes the connection. When ctx ends first the connection
// is dropped and what was in flight is Unknown. Close returns what Flush would;
// after it, every method says ErrClosed.
func (p *Publisher) Close(ctx context.Context) error {
	if errors.Is(p.engine.err(), ErrClosed) {
		return nil
	}
	err := p.Flush(ctx)
	p.engine.close(ctx)
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
func (p *Publisher) Counts() Counts { return p.engine.counts() }

// countsOf makes Counts of the totals of a connection, with confirms.
func countsOf(t outcomeTotals) Counts {
	n := Counts{
		Published: t.Published, Confirmed: t.Confirmed, Rejected: t.Rejected,
		Returned: t.Returned, Unknown: t.Unknown,
	}
	n.InFlight = n.Published - n.Confirmed - n.Bad()
	return n
}

// Blocked returns the broker's reason while it blocks this publisher
// (connection.blocked: a memory or disk alarm), else "". Over the stream
// protocol the broker does not say.
func (p *Publisher) Blocked() string { return p.engine.blocked() }

// Done is closed when the publisher has ended, by Close or by a failure.
func (p *Publisher) Done() <-chan struct{} { return p.engine.done() }

// Err is nil until Done is closed, then why: ErrClosed after Close.
func (p *Publisher) Err() error { return p.engine.err() }

// LastPublishingID is, for a stream's publisher with a Name, the highest
// publishing id that it has used, or that the stream knew of the name when the
// publisher was made: a program that goes on after a restart begins behind it.
// It is 0 for a super stream, each partition of which counts by itself.
func (p *Publisher) LastPublishingID() uint64 {
	if s, ok := p.engine.(*streamPublisher); ok {
		return s.pub.LastID()
	}
	return 0
}

// Bytes returns how many bytes the bodies had that a stream's publisher has
// sent, and how many the frames around them, compressed where that was asked
// for. It is 0 for queues.
func (p *Publisher) Bytes() (bodies, wire uint64) {
	if s, ok := p.engine.(interface{ bytes() (bodies, wire uint64) }); ok {
		return s.bytes()
	}
	return 0, 0
}

func (p *Publisher) updateSecret(ctx context.Context, secret, reason string) error {
	return p.engine.updateSecret(ctx, secret, reason)
}
