// Package streamconn is one connection of the RabbitMQ stream protocol, from dial
// to close: the login, calls, publishers with their confirms, and subscriptions.
// What it has in common with every other connection is transport's. It is
// amqpconn's twin and is built the same way.
package streamconn

import (
	"context"
	"errors"
	"fmt"

	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// Conn is one connection. It is safe for concurrent use.
type Conn struct {
	transport.Conn
	server          Server
	mechanism, user string // logged in with

	// Guarded by the connection's lock.
	open          *Publisher // has a Publish frame at the end of Out that is not complete yet
	correlation   uint32     // of the last call
	calls         map[uint32]chan streamproto.Response
	closing       bool            // we said goodbye
	publishers    []*Publisher    // by id
	subscriptions []*Subscription // by id
}

const (
	// readBufferLeast is the size of a read buffer; one for a larger frame is
	// larger by a power of two.
	readBufferLeast = 1 << 20

	// readLeast is the room in a read buffer below which another is begun.
	readLeast = 128 << 10

	// largeFrame is from which size on a chunk is read to its own end.
	largeFrame = 64 << 10
)

// Dial connects and logs in.
func Dial(ctx context.Context, cfg transport.Config) (*Conn, error) {
	h := &handshake{cfg: cfg}
	login, err := transport.Dial(ctx, cfg, transport.Settings{
		ReadBuffer: readBufferLeast, ReadLeast: readLeast, LargeFrame: largeFrame,
		Heartbeat: streamproto.AppendHeartbeat(nil), Recognise: recognise,
	}, h.run)
	if err != nil {
		return nil, err
	}
	c := &Conn{
		server: h.server, mechanism: cfg.Mechanism, user: cfg.User,
		correlation: h.correlation, calls: make(map[uint32]chan streamproto.Response),
	}
	c.Start(login, newProtocol(c), h.server.Heartbeat)
	return c, nil
}

// Server returns what the broker said at login.
func (c *Conn) Server() *Server { return &c.server }

// Call sends a request and waits for the broker's response to it. A response
// with another code than OK is a *ServerError. Calls may be under way at the
// same time.
func (c *Conn) Call(ctx context.Context, r streamproto.Request) (streamproto.Response, error) {
	response, err := c.call(ctx, r)
	if lacks, ok := errors.AsType[*VersionError](err); ok {
		return nil, lacks // it names the command itself
	}
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
	case <-c.Done():
		select {
		case response := <-answer: // to Close, which ends the connection
			return c.judge(r, response)
		default:
			return nil, c.Err()
		}
	case <-ctx.Done():
		c.Lock()
		delete(c.calls, correlation) // a late answer is for nobody
		c.Unlock()
		return nil, fmt.Errorf("no answer: %w", ctx.Err())
	}
}

// judge makes an error of a response that does not grant the request.
func (c *Conn) judge(r streamproto.Request, response streamproto.Response) (streamproto.Response, error) {
	if response.Key() != r.Key() {
		err := violation("answered by a response to %v", response.Key())
		c.Fail(err)
		return nil, err
	}
	if code := response.Result(); code != streamproto.CodeOK {
		return nil, &ServerError{Code: code, Request: r.Key()}
	}
	return response, nil
}

// ask queues the frame of r and registers who gets the answer, in one step.
func (c *Conn) ask(r streamproto.Request, answer chan streamproto.Response) (uint32, error) {
	c.Lock()
	defer c.Unlock()
	if err := c.ErrLocked(); err != nil {
		return 0, err
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

// queue appends a frame for the writer. The lock is held.
func (c *Conn) queue(appendFrame func(dst []byte) ([]byte, error)) error {
	c.seal()
	frames, err := appendFrame(c.Out)
	if err != nil {
		return &UnsendableError{err}
	}
	if size := len(frames) - len(c.Out) - frameSizeBytes; size > int(c.server.FrameMax) {
		return &UnsendableError{fmt.Errorf("a frame of %d bytes is over the limit of %d that was agreed with the broker", size, c.server.FrameMax)}
	}
	c.Out = frames
	c.WakeWriter()
	return nil
}

// respond queues an answer to the broker. The lock is held.
func (c *Conn) respond(correlation uint32, response streamproto.Response) error {
	if !c.CountAnswer() {
		return violation("the broker does not read the answers it asks for")
	}
	return c.queue(func(dst []byte) ([]byte, error) { return streamproto.AppendResponse(dst, correlation, response) })
}

// frameSizeBytes is the size field in front of a frame, which the limit does
// not count (rabbit_stream_core.erl).
const frameSizeBytes = 4

// StoreOffset queues a StoreOffset, which the broker never answers: QueryOffset
// tells whether it was stored.
func (c *Conn) StoreOffset(s *streamproto.StoreOffset) error {
	c.Lock()
	defer c.Unlock()
	if err := c.ErrLocked(); err != nil {
		return err
	}
	return c.queue(func(dst []byte) ([]byte, error) { return streamproto.AppendStoreOffset(dst, s) })
}

// UpdateSecret logs in again with a new secret, on the same connection
// (PROTOCOL.adoc SaslAuthenticate; since RabbitMQ 3.13).
func (c *Conn) UpdateSecret(ctx context.Context, secret string) error {
	if !c.server.AtLeast(3, 13) {
		return &VersionError{What: "a new secret on a stream connection", Needs: "3.13", Version: c.server.Version}
	}
	_, err := c.Call(ctx, &streamproto.SASLAuthenticate{Mechanism: c.mechanism, Data: []byte(transport.SASLResponse(c.mechanism, c.user, secret))})
	return err
}

// Close says goodbye to the broker and ends the connection; when ctx ends first
// the socket is just closed. Either way it returns after both goroutines have.
// The error is nil if the broker had answered.
func (c *Conn) Close(ctx context.Context) error {
	return c.CloseAfter(ctx, func() error {
		_, err := c.Call(ctx, &streamproto.Close{Code: streamproto.CodeOK, Reason: "goodbye"})
		return err
	})
}

// idsMost is how many publishers, and how many subscriptions, a connection can
// have: their ids are bytes.
const idsMost = 256

// freeID puts v in the first free place of list and returns the place. The lock is
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
