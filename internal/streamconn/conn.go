// Package streamconn is one connection of the RabbitMQ stream protocol, from
// dial to close. It is amqpconn's twin and is built the same way.
//
// A Conn lives once: Dial logs in, two goroutines carry frames (one reads the
// socket, one writes it), and when it ends, by Close or by a failure, it says
// why and never comes back.
//
// One mutex guards a connection: what waits to be written, the calls under way,
// its publishers and their windows. The reader and the writer hold it for a few
// instructions per read, per write or per confirm, never while they touch the
// socket. The socket's buffers stay as the kernel made them: to set their size
// at all turns off its tuning of them, which is what makes other clients slow.
package streamconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/thumpmq/thump/internal/streamproto"
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
	FrameMax  uint32        // the largest frame, in bytes; the smaller of this and the server's wins
	Heartbeat time.Duration // whole seconds; the smaller of this and the server's wins
	Timeout   time.Duration // for TCP, TLS and login together

	// DialContext opens the TCP connection.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
}

// outRoom is how many bytes may wait for the writer before publishers wait for
// it: enough for the largest useful write while the next one is being encoded.
const outRoom = 256 << 10

// Conn is one connection. It is safe for concurrent use.
type Conn struct {
	net             net.Conn
	server          Server
	buffers         bufferPool
	address         string
	mechanism, user string // logged in with

	kick chan struct{} // holds a token when the idle writer must look for work
	done chan struct{} // closed when the connection has ended
	loop sync.WaitGroup

	mu            sync.Mutex
	room          sync.Cond  // for publishers: out or a window changed
	waiting       int        // publishers in room.Wait
	settled       sync.Cond  // for those who wait for outcomes
	out           []byte     // frames for the writer
	open          *Publisher // has a Publish frame at the end of out that is not complete yet
	answers       int        // frames in out that the broker made us send
	writerIdle    bool
	correlation   uint32 // of the last call
	calls         map[uint32]chan streamproto.Response
	closing       bool            // we said goodbye
	publishers    []*Publisher    // by id
	subscriptions []*Subscription // by id
	err           error           // why the connection ended
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
	h := &handshake{net: socket, cfg: cfg, buf: newReadBuffer(readBufferMin)}
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
		net: socket, server: h.server, address: cfg.Address, mechanism: cfg.Mechanism, user: cfg.User, calls: make(map[uint32]chan streamproto.Response), correlation: h.correlation,
		kick: make(chan struct{}, 1), done: make(chan struct{}),
	}
	c.room.L, c.settled.L = &c.mu, &c.mu
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

// Address is the host:port that the connection was dialled to.
func (c *Conn) Address() string { return c.address }

// Server returns what the broker said at login.
func (c *Conn) Server() *Server { return &c.server }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err says why the connection ended; nil while it lives.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Call sends a request and waits for the broker's response to it. A response
// with another code than OK is a *ServerError. Calls may be under way at the
// same time.
func (c *Conn) Call(ctx context.Context, r streamproto.Request) (streamproto.Response, error) {
	response, err := c.call(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", r.Key(), err)
	}
	return response, nil
}

func (c *Conn) call(ctx context.Context, r streamproto.Request) (streamproto.Response, error) {
	if err := c.server.supports(r.Key()); err != nil {
		return nil, err
	}
	answer := make(chan streamproto.Response, 1)
	correlation, err := c.ask(r, answer)
	if err != nil {
		return nil, err
	}
	select {
	case response := <-answer:
		return c.judge(r, response)
	case <-c.done:
		select {
		case response := <-answer: // to Close, which ends the connection
			return c.judge(r, response)
		default:
			return nil, c.Err()
		}
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.calls, correlation) // a late answer is for nobody
		c.mu.Unlock()
		return nil, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

// judge makes an error of a response that does not grant the request.
func (c *Conn) judge(r streamproto.Request, response streamproto.Response) (streamproto.Response, error) {
	if response.Key() != r.Key() {
		err := violation("answered by a response to %v", response.Key())
		c.fail(err)
		return nil, err
	}
	if code := response.Result(); code != streamproto.CodeOK {
		return nil, &ServerError{Code: code}
	}
	return response, nil
}

// ask queues the frame of r and registers who gets the answer, in one step.
func (c *Conn) ask(r streamproto.Request, answer chan streamproto.Response) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	c.correlation++
	err := c.queue(func(dst []byte) ([]byte, error) { return streamproto.AppendRequest(dst, c.correlation, r) })
	if err != nil {
		return 0, err
	}
	c.calls[c.correlation] = answer
	if r.Key() == streamproto.KeyClose {
		c.closing = true
	}
	return c.correlation, nil
}

// queue appends a frame for the writer. c.mu is held.
func (c *Conn) queue(appendFrame func(dst []byte) ([]byte, error)) error {
	c.seal()
	frames, err := appendFrame(c.out)
	if err != nil {
		return err
	}
	if size := len(frames) - len(c.out) - frameSizeBytes; size > int(c.server.FrameMax) {
		return fmt.Errorf("a frame of %d bytes is over the limit of %d that was agreed with the broker", size, c.server.FrameMax)
	}
	c.out = frames
	c.wakeWriter()
	return nil
}

// frameSizeBytes is the size field in front of a frame, which the limit does
// not count (rabbit_stream_core.erl).
const frameSizeBytes = 4

// StoreOffset queues a StoreOffset, which the broker never answers: QueryOffset
// tells whether it was stored.
func (c *Conn) StoreOffset(s *streamproto.StoreOffset) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return c.queue(func(dst []byte) ([]byte, error) { return streamproto.AppendStoreOffset(dst, s) })
}

// UpdateSecret logs in again with a new secret, on the same connection
// (PROTOCOL.adoc SaslAuthenticate; since RabbitMQ 3.13).
func (c *Conn) UpdateSecret(ctx context.Context, secret string) error {
	if !c.server.AtLeast(3, 13) {
		return &VersionError{What: "a new secret on a stream connection", Needs: "3.13", Version: c.server.Version}
	}
	_, err := c.Call(ctx, &streamproto.SASLAuthenticate{Mechanism: c.mechanism, Data: saslResponse(c.mechanism, c.user, secret)})
	return err
}

// Close says goodbye to the broker and ends the connection; when ctx ends first
// the socket is just closed. Either way it returns after both goroutines have.
// The error is nil if the broker had answered.
func (c *Conn) Close(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.fail(ErrClosed) })
	defer stop()
	_, err := c.Call(ctx, &streamproto.Close{Code: streamproto.CodeOK, Reason: "goodbye"})
	if err == nil {
		c.fail(ErrClosed)
	}
	// Otherwise ctx ends it, or it has ended: then the last words to the broker
	// may still be on their way (see reader.leave).
	c.loop.Wait()
	return err
}

// Abort ends the connection for the reason why, without a goodbye, and returns
// after both goroutines have.
func (c *Conn) Abort(why error) {
	c.fail(why)
	c.loop.Wait()
}

// fail ends the connection for the reason err, unless it has ended already, and
// closes the socket, which ends its goroutines.
func (c *Conn) fail(err error) {
	c.end(err)
	c.net.Close()
}

// end makes err the reason why the connection ended, unless it has one. Every
// call, window and inbox hears of it. What is queued may still be written while
// the socket is open.
func (c *Conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	for _, p := range c.publishers {
		if p != nil {
			p.end(err)
		}
	}
	for _, s := range c.subscriptions {
		if s != nil {
			s.end(err)
		}
	}
	close(c.done)
	c.room.Broadcast()
	c.settled.Broadcast()
}

// wakeAt lets the end of ctx wake those who wait on cond, until stop is called.
func (c *Conn) wakeAt(ctx context.Context, cond *sync.Cond) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		cond.Broadcast()
	})
}

// idsMost is how many publishers, and how many subscriptions, a connection can
// have: their ids are bytes.
const idsMost = 256

// freeID puts v in the first free place of list and returns the place. c.mu is
// held.
func freeID[T any](list *[]*T, v *T) (uint8, error) {
	for id, taken := range *list {
		if taken == nil {
			(*list)[id] = v
			return uint8(id), nil
		}
	}
	if len(*list) == idsMost {
		return 0, fmt.Errorf("all %d ids of the connection are in use", idsMost)
	}
	*list = append(*list, v)
	return uint8(len(*list) - 1), nil
}

// byID finds what has the id; nil if nothing has.
func byID[T any](list []*T, id uint8) *T {
	if int(id) >= len(list) {
		return nil
	}
	return list[id]
}
