package brokertest

import (
	"context"
	"net"
	"sync"
	"time"
)

// DialLate is a thump.Config's DialContext for connections whose deliveries are late: the first
// large read of each takes a second and a half longer.
func DialLate(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &late{Conn: conn}, nil
}

type late struct {
	net.Conn
	once sync.Once
}

func (l *late) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 2<<10 {
		l.once.Do(func() { time.Sleep(1500 * time.Millisecond) })
	}
	return n, err
}
