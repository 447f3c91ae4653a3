package thump

import (
	"context"
	"errors"
	"fmt"

	"github.com/thumpmq/thump/internal/streamconn"
	"github.com/thumpmq/thump/internal/streamproto"
)

// streamPublisher is the publishEngine of a stream: a connection to its leader
// with its one publisher.
type streamPublisher struct {
	cfg  *PublisherConfig
	conn *streamconn.Conn
	pub  *streamconn.Publisher

	before313 bool // the broker keeps some properties elsewhere

	// Where a message with properties is put together, between Begin and End,
	// which exclude everyone else.
	sections streamproto.Message
	encoded  []byte
}

func (c *Client) streamPublisher(ctx context.Context, cfg *PublisherConfig, stream string) (*streamPublisher, error) {
	p := &streamPublisher{cfg: cfg}
	if err := p.openOn(ctx, c, stream); err != nil {
		return nil, fmt.Errorf("thump: publisher to stream %q: %w", stream, public(err))
	}
	return p, nil
}

// openOn connects and declares the publisher.
func (p *streamPublisher) openOn(ctx context.Context, c *Client, stream string) error {
	if err := c.open(); err != nil {
		return err
	}
	conn, err := c.dialLeader(ctx, stream)
	if err != nil {
		return err
	}
	p.conn, p.before313 = conn, !conn.Server().AtLeast(3, 13)
	cfg := p.cfg
	if cfg.MaxMessageBytes == 0 {
		// What does not fit is refused by its whole size, sections included.
		cfg.MaxMessageBytes = int(conn.Server().FrameMax)
	}
	p.pub, err = conn.Publisher(ctx, streamconn.PublisherConfig{
		Stream: stream, Reference: cfg.Stream.Name, Window: cfg.Window, Collect: cfg.OnOutcomes != nil,
		SubEntry: cfg.Stream.SubEntry, Compression: cfg.Stream.Compression, Filtered: cfg.Stream.Filtered,
	})
	if err == nil {
		return nil
	}
	goodbye(ctx, conn)
	if refused, ok := errors.AsType[*streamconn.ServerError](err); ok && refused.Code == streamproto.CodePreconditionFailed {
		// It does not say why: this is what it says while it has no room.
		err = fmt.Errorf("%w (most likely a disk alarm: the broker takes nothing more until it has room)", err)
	}
	return err
}

func (p *streamPublisher) publish(ctx context.Context, msgs []Message) (int, error) {
	if err := p.pub.Begin(ctx); err != nil {
		return 0, err
	}
	defer p.pub.End()
	for i := range msgs {
		if ok, err := p.publishOne(&msgs[i]); !ok {
			return i, err
		}
	}
	return len(msgs), nil
}

// publishOne encodes one message, between Begin and End. It reports false where
// there is no more room, and with an error where the message can't be sent.
func (p *streamPublisher) publishOne(m *Message) (bool, error) {
	if err := p.check(m); err != nil {
		return false, err
	}
	if m.Properties.empty() && !p.cfg.Stream.Filtered {
		return p.pub.Publish(m.Ref, m.PublishingID, m.Body)
	}
	p.sections = streamproto.Message{Body: m.Body}
	if err := streamSections(&p.sections, &m.Properties, p.before313); err != nil {
		return false, err
	}
	encoded, err := streamproto.AppendMessage(p.encoded[:0], &p.sections)
	if err != nil {
		return false, err
	}
	p.encoded = encoded
	return p.pub.PublishMessage(m.Ref, m.PublishingID, encoded, m.FilterValue, len(m.Body))
}

// check refuses what can't be sent to a stream.
func (p *streamPublisher) check(m *Message) error {
	switch {
	case len(m.Body) > p.cfg.MaxMessageBytes:
		return p.cfg.checkSize(m)
	case m.Exchange != "":
		return fmt.Errorf("the message names exchange %q, and a stream has none", m.Exchange)
	case m.PublishingID != 0 && p.cfg.Stream.Name == "":
		return errors.New("the message has a PublishingID, and the publisher no Stream.Name to remember it by")
	case len(m.FilterValue) > referenceMost:
		return fmt.Errorf("the message's FilterValue is %d bytes long, at most %d are allowed", len(m.FilterValue), referenceMost)
	case m.FilterValue != "" && !p.cfg.Stream.Filtered:
		return errors.New("the message has a FilterValue, and the publisher is not Stream.Filtered")
	default:
		return nil
	}
}

func (p *streamPublisher) settle(ctx context.Context) error { return p.pub.WaitConfirms(ctx) }

func (p *streamPublisher) sources() []outcomeSource { return []outcomeSource{p} }

func (p *streamPublisher) outcomes(dst []Outcome) ([]Outcome, error) { return p.pub.Outcomes(dst) }

func (p *streamPublisher) counts() Counts               { return countsOf(p.pub.Totals()) }
func (p *streamPublisher) takeFirstBad() Outcome        { return p.pub.TakeFirstBad() }
func (p *streamPublisher) blocked() string              { return "" }
func (p *streamPublisher) done() <-chan struct{}        { return p.pub.Done() }
func (p *streamPublisher) err() error                   { return public(p.pub.Err()) }
func (p *streamPublisher) close(ctx context.Context)    { goodbye(ctx, p.conn) }
func (p *streamPublisher) bytes() (bodies, wire uint64) { return p.pub.Bytes() }

func (p *streamPublisher) updateSecret(ctx context.Context, secret, _ string) error {
	return p.conn.UpdateSecret(ctx, secret)
}
