package conformance

import (
	"context"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
)

// breaker dials connections and breaks them: it closes them, in the middle of what is
// written or read too, or lets them go silent in both directions.
type breaker struct {
	mu     sync.Mutex
	conns  []*brokenConn  // in the order in which they were dialled, so that a seed means the same one each time
	faults map[string]int // that it has made, by kind
}

func newBreaker() *breaker {
	return &breaker{faults: make(map[string]int)}
}

// DialContext is for Config.DialContext.
func (b *breaker) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &brokenConn{Conn: conn, breaker: b, writes: -1, reads: -1}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns = append(b.conns, c)
	return c, nil
}

// fault breaks one connection, or all, in a random way. Silence is found out by the
// heartbeat alone: it takes twice its interval.
func (b *breaker) fault(random *rand.Rand) {
	kinds := []string{"cut", "half written", "half read", "silent"}
	kind := kinds[random.IntN(len(kinds))]
	all, limit, one := random.IntN(2) == 0, random.IntN(3000), random.Uint32()
	b.mu.Lock()
	broken := slices.Clone(b.conns)
	if !all && len(broken) > 0 {
		one %= uint32(len(broken))
		broken = broken[one : one+1]
	}
	b.faults[kind] += len(broken)
	b.mu.Unlock()
	for _, c := range broken {
		switch kind {
		case "cut":
			_ = c.Close()
		case "half written":
			c.after(limit, -1)
		case "half read":
			c.after(-1, limit)
		case "silent":
			c.mu.Lock()
			c.silent = true
			c.mu.Unlock()
		}
	}
}

// count counts a fault that others have made.
func (b *breaker) count(kind string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults[kind]++
}

// made is how many faults there were, by kind.
func (b *breaker) made() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.faults)
}

// cut cuts every connection.
func (b *breaker) cut() {
	b.mu.Lock()
	all := slices.Clone(b.conns)
	b.faults["cut"] += len(all)
	b.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// brokenConn is a connection that a breaker dialled.
type brokenConn struct {
	net.Conn
	breaker *breaker
	once    sync.Once

	mu            sync.Mutex
	writes, reads int // bytes that still pass; -1: any number
	silent        bool
}

func (c *brokenConn) after(writes, reads int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes, c.reads = writes, reads
}

func (c *brokenConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	left, silent := c.writes, c.silent
	if left >= 0 {
		c.writes = max(0, left-len(b))
	}
	c.mu.Unlock()
	if silent {
		return len(b), nil
	}
	if left < 0 || left >= len(b) {
		return c.Conn.Write(b)
	}
	n, _ := c.Conn.Write(b[:left])
	_ = c.Close()
	return n, net.ErrClosed
}

func (c *brokenConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		c.mu.Lock()
		left, silent := c.reads, c.silent
		if left >= 0 {
			c.reads = max(0, left-n)
		}
		c.mu.Unlock()
		switch {
		case err != nil:
			return n, err
		case silent: // it goes nowhere; the client's own deadline ends this
			continue
		case left >= 0 && left < n:
			_ = c.Close()
			return left, net.ErrClosed
		}
		return n, nil
	}
}

func (c *brokenConn) Close() error {
	c.once.Do(func() {
		c.breaker.mu.Lock()
		c.breaker.conns = slices.DeleteFunc(c.breaker.conns, func(other *brokenConn) bool { return other == c })
		c.breaker.mu.Unlock()
	})
	return c.Conn.Close()
}
