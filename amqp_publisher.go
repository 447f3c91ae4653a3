package thump

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/thumpmq/thump/internal/amqp10"
	"github.com/thumpmq/thump/internal/amqpconn"
	"github.com/thumpmq/thump/internal/version"
	"github.com/thumpmq/thump/internal/window"
)

// amqpPublisher is the publishEngine of queues and exchanges: a channel on a connection of
// the client's pool, and after that is lost another. While there is none, messages wait in
// the window.
//
// It has a link (link), or an outage (outage), until it has ended (why). lose goes from the
// first to the second, use back, and finish to the third.
type amqpPublisher struct {
	client    *Client
	to        Target
	cfg       *PublisherConfig
	declares  *declaration // nil where the topology is somebody else's
	window    *window.Window
	recoverer recoverer

	// life ends with close, and the coming back with it.
	life context.Context
	end  context.CancelFunc

	link    atomic.Pointer[publishLink] // nil while there is none; changes with the window locked
	opening atomic.Pointer[publishLink] // the one on which messages are sent again

	mu     sync.Mutex
	last   *publishLink // the last one that there was; never nil
	outage *outage      // nil while there is a link
	why    error        // why it ended
	ended  chan struct{}
	coming bool           // comeBack is at work
	closed bool           // it is not to begin any more
	back   sync.WaitGroup // comeBack, and what it has started

	// With the window locked.
	*preparation        // nil until there is a message
	bodies       uint64 // bytes so far
}

// preparation is where a message is prepared for the wire.
type preparation struct {
	next       amqpconn.Message
	properties propertyWriter
	body       []byte // sections
	encoded    []byte // a message that no connection takes yet
}

// publishLink is one connection of a publisher, and what holds for it.
type publishLink struct {
	conn  *lease
	ch    *amqpconn.Channel
	rules messageRules
}

func (c *Client) amqpPublisher(ctx context.Context, cfg *PublisherConfig, w *window.Window) (publishEngine, error) {
	if err := c.checkOpen(); err != nil {
		return nil, withPrefix(err)
	}
	p := &amqpPublisher{
		client: c, to: cfg.To, cfg: cfg, window: w, recoverer: recoverer{client: c, of: "publisher to " + cfg.To.String()},
		ended: make(chan struct{}),
	}
	var err error
	if p.declares, err = c.declaration("PublisherConfig", cfg.Declare, cfg.Bind); err != nil {
		return nil, withPrefix(mistake(err))
	}
	p.life, p.end = context.WithCancel(context.WithoutCancel(ctx))
	if _, err := p.open(ctx); err != nil {
		p.end()
		return nil, withPrefix(err)
	}
	return p, nil
}

// open makes a connection, sends on it what is in flight, and lets new messages follow. It
// returns how many were sent again.
func (p *amqpPublisher) open(ctx context.Context) (resent int, err error) {
	_, last, _ := p.state()
	conn, err := p.client.publishing.get(ctx, p.to.String(), last != nil)
	if err != nil {
		return 0, err
	}
	link := &publishLink{conn: conn, rules: p.rules(conn)}
	if resent, err = p.openOn(ctx, link); err != nil {
		conn.leave(ctx, link.ch)
		return 0, fmt.Errorf("publisher to %v: %w", p.to, toPublic(err))
	}
	return resent, nil
}

// state is the outage, if there is one, the last link that there was, if any, and why the
// publisher has ended, if it has.
func (p *amqpPublisher) state() (out *outage, last *publishLink, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.outage, p.last, p.why
}

func (p *amqpPublisher) openOn(ctx context.Context, link *publishLink) (resent int, err error) {
	asking, cancel := context.WithTimeout(ctx, answerTimeout) // sending again may take longer
	defer cancel()
	if link.ch, err = link.conn.Reserve(asking); err != nil {
		return 0, err
	}
	if p.declares != nil {
		if _, err := p.declares.on(asking, link.ch); err != nil {
			return 0, err
		}
	}
	if err := link.ch.Carry(asking, p.window, func(why error) { p.lose(link, why) }); err != nil {
		return 0, err
	}
	p.opening.Store(link)
	defer p.opening.Store(nil)
	// There is a connection: that the broker blocks it, or takes its time, is no outage, and
	// no limit of Recovery ends it.
	return link.ch.SendAgain(p.life, func() { p.use(link) }) //nolint:contextcheck // as said
}

// rules are those of the broker at the other end.
func (p *amqpPublisher) rules(conn *lease) messageRules {
	server := text(conn.Server().Properties, "version")
	r := messageRules{limit: p.cfg.MaxMessageBytes, before4: version.Before(server, 4, 0)}
	if r.limit == 0 {
		r.limit = maxMessageBytes(server)
	}
	if !p.cfg.AnyUserID {
		r.user = conn.User()
	}
	return r
}

// use lets new messages be published on the link. The window is locked.
func (p *amqpPublisher) use(link *publishLink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		p.recoverer.reconnects.Add(1)
	}
	p.last = link
	p.link.Store(link)
	if p.outage != nil {
		close(p.outage.over)
		p.outage = nil
	}
}

// lose is told that a channel has ended, with its connection's lock held. One that was not
// in use yet is open's.
func (p *amqpPublisher) lose(link *publishLink, why error) {
	why = toPublic(why)
	if !p.recoverer.on() || p.life.Err() != nil {
		if p.life.Err() != nil {
			why = ErrClosed
		}
		if p.link.CompareAndSwap(link, nil) {
			p.finish(why)
			p.leave(link)
		}
		return
	}
	p.window.Lock()
	defer p.window.Unlock()
	inFlight := p.window.InFlight()
	if p.cfg.Resend == ResendNever { // also what a link carried that did not come into use
		p.window.AbandonCarried(why.Error())
	}
	if !p.link.CompareAndSwap(link, nil) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outage = newOutage(why, inFlight)
	if !p.coming && !p.closed {
		p.coming = true
		p.back.Go(p.comeBack)
	}
}

// leave gives back the connection of a channel that has ended for good, unless close does it.
func (p *amqpPublisher) leave(link *publishLink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.back.Go(func() { link.conn.leave(p.life, link.ch) })
	}
}

// comeBack makes another link, and after each further loss meanwhile, unless the publisher
// ends.
func (p *amqpPublisher) comeBack() {
	for {
		out, last := p.lost()
		if out == nil {
			return
		}
		p.back.Go(func() { last.conn.leave(p.life, last.ch) }) // where the channel ended alone, the broker is to answer
		if err := p.recoverer.run(p.life, out, p.open); err != nil {
			p.finish(err)
			return
		}
	}
}

// lost is the outage and the link that was lost. Where there is none, comeBack is over.
func (p *amqpPublisher) lost() (*outage, *publishLink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.coming = p.outage != nil
	return p.outage, p.last
}

// finish ends the publisher. It may run with a connection's lock held.
func (p *amqpPublisher) finish(why error) {
	p.mu.Lock()
	if p.why != nil {
		p.mu.Unlock()
		return
	}
	p.why = why // first, so that whoever is told of an outcome can learn why
	if p.outage != nil {
		close(p.outage.over)
		p.outage = nil
	}
	p.mu.Unlock()
	p.window.Fail(why) // nothing is accepted from here on
	p.window.Lock()
	p.window.Abandon(why.Error())
	p.window.Unlock()
	close(p.ended)
}

func (p *amqpPublisher) publish(ctx context.Context, msgs []Message, watches watches) (int, error) {
	for {
		link := p.link.Load()
		if link == nil {
			n, err := p.accept(ctx, msgs, watches)
			if n > 0 || err != nil {
				return n, err
			}
			continue // there is a link now
		}
		err := link.ch.BeginPublish(ctx)
		if err == nil {
			return p.publishOn(link, msgs, watches)
		}
		if link.ch.Err() == nil || p.err() != nil || ctx.Err() != nil {
			return 0, err
		}
	}
}

// publishOn publishes on a link, between BeginPublish, which was called, and EndPublish.
func (p *amqpPublisher) publishOn(link *publishLink, msgs []Message, watches watches) (int, error) {
	p.makeReady()
	defer func() {
		p.forget()
		link.ch.EndPublish()
	}()
	for i := range msgs {
		if err := link.rules.check(&msgs[i]); err != nil {
			return i, err
		}
		p.prepare(&msgs[i])
		p.next.Tag.Watch = watches.of(i, &msgs[i])
		if ok, err := link.ch.Publish(&p.next); !ok {
			return i, afterwards(err)
		}
		p.bodies += uint64(len(msgs[i].Body))
	}
	return len(msgs), nil
}

// makeReady makes sure that there is a preparation.
func (p *amqpPublisher) makeReady() {
	if p.preparation == nil {
		p.preparation = new(preparation)
		if !p.cfg.SameDeliveryMode {
			p.properties.unset = Persistent
		}
	}
}

// encodedMost is how large the memory for a message that no connection takes yet may stay.
const encodedMost = 256 << 10

// forget lets go of what is the caller's.
func (p *amqpPublisher) forget() {
	if cap(p.encoded) > encodedMost {
		p.encoded = nil
	}
	p.next.Body, p.next.Tag = nil, window.Tag{}
	clear(p.next.Properties.Headers)
}

// accept takes messages into the window while there is no link. It returns 0 and nil if
// there is one, or none any more; without confirms nothing is kept, and it waits for that.
func (p *amqpPublisher) accept(ctx context.Context, msgs []Message, watches watches) (int, error) {
	out, last, why := p.state()
	switch {
	case why != nil:
		return 0, why
	case out == nil:
		return 0, nil
	case p.cfg.NoConfirms:
		return 0, out.wait(ctx)
	}
	for {
		n, err := p.acceptSome(last, msgs, watches)
		if n != 0 || err != nil || p.link.Load() != nil {
			return n, err
		}
		if err := p.window.WaitForRoom(ctx); err != nil {
			return 0, err
		}
	}
}

// acceptSome accepts as many messages as there is room for, none where there is a link.
func (p *amqpPublisher) acceptSome(last *publishLink, msgs []Message, watches watches) (int, error) {
	p.window.Lock()
	defer p.window.Unlock()
	p.makeReady()
	defer p.forget()
	for i := range msgs {
		if p.window.Free() <= 0 || p.link.Load() != nil {
			return i, nil
		}
		if err := last.rules.check(&msgs[i]); err != nil {
			return i, err
		}
		p.prepare(&msgs[i])
		p.next.Tag.Watch = watches.of(i, &msgs[i])
		encoded, err := amqpconn.Append(p.encoded[:0], last.conn.Server().FrameMax, &p.next)
		if err != nil {
			return i, afterwards(err)
		}
		p.encoded = encoded
		p.window.Accept(p.next.Tag, encoded)
		p.bodies += uint64(len(msgs[i].Body))
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
	p.properties.prepare(&next.Properties, m.Properties)
	next.Body, next.Tag.Ref = m.Body, m.Ref
	if m.Properties != nil && m.Properties.Format != FormatData {
		p.body = amqp10.AppendBody(p.body[:0], m.Properties.Format.kind(), m.Body)
		next.Body = p.body
	}
}

// barrier makes sure that the broker has read all that was published: a channel
// answers its methods in order, so the answer to a harmless one says so.
func (p *amqpPublisher) barrier(ctx context.Context) error {
	for {
		out, last, why := p.state()
		switch {
		case why != nil:
			return why
		case out != nil:
			if err := out.wait(ctx); err != nil {
				return err
			}
			continue
		}
		published := p.window.Totals().Published
		err := last.ch.Qos(ctx, 0)
		if err == nil {
			p.window.MarkSent(published)
			return nil
		}
		if last.ch.Err() == nil || !p.recoverer.on() {
			return err
		}
	}
}

func (p *amqpPublisher) away(err error) error {
	if reason := p.blocked(); reason != "" && p.link.Load() == nil {
		return fmt.Errorf("%w: the broker blocks publishing (%s)", err, reason)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.outage == nil {
		return err
	}
	return p.outage.err(err)
}

func (p *amqpPublisher) bytes() (bodies, wire uint64) {
	p.window.Lock()
	defer p.window.Unlock()
	return p.bodies, 0
}

func (p *amqpPublisher) reconnects() uint64 { return p.recoverer.reconnects.Load() }

func (p *amqpPublisher) blocked() string {
	link := cmp.Or(p.link.Load(), p.opening.Load())
	if link == nil {
		return ""
	}
	return link.conn.Blocked()
}

func (p *amqpPublisher) done() <-chan struct{} { return p.ended }

func (p *amqpPublisher) err() error {
	_, _, why := p.state()
	return why
}

func (p *amqpPublisher) close(ctx context.Context) {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.end()
	p.back.Wait()
	if _, last, _ := p.state(); last != nil {
		last.conn.leave(ctx, last.ch) // which ends the publisher
	}
	p.finish(ErrClosed)
}

// updateSecret has nothing to do: the pools update their connections.
func (p *amqpPublisher) updateSecret(context.Context, string, string) error { return nil }
