package thump

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/window"
)

// streamWindowBytes bounds what a publisher to streams has in flight beside the
// number of messages: it may all become one chunk of a stream, and each consumer
// holds several.
const streamWindowBytes = 8 << 20

// streamPublisher is the publishEngine of a stream: a connection to its leader with its one
// publisher, and after that is lost another one.
type streamPublisher struct {
	client  *Client
	cfg     *PublisherConfig
	stream  string
	backlog *streamconn.Backlog

	recovery recoverer // run's
	outage   atomic.Pointer[outage]
	stop     context.CancelFunc // ends run
	stopped  chan struct{}      // run has ended

	mu   sync.Mutex
	conn *streamconn.Conn // the last one

	// Between Begin and End, which exclude everyone else: what the rules are, for whom they
	// were made, the messages that are encoded together, and where one with properties is
	// put together.
	rules    messageRules
	ruled    *streamconn.Publisher
	bodies   [][]byte
	tags     []window.Tag
	sections amqp10.Message
	encoded  []byte
	body     []byte
}

// streamPublisher publishes messages of w to a stream, and calls ended when that ends,
// with a connection's lock held.
func (c *Client) streamPublisher(ctx context.Context, cfg *PublisherConfig, stream string, w *window.Window, ended func(why error)) (*streamPublisher, error) {
	of := fmt.Sprintf("publisher to stream %q", stream)
	p := &streamPublisher{
		client: c, cfg: cfg, stream: stream, recovery: recoverer{client: c, of: of}, stopped: make(chan struct{}),
		backlog: streamconn.NewBacklog(streamconn.PublisherConfig{
			Stream: stream, Reference: cfg.Stream.Name, Window: w, Ended: ended,
			SubEntry: cfg.Stream.SubEntry, Compression: compress.Codec(cfg.Stream.Compression), Filtered: cfg.Stream.Filtered,
			Keep: !c.cfg.Recovery.Off, Forget: cfg.Resend == ResendNever,
		}),
	}
	err := c.checkOpen()
	var first *streamconn.Publisher
	if err == nil {
		first, err = p.open(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("thump: %s: %w", of, err)
	}
	life, stop := context.WithCancel(context.Background())
	p.stop = stop
	go p.run(life, first) //nolint:contextcheck // it lives longer than this call
	return p, nil
}

// open connects to the leader, and declares a publisher that goes on with the backlog.
func (p *streamPublisher) open(ctx context.Context) (*streamconn.Publisher, error) {
	generation := p.client.secrets.now()
	asking, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	conn, err := p.client.dialLeader(asking, p.stream)
	if err != nil {
		return nil, toPublic(err)
	}
	p.mu.Lock()
	p.conn = conn // from now on updateSecret knows it
	p.mu.Unlock()
	err = p.client.secrets.catchUp(generation, func(secret string) error { return conn.UpdateSecret(ctx, secret) })
	if err == nil {
		var publisher *streamconn.Publisher
		if publisher, err = conn.Publisher(ctx, p.backlog); err == nil {
			return publisher, nil
		}
	}
	goodbye(ctx, conn)
	if refused, ok := errors.AsType[*streamconn.ServerError](err); ok && refused.Code == streamproto.CodePreconditionFailed {
		// It does not say why: this is what it says while it has no room.
		err = fmt.Errorf("%w (most likely a disk alarm: the broker takes nothing more until it has room)", err)
	}
	return nil, toPublic(err)
}

// run brings the publisher back each time that it has lost its connection, until life ends.
func (p *streamPublisher) run(life context.Context, current *streamconn.Publisher) {
	defer close(p.stopped)
	var leaving sync.WaitGroup
	defer leaving.Wait()
	for {
		select {
		case <-life.Done():
			return
		case <-current.Done():
		case <-p.backlog.Done():
		}
		if p.backlog.Err() != nil {
			return
		}
		o := newOutage(toPublic(current.Err()), p.backlog.InFlight())
		p.outage.Store(o)
		lost := p.connection()
		leaving.Go(func() { goodbye(life, lost) }) // where only the stream went away it is still there
		err := p.recovery.run(life, o, func(ctx context.Context) (int, error) {
			next, err := p.open(ctx)
			if err != nil {
				return 0, err
			}
			p.recovery.reconnects.Add(1)
			current = next
			return next.Resent(), nil
		})
		if err != nil {
			p.backlog.End(err)
		}
		p.outage.Store(nil)
		close(o.over)
	}
}

// connection is the last one that there was.
func (p *streamPublisher) connection() *streamconn.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conn
}

func (p *streamPublisher) publish(ctx context.Context, msgs []Message, watches watches) (int, error) {
	to, err := p.backlog.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer to.End()
	if to != p.ruled {
		p.ruled, p.rules = to, p.rulesOf(to.Server())
	}
	for i := 0; i < len(msgs); {
		n, err := p.publishBodies(to, msgs[i:], watches.from(i))
		i += n
		switch {
		case err != nil:
			return i, err
		case n > 0:
			continue
		}
		tag := window.Tag{Ref: msgs[i].Ref, Watch: watches.of(i, &msgs[i])}
		if ok, err := p.publishOne(to, &msgs[i], tag); !ok {
			return i, err
		}
		i++
	}
	return len(msgs), nil
}

// publishBodies publishes the messages from the first on that are bodies and nothing else, as
// nearly all are, up to gatherMost of them together. It returns how many: none where the first
// is another one, or there is no room.
func (p *streamPublisher) publishBodies(to *streamconn.Publisher, msgs []Message, watches watches) (int, error) {
	if p.cfg.Stream.Filtered {
		return 0, nil
	}
	msgs = msgs[:min(len(msgs), gatherMost)]
	bodies, limit, tagged := p.bodies[:0], p.rules.limit, watches != nil
	for i := range msgs {
		m := &msgs[i]
		if !m.bare() || len(m.Body) > limit {
			break
		}
		bodies = append(bodies, m.Body)
		tagged = tagged || m.Ref != 0 || m.Done != nil
	}
	var tags []window.Tag
	if tagged {
		tags = p.tags[:0]
		for i := range msgs[:len(bodies)] {
			tag := window.Tag{Ref: msgs[i].Ref}
			if watches != nil || msgs[i].Done != nil {
				tag.Watch = watches.of(i, &msgs[i])
			}
			tags = append(tags, tag)
		}
		p.tags = tags
	}
	n, err := to.PublishBodies(bodies, tags)
	clear(bodies)
	clear(tags)
	p.bodies = bodies
	return n, err
}

// gatherMost is how many messages are encoded together at most: so few that they are still
// near when they are.
const gatherMost = 256

// bare reports whether a message to a stream is a body and nothing else.
func (m *Message) bare() bool {
	return m.Properties == nil && m.PublishingID == 0 && len(m.Exchange)|len(m.FilterValue) == 0
}

// rulesOf are the rules for messages to that broker.
func (p *streamPublisher) rulesOf(server *streamconn.Server) messageRules {
	rules := messageRules{
		limit: p.cfg.MaxMessageBytes, stream: &p.cfg.Stream,
		before313: !server.AtLeast(3, 13), addresses: server.AtLeast(4, 2),
	}
	if rules.limit == 0 {
		// What does not fit is refused by its whole size, sections included.
		rules.limit = int(server.FrameMax)
	}
	return rules
}

// publishOne encodes one message, between Begin and End. It reports false where
// there is no more room, and with an error where the message can't be sent.
func (p *streamPublisher) publishOne(to *streamconn.Publisher, m *Message, tag window.Tag) (bool, error) {
	if err := p.rules.check(m); err != nil {
		return false, err
	}
	if m.Properties.empty() && !p.cfg.Stream.Filtered {
		return to.Publish(tag, m.PublishingID, m.Body)
	}
	p.sections = amqp10.Message{Body: m.Body}
	if m.Properties != nil {
		if m.Properties.Format == FormatRaw {
			return to.PublishMessage(tag, m.PublishingID, m.Body, m.FilterValue, len(m.Body))
		}
		p.rules.setSections(&p.sections, m.Properties)
		if m.Properties.Format != FormatData {
			p.body = amqp10.AppendBody(p.body[:0], m.Properties.Format.kind(), m.Body)
			p.sections.Body, p.sections.BodyEncoded = p.body, true
		}
	}
	encoded, err := amqp10.AppendMessage(p.encoded[:0], &p.sections)
	if err != nil {
		return false, err
	}
	p.encoded = encoded
	return to.PublishMessage(tag, m.PublishingID, encoded, m.FilterValue, len(m.Body))
}

// barrier has nothing to wait for: a stream always confirms.
func (p *streamPublisher) barrier(context.Context) error { return nil }

func (p *streamPublisher) blocked() string       { return "" }
func (p *streamPublisher) done() <-chan struct{} { return p.backlog.Done() }
func (p *streamPublisher) err() error            { return toPublic(p.backlog.Err()) }

func (p *streamPublisher) away(err error) error {
	if o := p.outage.Load(); o != nil {
		return o.err(err)
	}
	return err
}

func (p *streamPublisher) reconnects() uint64 { return p.recovery.reconnects.Load() }

func (p *streamPublisher) bytes() (bodies, wire uint64) { return p.backlog.Publisher().Bytes() }

func (p *streamPublisher) updateSecret(ctx context.Context, secret, _ string) error {
	conn := p.connection()
	return handOver(conn, func() error { return conn.UpdateSecret(ctx, secret) })
}

func (p *streamPublisher) close(ctx context.Context) {
	p.stop()
	<-p.stopped
	goodbye(ctx, p.connection())
	p.backlog.End(ErrClosed)
}
