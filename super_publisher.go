package thump

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/window"
)

// superPublisher is the publishEngine of a super stream: a streamPublisher for
// each partition, a way from routing keys to them, and one window over all. Each comes back
// by itself when its connection is lost. When one of them ends, it takes no more messages;
// those of the others still get their outcomes.
type superPublisher struct {
	client     *Client
	cfg        *PublisherConfig
	window     *window.Window
	names      []string
	partitions []*streamPublisher

	unroutable *window.Carrier // messages that no partition is for; the window's lock guards it

	mu    sync.Mutex
	why   error            // why it ended
	ended chan struct{}    // closed then
	keys  map[string]route // by routing key, with RouteByKey
}

// route is where the broker said that a routing key leads.
type route struct {
	to    []string
	asked time.Time // when it said so
}

const (
	// routesMost bounds the routing keys that are remembered.
	routesMost = 10_000

	// noRouteFor is how long "nowhere" is believed: the key may have been bound
	// since, and to ask for every message would be slow.
	noRouteFor = time.Second
)

func (c *Client) superPublisher(ctx context.Context, cfg *PublisherConfig, w *window.Window) (publishEngine, error) {
	names, err := c.partitionsOf(ctx, cfg.To.name)
	if err != nil {
		return nil, withPrefix(err)
	}
	p := &superPublisher{
		client: c, cfg: cfg, window: w, names: names, unroutable: w.Carry(),
		ended: make(chan struct{}), keys: make(map[string]route),
	}
	for _, name := range names {
		one, err := c.streamPublisher(ctx, cfg, name, w, func(why error) {
			p.end(fmt.Errorf("partition %q: %w", name, toPublic(why)))
		})
		if err != nil {
			p.close(ctx)
			return nil, err
		}
		p.partitions = append(p.partitions, one)
	}
	return p, nil
}

// end notes why the publisher, or its first partition, ended. It may run with a
// connection's lock held.
func (p *superPublisher) end(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why == nil {
		p.why = why
		p.window.Fail(why)
		close(p.ended)
	}
}

func (p *superPublisher) publish(ctx context.Context, msgs []Message, watches watches) (int, error) {
	if err := p.err(); err != nil {
		return 0, err
	}
	for i := 0; i < len(msgs); {
		to, err := p.route(ctx, msgs[i].RoutingKey)
		if err != nil {
			return i, err
		}
		if to < 0 {
			if err := p.giveBack(ctx, window.Tag{Ref: msgs[i].Ref, Watch: watches.of(i, &msgs[i])}); err != nil {
				return i, err
			}
			i++
			continue
		}
		// Messages with the same key that follow each other go together.
		n := i + 1
		for n < len(msgs) && msgs[n].RoutingKey == msgs[i].RoutingKey {
			n++
		}
		accepted, err := p.partitions[to].publish(ctx, msgs[i:n], watches.from(i))
		i += accepted
		if err != nil {
			return i, p.because(err)
		}
	}
	return len(msgs), nil
}

// noRoute are the code and text of an AMQP broker in the same case.
const (
	noRouteCode = 312
	noRouteText = "NO_ROUTE"
)

// giveBack accepts a message that no partition is for: it is Returned at once.
func (p *superPublisher) giveBack(ctx context.Context, tag window.Tag) error {
	w := p.window
	for {
		w.Lock()
		if w.Free() > 0 {
			number := p.unroutable.Add(tag)
			p.unroutable.Resolve(number, 1, outcome.Returned, noRouteCode, noRouteText)
			w.Wake()
			w.Unlock()
			return nil
		}
		w.Unlock()
		if err := w.WaitForRoom(ctx); err != nil {
			return err
		}
	}
}

// route returns the partition for a routing key: by a hash, as the official
// clients have it, or with RouteByKey as the broker says; -1 for none.
func (p *superPublisher) route(ctx context.Context, key string) (int, error) {
	if !p.cfg.Stream.RouteByKey {
		return int(murmur3(key) % uint32(len(p.partitions))), nil
	}
	to, err := p.ask(ctx, key)
	if err != nil {
		return 0, err
	}
	switch len(to) {
	case 0:
		return -1, nil
	case 1:
		partition := slices.Index(p.names, to[0])
		if partition < 0 {
			return 0, fmt.Errorf("the routing key %q leads to stream %q, which was no partition when the publisher was made", key, to[0])
		}
		return partition, nil
	default:
		return 0, fmt.Errorf("the routing key %q is bound to %d partitions, and a message goes to one", key, len(to))
	}
}

// ask returns the streams that a routing key leads to, from memory or from the
// broker.
func (p *superPublisher) ask(ctx context.Context, key string) ([]string, error) {
	p.mu.Lock()
	known, found := p.keys[key]
	p.mu.Unlock()
	if found && (len(known.to) > 0 || time.Since(known.asked) < noRouteFor) {
		return known.to, nil
	}
	to, err := p.askAgain(ctx, key)
	if err == nil {
		p.remember(key, to)
	}
	return to, err
}

// askAgain asks the broker where a key leads, again and again while a partition has no
// connection; and once more for one that does not know that yet.
func (p *superPublisher) askAgain(ctx context.Context, key string) ([]string, error) {
	recovery := p.client.cfg.Recovery
	for first := true; ; first = false {
		to, err := p.client.routeOf(ctx, p.cfg.To.name, key)
		switch {
		case err == nil:
			return to, nil
		case recovery.Off || !Temporary(err) || !first && p.outage() == nil || p.err() != nil:
			return nil, err
		case !pause(ctx, recovery.Pause):
			return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}

// remember notes where a routing key leads. One of the others, any, makes room for it.
func (p *superPublisher) remember(key string, to []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.keys[key]; !known && len(p.keys) >= routesMost {
		for other := range p.keys {
			delete(p.keys, other)
			break
		}
	}
	p.keys[key] = route{to: to, asked: time.Now()}
}

// because is why a call of a partition failed: why the publisher ended, where it
// has.
func (p *superPublisher) because(err error) error {
	if why := p.err(); why != nil {
		return why
	}
	return err
}

// barrier has nothing to wait for: a stream always confirms.
func (p *superPublisher) barrier(context.Context) error { return nil }

func (p *superPublisher) blocked() string { return "" }

func (p *superPublisher) away(err error) error {
	if one := p.outage(); one != nil {
		return fmt.Errorf("partition %q: %w", one.stream, one.away(err))
	}
	return err
}

// outage returns the first partition that has no connection, nil where all have one.
func (p *superPublisher) outage() *streamPublisher {
	for _, one := range p.partitions {
		if one.outage.Load() != nil {
			return one
		}
	}
	return nil
}

func (p *superPublisher) reconnects() (n uint64) {
	for _, one := range p.partitions {
		n += one.reconnects()
	}
	return n
}

func (p *superPublisher) bytes() (bodies, wire uint64) {
	for _, one := range p.partitions {
		b, w := one.bytes()
		bodies, wire = bodies+b, wire+w
	}
	return bodies, wire
}

func (p *superPublisher) done() <-chan struct{} { return p.ended }

func (p *superPublisher) err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.why
}

func (p *superPublisher) updateSecret(ctx context.Context, secret, reason string) error {
	updates := make([]func() error, len(p.partitions))
	for i, one := range p.partitions {
		updates[i] = func() error { return one.updateSecret(ctx, secret, reason) }
	}
	return allAtOnce(updates)
}

func (p *superPublisher) close(ctx context.Context) {
	p.end(ErrClosed)
	var partitions sync.WaitGroup
	for _, one := range p.partitions {
		partitions.Go(func() { one.close(ctx) })
	}
	partitions.Wait()
}
