package streamconn

import (
	"context"

	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// SubscribeConfig says what to subscribe to and how.
type SubscribeConfig struct {
	Stream     string
	Offset     streamproto.OffsetSpec
	Credit     uint16 // chunks that the broker may send ahead
	Properties []streamproto.Property

	// Inbox gets the chunks. Subscriptions of several connections may share one.
	Inbox *Inbox

	// Owner is the caller's: Subscription.Owner returns it.
	Owner any

	// Ended is told when the subscription ends without Unsubscribe, and why. Chunks
	// that have come are in the inbox by then. It runs with the connection's lock
	// held, and must not wait.
	Ended func(why error)
}

// Subscription is one subscription of a connection. Like the connection it lives
// once. It is safe for concurrent use.
type Subscription struct {
	conn    *Conn
	cfg     SubscribeConfig
	id      uint8
	updates chan Update
	turn    uint32        // updates that have come; guarded by the connection's lock
	err     error         // why it ended; guarded by the connection's lock
	done    chan struct{} // closed when it has ended without Unsubscribe
}

// Update is the broker's word that a subscription of a group is to be, or not to
// be, the active one. It waits for an answer, for a minute at most (PROTOCOL.adoc
// ConsumerUpdate).
type Update struct {
	Active      bool
	Turn        uint32 // counts the updates of the subscription, from 1
	correlation uint32
}

// updatesMost is how many updates may wait to be answered: the broker sends one
// and waits.
const updatesMost = 16

// Subscribe makes a subscription (PROTOCOL.adoc Subscribe).
func (c *Conn) Subscribe(ctx context.Context, cfg SubscribeConfig) (*Subscription, error) {
	s := &Subscription{conn: c, cfg: cfg, updates: make(chan Update, updatesMost), done: make(chan struct{})}
	c.Lock()
	id, err := freeID(&c.subscriptions, s)
	if err == nil {
		err = c.ErrLocked()
	}
	s.id = id
	c.Unlock()
	if err != nil {
		return nil, err
	}
	_, err = c.Call(ctx, &streamproto.Subscribe{
		SubscriptionID: id, Stream: cfg.Stream, Offset: cfg.Offset, Credit: cfg.Credit, Properties: cfg.Properties,
	})
	if err != nil {
		c.Lock()
		defer c.Unlock()
		s.err = err
		return nil, err
	}
	return s, nil
}

// Done is closed when the subscription has ended without Unsubscribe.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Err says why the subscription ended; nil while it lives.
func (s *Subscription) Err() error {
	s.conn.Lock()
	defer s.conn.Unlock()
	return s.err
}

// Owner is what the subscription was made with.
func (s *Subscription) Owner() any { return s.cfg.Owner }

// Stream is the stream's name.
func (s *Subscription) Stream() string { return s.cfg.Stream }

// Updates has the broker's updates, each of which wants an Answer.
func (s *Subscription) Updates() <-chan Update { return s.updates }

// Conn is the subscription's connection.
func (s *Subscription) Conn() *Conn { return s.conn }

// Unsubscribe ends the subscription (PROTOCOL.adoc Unsubscribe). Once it has
// returned nil, no more chunks come.
func (s *Subscription) Unsubscribe(ctx context.Context) error {
	_, err := s.conn.Call(ctx, &streamproto.Unsubscribe{SubscriptionID: s.id})
	s.conn.Lock()
	defer s.conn.Unlock()
	if s.err == nil {
		s.err = transport.ErrClosed
	}
	return err
}

// Answer answers an update; offset is where an active subscription is to begin,
// and OffsetNone for one that is not.
func (s *Subscription) Answer(u Update, offset streamproto.OffsetSpec) error {
	c := s.conn
	c.Lock()
	defer c.Unlock()
	if err := c.ErrLocked(); err != nil {
		return err
	}
	return c.respond(u.correlation, &streamproto.ConsumerUpdateResponse{Code: streamproto.CodeOK, Offset: offset})
}

// consumerUpdate passes an update on.
func (c *Conn) consumerUpdate(correlation uint32, q *streamproto.ConsumerUpdate) error {
	c.Lock()
	defer c.Unlock()
	s := byID(c.subscriptions, q.SubscriptionID)
	if s == nil {
		return violation("an update of subscription %d, which was not made", q.SubscriptionID)
	}
	s.turn++
	select {
	case s.updates <- Update{Active: q.Active, Turn: s.turn, correlation: correlation}:
		return nil
	default:
		return violation("%d updates of one subscription at once", updatesMost)
	}
}

// credit lets the broker send n more chunks (PROTOCOL.adoc Credit). One that sends
// whatever its credit, and does not read what is given it, must not fill the memory with
// that: its connection ends.
func (s *Subscription) credit(n int) {
	c := s.conn
	c.Lock()
	lives := c.ErrLocked() == nil && s.err == nil
	unread := lives && !c.CountAnswer()
	if lives && !unread {
		// It always fits a frame.
		_ = c.queue(func(dst []byte) ([]byte, error) {
			return streamproto.AppendCredit(dst, streamproto.Credit{SubscriptionID: s.id, Credit: uint16(n)}), nil
		})
	}
	c.Unlock()
	if unread {
		c.Fail(violation("the broker sends more chunks than it has credit for, and does not read"))
	}
}

// end ends the subscription; chunks that have come can still be taken. The lock is
// held.
func (s *Subscription) end(why error) {
	if s.err == nil {
		s.err = why
		close(s.done)
		s.cfg.Ended(why)
	}
}

// deliver takes in a chunk, and holds its buffer. The CRC is computed here, and batches are checked,
// where the data has just been read and is in the processor's caches, and where there is time: the
// consumer's goroutine has more to do than this one.
func (p *protocol) deliver(f streamproto.Frame) error {
	chunk, err := streamproto.ParseDeliver(f)
	if err != nil {
		return unreadable(err)
	}
	c := p.conn
	c.Lock()
	s := byID(c.subscriptions, chunk.SubscriptionID)
	ended, turn := false, uint32(0)
	if s != nil {
		ended, turn = s.err != nil, s.turn
	}
	c.Unlock()
	if s == nil {
		return violation("a chunk for subscription %d, which was not made", chunk.SubscriptionID)
	}
	if ended { // it was under way when we unsubscribed
		return nil
	}
	p.buf.Retain()
	a := Arrival{Subscription: s, Chunk: chunk, Turn: turn, Damage: chunk.CheckCRC(), buf: p.buf}
	a.Sound = a.Damage == nil && chunk.BatchesSound()
	p.arrivals = append(p.arrivals, a)
	return nil
}
