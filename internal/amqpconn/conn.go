// Package amqpconn is one AMQP 0-9-1 connection, from dial to close: the login,
// channels and their calls, publishing with confirms, and deliveries. What it has
// in common with every other connection is transport's.
package amqpconn

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/transport"
)

// Config says where to connect and as whom.
type Config struct {
	transport.Config
	ChannelMax uint16 // the most channels we use

	// OnBlocked hears of connection.blocked with the broker's reason, and with "" of
	// connection.unblocked, or that the connection has ended while it was blocked. It is
	// called by one goroutine at a time, mostly the reading one, and must not wait. Nil
	// means nobody listens.
	OnBlocked func(reason string)
}

// Server is what the broker said in connection.start, and what was agreed on.
type Server struct {
	Properties amqpproto.Table
	FrameMax   uint32
	ChannelMax uint16
	Heartbeat  time.Duration
}

// Conn is one connection. It is safe for concurrent use.
type Conn struct {
	transport.Conn
	server    Server
	user      string
	onBlocked func(string)
	telling   sync.Mutex // onBlocked is being called
	told      string     // to onBlocked; telling guards it
	session   *Channel   // channel 0

	// slots holds a token for each channel but that one, so that whoever needs one
	// when all are in use waits for the first that is free. A token goes back when
	// the channel's id does: see free.
	slots chan struct{}

	// Guarded by the connection's lock.
	channels map[uint16]*Channel
	lastID   uint16
	blocked  string // the broker's reason, or ""
	shared   bool   // by several consumers: see Share
}

const (
	// readBufferLeast is the size of a read buffer: room for a large read after
	// the largest content that is still incomplete.
	readBufferLeast = 256 << 10

	// readLeast is the room in a read buffer below which another is begun.
	readLeast = 64 << 10
)

// Dial connects and logs in.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	h := &handshake{cfg: cfg}
	login, err := transport.Dial(ctx, cfg.Config, transport.Settings{
		ReadBuffer: max(readBufferLeast, 2*int(cfg.FrameMax)), ReadLeast: readLeast,
		Heartbeat: amqpproto.AppendHeartbeat(nil), Recognise: recognise,
	}, h.run)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		server: h.server, user: cfg.User, onBlocked: cfg.OnBlocked,
		channels: make(map[uint16]*Channel), slots: make(chan struct{}, h.server.ChannelMax),
	}
	c.session = newChannel(c, 0)
	c.channels[0] = c.session
	c.Start(login, &protocol{conn: c}, h.server.Heartbeat)
	return c, nil
}

// Server returns what the broker said at login.
func (c *Conn) Server() *Server { return &c.server }

// User returns the name that the connection logged in with; "" where the mechanism
// leaves it to the broker (EXTERNAL).
func (c *Conn) User() string { return c.user }

// Share says that consumers who know nothing of each other have channels on the
// connection. One that does not take what has come must not hold up the others: as much
// waits for it as its prefetch lets come, up to 256 MiB, instead of 8.
func (c *Conn) Share() {
	c.Lock()
	defer c.Unlock()
	if c.shared {
		return
	}
	c.shared = true
	for _, ch := range c.channels {
		for _, in := range ch.consumers {
			in.Relax()
		}
	}
}

// Blocked returns the broker's reason while it blocks this connection
// (connection.blocked), else "".
func (c *Conn) Blocked() string {
	c.Lock()
	defer c.Unlock()
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
	return c.CloseAfter(ctx, func() error {
		_, err := c.session.Call(ctx, &amqpproto.ConnectionClose{ReplyCode: amqpproto.ReplySuccess, ReplyText: "goodbye"})
		return err
	})
}

// Channel opens a channel. While all that the broker allows are in use it waits for
// one of them to be closed, until ctx ends.
func (c *Conn) Channel(ctx context.Context) (*Channel, error) {
	ch, err := c.Reserve(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := ch.Calls(ctx); err != nil {
		ch.abandon()
		return nil, err
	}
	return ch, nil
}

// Reserve is Channel without a word to the broker: channel.open leaves with the first call on
// the channel, which saves a round trip.
func (c *Conn) Reserve(ctx context.Context) (*Channel, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case c.slots <- struct{}{}:
	case <-c.Done():
		return nil, c.Err()
	case <-ctx.Done():
		return nil, fmt.Errorf("all %d channels that the broker allows are in use: %w", c.server.ChannelMax, ctx.Err())
	}
	return c.allocate()
}

// allocate registers a channel under the next free id; the caller has a token for
// it.
func (c *Conn) allocate() (*Channel, error) {
	c.Lock()
	defer c.Unlock()
	if err := c.ErrLocked(); err != nil {
		return nil, err
	}
	for {
		c.lastID = c.lastID%c.server.ChannelMax + 1
		if c.channels[c.lastID] == nil {
			ch := newChannel(c, c.lastID)
			c.channels[c.lastID] = ch
			return ch, nil
		}
	}
}

// free gives a channel's id to the next one that is opened. The lock is held.
func (c *Conn) free(ch *Channel) {
	if c.channels[ch.id] == ch && ch.id != 0 {
		delete(c.channels, ch.id)
		<-c.slots
	}
}
