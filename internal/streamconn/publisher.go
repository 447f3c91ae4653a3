package streamconn

import (
	"context"
	"fmt"
	"time"

	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
	"github.com/thumpmq/thump/internal/window"
)

// Publisher is one publisher of a connection, or what stands for it while there is none,
// and takes the messages of a Backlog. Like a connection it lives once: when that is lost,
// or the broker takes its stream away, it stays ended. It is safe for concurrent use.
type Publisher struct {
	backlog *Backlog
	cfg     *PublisherConfig
	window  *window.Window
	carrier *window.Carrier // the window's lock guards it
	conn    *Conn           // with offline one that was never dialled: what is in its Out is thrown away
	offline bool
	id      uint8
	done    chan struct{}
	resent  uint64 // messages

	// Guarded by the connection's lock.
	err       error // why the publisher ended
	resending bool  // nothing new is taken yet
	batch     batcher
}

// Publisher declares a publisher (PROTOCOL.adoc DeclarePublisher), asks which publishing
// ids the stream knows of its reference, and sends what the backlog has in flight. An
// error leaves the backlog as it is; the connection is of no use to it any more.
func (c *Conn) Publisher(ctx context.Context, b *Backlog) (*Publisher, error) {
	if b.cfg.Filtered {
		if err := c.server.Supports("filtering", streamproto.KeyPublish, 2); err != nil {
			return nil, err
		}
	}
	p := newPublisher(c, b)
	c.Lock()
	id, err := freeID(&c.publishers, p)
	if err == nil {
		err = c.ErrLocked()
	}
	p.id = id
	c.Unlock()
	if err != nil {
		return nil, err
	}
	known, err := p.declare(ctx)
	if err == nil {
		err = p.takeOver(known)
	}
	if err == nil {
		err = p.resend(ctx)
	}
	if err != nil {
		c.Lock()
		defer c.Unlock()
		p.fail(err)
		return nil, err
	}
	return p, nil
}

func newPublisher(c *Conn, b *Backlog) *Publisher {
	p := &Publisher{backlog: b, cfg: &b.cfg, window: b.window, carrier: b.carrier, conn: c, done: make(chan struct{})}
	p.batch = newBatcher(p)
	return p
}

// answerTimeout is how long the broker may take to declare a publisher.
const answerTimeout = 30 * time.Second

// goOffline returns what stands for the publisher until there is another connection.
func (p *Publisher) goOffline() *Publisher {
	next := newPublisher(&Conn{server: p.conn.server}, p.backlog)
	next.offline = true
	next.batch.goOn(&p.batch)
	return next
}

// declare declares the publisher, and returns the highest id that the stream knows. It asks
// for that after the declaration: a reference belongs to one publisher at a time, and
// until then another one of that name may be at work.
//
// A node that is not ready may take the connection and not answer.
func (p *Publisher) declare(ctx context.Context) (known uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	reference, stream := p.cfg.Reference, p.cfg.Stream
	_, err = p.conn.Call(ctx, &streamproto.DeclarePublisher{PublisherID: p.id, Reference: reference, Stream: stream})
	if err != nil || reference == "" {
		return 0, err
	}
	r, err := p.conn.Call(ctx, &streamproto.QueryPublisherSequence{Reference: reference, Stream: stream})
	if err != nil {
		return 0, err
	}
	return r.(*streamproto.QueryPublisherSequenceResponse).Sequence, nil
}

// Server is the one of the connection, or of the last one.
func (p *Publisher) Server() *Server { return p.conn.Server() }

// Resent is how many messages of other connections this one has begun with.
func (p *Publisher) Resent() int { return int(p.resent) }

// Done is closed when the publisher has ended.
func (p *Publisher) Done() <-chan struct{} { return p.done }

// Err says why the publisher ended; nil while it lives.
func (p *Publisher) Err() error {
	p.conn.Lock()
	defer p.conn.Unlock()
	return p.err
}

// Begin waits until a message can be published, and takes the locks of connection
// and window: messages are encoded straight into what the writer will send, in
// the order of their ids. Unless it returns an error, End must follow, without
// anything slow between.
func (p *Publisher) Begin(ctx context.Context) error {
	c := p.conn
	for {
		c.Lock()
		if err := p.waitToWrite(ctx); err != nil {
			c.Unlock()
			return err
		}
		if c.open != p { // its frame is at the end of out, where ours would begin
			c.seal()
		}
		p.window.Lock()
		if p.window.Free() > 0 {
			return nil
		}
		p.window.Unlock()
		c.Unlock()
		if err := p.window.WaitForRoom(ctx); err != nil {
			return err
		}
	}
}

// End lets the writer have what was encoded.
func (p *Publisher) End() {
	p.window.Unlock()
	p.endIfBroken()
	if len(p.conn.Out) > 0 && !p.offline {
		p.conn.WakeWriter()
	}
	p.conn.Unlock()
}

// waitToWrite waits until there is room in what waits for the writer. The
// connection's lock is held.
func (p *Publisher) waitToWrite(ctx context.Context) error {
	if p.offline && !p.canWrite() {
		p.conn.seal()
		p.conn.Out = p.conn.Out[:0] // the backlog has it
	}
	if p.err != nil || p.canWrite() {
		return p.err
	}
	err := p.conn.WaitForRoom(ctx, func() (bool, error) { return p.canWrite(), p.err })
	if err != nil && p.err == nil {
		return fmt.Errorf("the broker does not read what was sent before: %w", err)
	}
	return err
}

// canWrite reports whether a message may be encoded. The connection's lock is held.
func (p *Publisher) canWrite() bool {
	return len(p.conn.Out)+len(p.batch.raw) < transport.OutRoom && !p.resending
}

// PublishBodies encodes, between Begin and End, messages that are bodies and nothing else, with
// the next publishing ids. tags are theirs, nil where none has one. It returns how many there
// was room for: where that is less than all, end, and begin again. An error is about the message
// after these, which cannot be sent; nothing of it was, and the publisher is fine. It keeps
// neither bodies nor tags.
func (p *Publisher) PublishBodies(bodies [][]byte, tags []window.Tag) (taken int, err error) {
	for taken < len(bodies) {
		rest := tags
		if tags != nil {
			rest = tags[taken:]
		}
		n := p.batch.appendRun(bodies[taken:], rest, p.window.Free())
		if n == 0 {
			var tag window.Tag
			if tags != nil {
				tag = tags[taken]
			}
			ok, err := p.Publish(tag, 0, bodies[taken])
			if !ok {
				return taken, err
			}
			n = 1
		}
		taken += n
	}
	return taken, nil
}

// Publish is PublishBodies for one message, and reports whether there was room. id is the
// publishing id, 0 for the next.
func (p *Publisher) Publish(tag window.Tag, id uint64, body []byte) (bool, error) {
	return p.publish(tag, id, &message{data: body, bare: true, body: len(body)})
}

// PublishMessage is Publish for a message of which the caller has encoded all
// sections, with a filter value where the publisher is Filtered.
func (p *Publisher) PublishMessage(tag window.Tag, id uint64, sections []byte, filter string, bodyBytes int) (bool, error) {
	return p.publish(tag, id, &message{data: sections, filter: filter, body: bodyBytes})
}

func (p *Publisher) publish(tag window.Tag, id uint64, m *message) (bool, error) {
	if p.window.Free() <= 0 || !p.canWrite() || p.batch.broken != nil {
		return false, p.batch.broken
	}
	if id == 0 {
		id = p.batch.highest() + 1
	}
	if err := p.batch.begin(id, m); err != nil {
		return false, err
	}
	if p.batch.compressed() && p.window.Free() <= 0 { // begin let go of the window to compress
		return false, nil
	}
	if err := p.batch.add(id, m); err != nil {
		return false, err
	}
	p.carrier.Add(tag)
	p.batch.added(id, m)
	return true, nil
}

// LastID is the highest publishing id that was used or that the stream knew.
func (p *Publisher) LastID() uint64 {
	p.conn.Lock()
	defer p.conn.Unlock()
	return p.batch.highest()
}

// Bytes returns how many bytes the bodies had that were published, and how many
// the frames that they went out in; both so far.
func (p *Publisher) Bytes() (bodies, wire uint64) {
	p.conn.Lock()
	defer p.conn.Unlock()
	return p.batch.bodies, p.batch.wire
}

// fail ends the publisher, and with it the backlog, unless that is kept. Its id stays taken,
// because confirms may be under way. The connection's lock is held, and the window is not
// locked.
func (p *Publisher) fail(why error) {
	if p.err != nil {
		return
	}
	p.err = why
	switch b := p.backlog; {
	case b.current.Load() != p: // it never had the backlog
	case b.cfg.Keep && p.batch.broken == nil && b.keep(p, why):
	default:
		b.end(p, why)
	}
	close(p.done)
}

// endIfBroken ends a publisher of which a batch could not be completed: its
// messages were accepted and will not leave. The connection's lock is held.
func (p *Publisher) endIfBroken() {
	if p.batch.broken != nil {
		p.fail(p.batch.broken)
	}
}
