package thump

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/thumpmq/thump/internal/streamproto"
)

// superPublisher is the publishEngine of a super stream: a streamPublisher for
// each partition, each with the whole window, and a way from routing keys to
// them. When one of them ends, it takes no more messages; the others still hear
// of theirs.
type superPublisher struct {
	client     *Client
	cfg        *PublisherConfig
	names      []string
	partitions []*streamPublisher
	watchers   sync.WaitGroup // for a partition to end

	unroutable unroutable

	mu    sync.Mutex
	why   error            // why it ended
	ended chan struct{}    // closed then
	keys  map[string][]int // partitions by routing key, with RouteByKey
}

func (c *Client) superPublisher(ctx context.Context, cfg *PublisherConfig) (publishEngine, error) {
	names, err := c.partitionsOf(ctx, cfg.To.name)
	if err != nil {
		return nil, named(err)
	}
	p := &superPublisher{client: c, cfg: cfg, names: names, ended: make(chan struct{}), keys: make(map[string][]int)}
	p.unroutable.changed.L = &p.unroutable.mu
	for _, name := range names {
		one, err := c.streamPublisher(ctx, cfg, name)
		if err != nil {
			p.close(ctx)
			return nil, err
		}
		p.partitions = append(p.partitions, one)
		p.watchers.Go(func() {
			<-one.done()
			p.noteEnd(name, one)
		})
	}
	return p, nil
}

// noteEnd ends the publisher if a partition has ended.
func (p *superPublisher) noteEnd(name string, one *streamPublisher) {
	if err := one.err(); err != nil {
		p.end(fmt.Errorf("partition %q: %w", name, err))
	}
}

// end notes why the first partition ended.
func (p *superPublisher) end(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.why == nil {
		p.why = why
		close(p.ended)
	}
}

func (p *superPublisher) publish(ctx context.Context, msgs []Message) (int, error) {
	if err := p.err(); err != nil {
		return 0, err
	}
	for i := 0; i < len(msgs); {
		to, err := p.route(ctx, msgs[i].RoutingKey)
		if err != nil {
			return i, err
		}
		if to < 0 {
			if err := p.unroutable.add(ctx, &msgs[i], p.cfg); err != nil {
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
		accepted, err := p.partitions[to].publish(ctx, msgs[i:n])
		i += accepted
		if err != nil {
			return i, p.because(to, err)
		}
	}
	return len(msgs), nil
}

// route returns the partition for a routing key: by a hash, as the official
// clients have it, or with RouteByKey as the broker says; -1 for none.
func (p *superPublisher) route(ctx context.Context, key string) (int, error) {
	if !p.cfg.Stream.RouteByKey {
		return int(murmur3(key) % uint32(len(p.partitions))), nil
	}
	p.mu.Lock()
	to, known := p.keys[key]
	p.mu.Unlock()
	if !known {
		r, err := p.client.askStream(ctx, &streamproto.Route{RoutingKey: key, SuperStream: p.cfg.To.name}, "routing key %q", key)
		if err != nil {
			return 0, err
		}
		for _, name := range r.(*streamproto.RouteResponse).Streams {
			to = append(to, slices.Index(p.names, name))
		}
		p.mu.Lock()
		if len(p.keys) >= routesMost {
			clear(p.keys)
		}
		p.keys[key] = to
		p.mu.Unlock()
	}
	switch {
	case len(to) == 0:
		return -1, nil
	case len(to) > 1 || to[0] < 0:
		return 0, fmt.Errorf("the routing key %q does not lead to one partition that was there when the publisher was made", key)
	default:
		return to[0], nil
	}
}

// routesMost bounds the routing keys that are remembered.
const routesMost = 10_000

func (p *superPublisher) settle(ctx context.Context) error {
	for i, one := range p.partitions {
		if err := one.settle(ctx); err != nil {
			return p.because(i, err)
		}
	}
	return nil
}

// because is why a call of a partition failed, which is why the publisher ended
// where it has.
func (p *superPublisher) because(i int, err error) error {
	p.noteEnd(p.names[i], p.partitions[i])
	if why := p.err(); why != nil {
		return why
	}
	return err
}

func (p *superPublisher) sources() []outcomeSource {
	sources := []outcomeSource{&p.unroutable}
	for _, one := range p.partitions {
		sources = append(sources, one)
	}
	return sources
}

func (p *superPublisher) counts() Counts {
	totals := p.unroutable.totals()
	for _, one := range p.partitions {
		totals.Add(one.pub.Totals())
	}
	return countsOf(totals)
}

func (p *superPublisher) takeFirstBad() Outcome {
	first := p.unroutable.takeFirst()
	for _, one := range p.partitions {
		if bad := one.takeFirstBad(); first.Status == 0 {
			first = bad
		}
	}
	return first
}

func (p *superPublisher) blocked() string { return "" }

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
	for _, one := range p.partitions {
		if err := one.updateSecret(ctx, secret, reason); err != nil {
			return err
		}
	}
	return nil
}

func (p *superPublisher) close(ctx context.Context) {
	p.end(ErrClosed)
	var partitions sync.WaitGroup
	for _, one := range p.partitions {
		partitions.Go(func() { one.close(ctx) })
	}
	partitions.Wait()
	p.watchers.Wait()
	p.unroutable.end(ErrClosed)
}

// unroutable is the messages of a superPublisher that no partition is for: they
// are Returned at once.
type unroutable struct {
	mu      sync.Mutex
	changed sync.Cond
	count   uint64
	first   Outcome   // since the last takeFirst
	waiting []Outcome // not handed over
	ended   error
}

// noRoute are the code and text of an AMQP broker in the same case.
const (
	noRouteCode = 312
	noRouteText = "NO_ROUTE"
)

// add takes in a message, and waits while as many as a window holds have not
// been handed over.
func (u *unroutable) add(ctx context.Context, m *Message, cfg *PublisherConfig) error {
	defer context.AfterFunc(ctx, u.wake)()
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.waiting) >= cfg.Window && u.ended == nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		u.changed.Wait()
	}
	if u.ended != nil {
		return u.ended
	}
	o := Outcome{Ref: m.Ref, Status: Returned, Code: noRouteCode, Text: noRouteText}
	u.count++
	if u.first.Status == 0 {
		u.first = o
	}
	if cfg.OnOutcomes != nil {
		u.waiting = append(u.waiting, o)
		u.changed.Broadcast()
	}
	return nil
}

func (u *unroutable) wake() {
	u.mu.Lock()
	u.changed.Broadcast()
	u.mu.Unlock()
}

func (u *unroutable) totals() (t outcomeTotals) {
	u.mu.Lock()
	defer u.mu.Unlock()
	t.Published, t.Returned = u.count, u.count
	return t
}

func (u *unroutable) takeFirst() Outcome {
	u.mu.Lock()
	defer u.mu.Unlock()
	first := u.first
	u.first = Outcome{}
	return first
}

func (u *unroutable) outcomes(dst []Outcome) ([]Outcome, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.waiting) == 0 {
		if u.ended != nil {
			return dst[:0], u.ended
		}
		u.changed.Wait()
	}
	dst = append(dst[:0], u.waiting...)
	u.waiting = u.waiting[:0]
	u.changed.Broadcast()
	return dst, nil
}

func (u *unroutable) end(why error) {
	u.mu.Lock()
	u.ended = why
	u.changed.Broadcast()
	u.mu.Unlock()
}
