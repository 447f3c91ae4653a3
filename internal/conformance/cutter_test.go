package conformance

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/thumpmq/thump"
)

// cutter dials connections and cuts them, as a pulled cable would: neither side
// says goodbye. Before that it can make them deaf: what the broker says does not
// arrive any more.
type cutter struct {
	mu     sync.Mutex
	conns  []net.Conn
	once   sync.Once
	deafen chan struct{} // closed once the connections are deaf
	gone   chan struct{} // closed once they are cut
}

// dialCut makes a client whose connections can be cut, and that does not come back then.
func (r *rig) dialCut() (*thump.Client, *cutter) {
	r.Helper()
	c := &cutter{deafen: make(chan struct{}), gone: make(chan struct{})}
	cfg := r.config()
	cfg.DialContext, cfg.Recovery.Off = c.DialContext, true
	return r.dial(cfg), c
}

// DialContext is for Config.DialContext.
func (c *cutter) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.gone: // this one is dialled anew
		return conn, nil
	default:
		c.conns = append(c.conns, conn)
		return &cutConn{Conn: conn, cutter: c}, nil
	}
}

// all cuts every connection that was dialled.
func (c *cutter) all() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.gone)
	for _, conn := range c.conns {
		_ = conn.Close()
	}
}

// deaf makes every connection deaf.
func (c *cutter) deaf() { c.once.Do(func() { close(c.deafen) }) }

// whileInFlight cuts every connection while p, with which somebody goes on
// publishing, has messages in flight.
func (c *cutter) whileInFlight(p *thump.Publisher) {
	c.deaf()
	for p.Counts().InFlight == 0 {
		time.Sleep(time.Millisecond)
	}
	c.all()
}

// cutConn is a connection that a cutter dialled.
type cutConn struct {
	net.Conn
	cutter *cutter
}

// Read keeps to itself what comes once the connection is deaf.
func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	select {
	case <-c.cutter.deafen:
		<-c.cutter.gone
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

// repeatedCutter dials connections, and cuts all that there are, as often as one likes.
type repeatedCutter struct {
	mu    sync.Mutex
	conns []net.Conn
}

// DialContext is for Config.DialContext.
func (c *repeatedCutter) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.conns = append(c.conns, conn)
	}
	return conn, err
}

func (c *repeatedCutter) all() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}
