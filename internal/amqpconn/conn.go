// Package amqpconn is one AMQP 0-9-1 connection, from dial to close.
//
// A Conn lives once: Dial logs in, two goroutines carry frames (one reads the
// socket, one writes it), and when it ends, by Close or by a failure, it says
// why and never comes back. Nothing in it is ever reset; recovery is for the
// layer above, which dials another.
//
// One mutex guards a connection: what waits to be written, its channels and
// their windows. The reader and the writer hold it for a few instructions per
// read, per write or per confirm, never while they touch the socket.
package amqpconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
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

	Name       string        // connection_name, shown by RabbitMQ
	FrameMax   uint32        // the largest frame we accept, in bytes; at least 4096
	ChannelMax uint16        // the most channels we use
	Heartbeat  time.Duration // whole seconds; the smaller of this and the server's wins
	Timeout    time.Duration // for TCP, TLS and login together

	// DialContext opens the TCP connection.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)

	// OnBlocked hears of connection.blocked with the broker's reason, and of
	// connection.unblocked with "". It runs on the reading goroutine and must
	// not wait. Nil means nobody listens.
	OnBlocked func(reason string)
}

// Server is what the broker said in connection.start, and what was agreed on.
type Server struct {
	Properties amqpproto.Table
	FrameMax   uint32
	ChannelMax uint16
	Heartbeat  time.Duration
}

// outRoom is how many bytes may wait for the writer before publishers wait for
// it: enough for the largest useful write while the next one is being encoded.
const outRoom = 256 << 10

// Conn is one connection. It is safe for concurrent use.
type Conn struct {
	net       net.Conn
	server    Server
	onBlocked func(string)
	session   *Channel // channel 0
	buffers   bufferPool

	kick chan struct{} // holds a token when the idle writer must look at out
	done chan struct{} // closed when the connection has ended
	loop sync.WaitGroup

	mu         sync.Mutex
	room       sync.Cond // for publishers: out, a window or blocked changed
	waiting    int       // publishers in room.Wait
	settled    sync.Cond // for those who wait for outcomes
	out        []byte    // frames for the writer
	answers    int       // frames in out that the broker made us send
	writerIdle bool
	channels   map[uint16]*Channel
	lastID     uint16
	blocked    string // the broker's reason, or ""
	err        error  // why the connection ended
}

// Dial connects, logs in and starts the connection's two goroutines.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	socket, err := dialSocket(ctx, cfg)
	if err != nil {
		return nil, err
	}
	// The handshake reads and writes without a context: closing the socket is
	// what ends it early.
	stop := context.AfterFunc(ctx, func() { socket.Close() })
	h := &handshake{net: socket, cfg: cfg, buf: newReadBuffer(readBufferSize(cfg.FrameMax))}
	err = h.run()
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		socket.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("%s: %w", h.doing, ctx.Err())
		}
		return nil, err
	}
	c := &Conn{
		net: socket, server: h.server, onBlocked: cfg.OnBlocked,
		kick: make(chan struct{}, 1), done: make(chan struct{}),
		channels: make(map[uint16]*Channel),
	}
	c.room.L, c.settled.L = &c.mu, &c.mu
	c.buffers.size = len(h.buf.bytes)
	c.session = newChannel(c, 0)
	c.channels[0] = c.session
	c.loop.Go(c.writeLoop)
	c.loop.Go(func() { c.readLoop(h.buf, h.start, h.end) })
	return c, nil
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

// Server returns what the broker said at login.
func (c *Conn) Server() Server { return c.server }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection ended; nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Blocked returns the broker's reason while it blocks this connection
// (connection.blocked), else "".
func (c *Conn) Blocked() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.blocked
}

// UpdateSecret hands the broker a new secret for this connection
// (connection.update-secret).
func (c *Conn) UpdateSecret(ctx context.Context, secret, reason string) error {
	_, err := c.session.Call(ctx, &amqpproto.ConnectionUpdateSecret{NewSecret: secret, Reason: reason})
	return err
}

// Close says goodbye to the broker and ends the connection; when ctx ends first
// the socket is just closed. Either way it returns after both goroutines have.
// The error is nil if the broker had answered.
func (c *Conn) Close(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.fail(ErrClosed) })
	defer stop()
	_, err := c.session.Call(ctx, &amqpproto.ConnectionClose{ReplyCode: amqpproto.ReplySuccess, ReplyText: "goodbye"})
	if err == nil {
		c.fail(ErrClosed)
	}
	// Otherwise ctx ends it, or it has ended: then the last words to the broker
	// may still be on their way (see reader.leave).
	c.loop.Wait()
	return err
}

// fail ends the connection for the reason err, unless it has ended already, and
// closes the socket, which ends its goroutines.
func (c *Conn) fail(err error) {
	c.end(err)
	c.net.Close()
}

// end makes err the reason why the connection ended, unless it has one. Every
// channel, call, window and inbox hears of it. What is queued may still be
// written while the socket is open.
func (c *Conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	for _, ch := range c.channels {
		ch.end(err)
	}
	close(c.done)
}

// wakeAt lets the end of ctx wake those who wait on cond, until stop is called.
func (c *Conn) wakeAt(ctx context.Context, cond *sync.Cond) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		cond.Broadcast()
	})
}

// Channel opens a channel.
func (c *Conn) Channel(ctx context.Context) (*Channel, error) {
	c.mu.Lock()
	ch, err := c.allocate()
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if _, err := ch.Call(ctx, &amqpproto.ChannelOpen{}); err != nil {
		ch.abandon()
		return nil, fmt.Errorf("opening channel %d: %w", ch.id, err)
	}
	return ch, nil
}

// allocate registers a channel under the next free id. c.mu is held.
func (c *Conn) allocate() (*Channel, error) {
	if c.err != nil {
		return nil, c.err
	}
	for range c.server.ChannelMax {
		c.lastID = c.lastID%c.server.ChannelMax + 1
		if c.channels[c.lastID] == nil {
			ch := newChannel(c, c.lastID)
			c.channels[c.lastID] = ch
			return ch, nil
		}
	}
	return nil, fmt.Errorf("all %d channels that the broker allows are in use", c.server.ChannelMax)
}
