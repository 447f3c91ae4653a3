package fakebroker

import (
	"context"
	"io"
	"net"
)

// DialTorn returns a DialContext whose connections read at most n bytes at a time.
func (b *Broker) DialTorn(n int) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := b.DialContext(ctx, network, address)
		return tornConn{c, n}, err
	}
}

type tornConn struct {
	net.Conn
	n int
}

func (c tornConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, io.ErrShortBuffer
	}
	return c.Conn.Read(b[:min(len(b), c.n)])
}
