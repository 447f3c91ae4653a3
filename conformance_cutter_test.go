package thump_test

import (
	"context"
	"net"
	"sync"
)

// cutter dials connections and cuts them, as a pulled cable would: neither side
// says goodbye.
type cutter struct {
	mu    sync.Mutex
	conns []net.Conn
}

func newCutter() *cutter { return new(cutter) }

// DialContext is for Config.DialContext.
func (c *cutter) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn)
	return conn, nil
}

// all cuts every connection that was dialled.
func (c *cutter) all() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}
