package thump

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/thumpmq/thump/internal/amqpconn"
)

// maxConnectionsDefault is enough to keep a broker of many processors busy; a connection
// costs it some 100 kB.
const maxConnectionsDefault = 8

// pool is the AMQP connections that a client's publishers, or its consumers, have: the
// first of them get one each, and once there are as many as allowed the next share them,
// on channels of their own, the least loaded first. It is safe for concurrent use.
type pool struct {
	client *Client
	most   int

	mu      sync.Mutex
	conns   []*pooled // those that were alive when last looked at
	dialing int       // connections that are being made
	next    *dialling // the first of those to be done

	failed   error // of the dial that failed last
	failedAt time.Time
}

// dialling is the making of a connection, for those who wait for one.
type dialling struct{ done chan struct{} }

// pooled is a connection of a pool. The pool's lock guards users.
type pooled struct {
	*amqpconn.Conn
	own   bool // nobody else gets it
	users int
}

// lease is somebody's part of a connection of a pool.
type lease struct {
	*amqpconn.Conn
	pool *pool
	of   *pooled

	// Guarded by the pool's lock.
	returned bool
	last     bool // nobody else had it
}

func newPool(c *Client, most int) *pool {
	return &pool{client: c, most: most, next: &dialling{done: make(chan struct{})}}
}

// get returns a connection for what, whose leave gives it back. Those who come back (again)
// share the failure of a dial, of one that they wait for or of one just now: so the broker
// is tried as often as by one of them, and not by all.
func (p *pool) get(ctx context.Context, what string, again bool) (*lease, error) {
	patience, cancel := context.WithTimeout(ctx, attemptDelay)
	defer cancel()
	for {
		if err := p.failedNow(); err != nil && again {
			return nil, err
		}
		l, wait := p.take(patience.Err() != nil)
		switch {
		case l != nil:
			return l, nil
		case wait == nil:
			return p.dial(ctx, what, false)
		}
		enough := patience.Done()
		if patience.Err() != nil {
			enough = nil // nobody has one yet
		}
		select {
		case <-wait.done:
		case <-enough: // a dial that hangs holds up nobody: what there is has to do
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for one of %d connections that are being made: %w", p.most, ctx.Err())
		}
	}
}

// failedNow is why a dial has failed so shortly ago that another one would come too soon. That
// somebody's context has ended is no reason for others.
func (p *pool) failedNow() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed == nil || time.Since(p.failedAt) >= p.client.cfg.Recovery.Pause/2 ||
		errors.Is(p.failed, context.Canceled) || errors.Is(p.failed, context.DeadlineExceeded) {
		return nil
	}
	return p.failed
}

// take returns the connection with the fewest users; nothing where one more may be made;
// and what to wait for where all that may be are being made. While some are, no connection
// gets more than its share of the users, unless that takes too long (late).
func (p *pool) take(late bool) (l *lease, wait *dialling) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = slices.DeleteFunc(p.conns, func(c *pooled) bool { return c.Err() != nil })
	var least *pooled
	n, users := p.dialing, 0
	for _, c := range p.conns {
		if c.own {
			continue
		}
		n, users = n+1, users+c.users
		if least == nil || c.users < least.users {
			least = c
		}
	}
	switch {
	case n < p.most:
		p.dialing++
		return nil, nil
	case least == nil, !late && p.dialing > 0 && least.users > users/n:
		return nil, p.next
	}
	return p.lease(least), nil
}

// lease gives somebody a part of c. The lock is held.
func (p *pool) lease(c *pooled) *lease {
	c.users++
	if c.users > 1 {
		c.Share()
	}
	return &lease{Conn: c.Conn, pool: p, of: c}
}

// own makes a connection for what, that nobody shares.
func (p *pool) own(ctx context.Context, what string, _ bool) (*lease, error) {
	return p.dial(ctx, what, true)
}

// dial makes a connection: somebody's own, or the one that take has left room for. It has
// the newest secret, like those that UpdateSecret has found.
func (p *pool) dial(ctx context.Context, what string, own bool) (*lease, error) {
	generation := p.client.secrets.now()
	conn, err := p.client.dialAMQP(ctx, what)
	l := p.add(conn, own, err)
	if err != nil {
		return nil, err
	}
	err = p.client.secrets.catchUp(generation, func(secret string) error { return conn.UpdateSecret(ctx, secret, renewedReason) })
	if err != nil {
		l.leave(ctx, nil)
		return nil, err
	}
	return l, nil
}

// add adds the connection that was made, unless err says that none was.
func (p *pool) add(conn *amqpconn.Conn, own bool, err error) *lease {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !own {
		p.dialing--
		close(p.next.done)
		p.next = &dialling{done: make(chan struct{})}
	}
	if err != nil {
		p.failed, p.failedAt = err, time.Now()
		return nil
	}
	p.failed = nil
	c := &pooled{Conn: conn, own: own}
	p.conns = append(p.conns, c)
	return p.lease(c)
}

// updates are calls that give a new secret to each connection that lives.
func (p *pool) updates(ctx context.Context, secret, reason string) []func() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var updates []func() error
	for _, c := range p.conns {
		updates = append(updates, func() error {
			return handOver(c.Conn, func() error { return c.UpdateSecret(ctx, secret, reason) })
		})
	}
	return updates
}

// leave ends ch, which may be nil, and gives the connection back; the last to do so says
// goodbye to the broker. Both are bounded. It may be called again, with a ctx that ends
// sooner.
func (l *lease) leave(ctx context.Context, ch *amqpconn.Channel) {
	switch {
	case l.giveBack():
		goodbye(ctx, l.Conn)
	case ch != nil:
		goodbye(ctx, ch)
	}
}

// drop is leave without a word to the broker, or a wait for it: what was not settled goes
// back to the queue.
func (l *lease) drop(ch *amqpconn.Channel, why error) {
	if l.giveBack() {
		l.Fail(why)
		return
	}
	ch.Leave()
}

// giveBack gives the connection back, and reports whether nobody else had it then.
func (l *lease) giveBack() (last bool) {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if !l.returned {
		l.returned = true
		l.of.users--
		l.last = l.of.users == 0
		if l.last {
			l.pool.conns = slices.DeleteFunc(l.pool.conns, func(c *pooled) bool { return c == l.of })
		}
	}
	return l.last
}
