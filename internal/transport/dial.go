package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// Config says where to connect and as whom.
type Config struct {
	Address string // host:port

	// TLS is nil for a plain connection. ServerName must be set.
	TLS *tls.Config

	// Mechanism is "PLAIN" or "EXTERNAL" (the user is in the certificate).
	Mechanism string
	User      string
	Password  string
	Vhost     string

	Name      string        // connection_name, shown by RabbitMQ
	FrameMax  uint32        // the largest frame, in bytes, at least 4096; the smaller of this and the server's wins
	Heartbeat time.Duration // whole seconds; the smaller of this and the server's wins
	Timeout   time.Duration // for TCP, TLS and login together

	// DialContext opens the TCP connection.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// OnLost, where set, is called once, from a goroutine of its own, when a connection
	// that was started has ended and not by its own Close.
	OnLost func(why error)
}

// Settings are what a protocol wants of every connection.
type Settings struct {
	// ReadBuffer is the size of a full read buffer, in bytes. It must have room for a
	// large read after what is not complete yet; a frame whose size is known and
	// larger gets a larger buffer. A connection begins with a smaller one, and gets to this
	// as reads fill it.
	ReadBuffer int

	// ReadLeast is the room left in a full read buffer, in bytes, below which the
	// reader goes on in another.
	ReadLeast int

	// LargeFrame is the size, in bytes, from which on a frame is read to its own end, into a
	// buffer that has room for all of it, so that it need not move there later. 0 is for
	// protocols whose frames are small.
	LargeFrame int

	// Heartbeat is the frame to send when there is nothing else.
	Heartbeat []byte

	// Recognise looks at the first bytes of a server that may not speak the
	// protocol, and returns an error that says what it seems to be. It is given
	// less than eight bytes only where no more have come.
	Recognise func(b []byte) error
}

// Dial connects and logs in: login writes and reads the frames that it takes. Its
// error comes with what was being done. Start makes a connection of the result.
func Dial(ctx context.Context, cfg Config, s Settings, login func(*Login) error) (*Login, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	socket, err := dialSocket(ctx, cfg)
	if err != nil {
		return nil, err
	}
	// The login reads and writes without a context: closing the socket is what
	// ends it early.
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	l := &Login{address: cfg.Address, net: socket, settings: s, onLost: cfg.OnLost, buf: NewBuffer(s.firstBuffer())}
	err = login(l)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		socket.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%s: %w", l.Doing, err)
	}
	return l, nil
}

// dialSocket opens the TCP connection and, for TLS, shakes hands on it.
func dialSocket(ctx context.Context, cfg Config) (net.Conn, error) {
	socket, err := cfg.DialContext(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, err
	}
	if cfg.TLS == nil {
		return socket, nil
	}
	secure := tls.Client(socket, cfg.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		socket.Close()
		if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
			return nil, fmt.Errorf("TLS: the server does not speak TLS on this port: %w", err)
		}
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secure, nil
}
