package streamconn

import (
	"context"
	"fmt"

	"github.com/thumpmq/thump/internal/streamproto"
)

// SubscribeConfig says what to subscribe to and how.
type SubscribeConfig struct {
	Stream     string
	Offset     streamproto.OffsetSpec
	Credit     uint16 // chunks that the broker may send ahead
	Properties []streamproto.Property

	// Inbox gets the chunks. Subscriptions of several connections may share one.
	Inbox *Inbox
}

// Subscription is one subscription of a connection. Like the connection it lives
// once. It is safe for concurrent use.
type Subscription struct {
	conn    *Conn
	cfg     SubscribeConfig
	id      uint8
	updates chan Update
	err     error // why it ended; guarded by conn.mu
}

// Update is the broker's word that a subscription of a group is to be, or not to
// be, the active one. It waits for an answer, for a minute at most (PROTOCOL.adoc
// ConsumerUpdate).
type Update struct {
	Active      bool
	correlation uint32
}

// updatesMost is how many updates may wait to be answered: the broker sends one
// and waits.
const updatesMost = 16

// Subscribe makes a subscription (PROTOCOL.adoc Subscribe).
func (c *Conn) Subscribe(ctx context.Context, cfg SubscribeConfig) (*Subscription, error) {
	s := &Subscription{conn: c, cfg: cfg, updates: make(chan Update, updatesMost)}
	c.mu.Lock()
	id, err := freeID(&c.subscriptions, s)
	if err == nil && c.err != nil {
		err = c.err
	}
	s.id = id
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	_, err = c.Call(ctx, &streamproto.Subscribe{
		SubscriptionID: id, Stream: cfg.Stream, Offset: cfg.Offset, Credit: cfg.Credit, Properties: cfg.Properties,
	})
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		s.err = err
		return nil, err
	}
	return s, nil
}

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
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.err == nil {
		s.err = ErrClosed
	}
	return err
}

// Answer answers an update; offset is where an active subscription is to begin,
// and OffsetNone for one that is not.
func (s *Subscription) Answer(u Update, offset streamproto.OffsetSpec) error {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	return c.respond(u.correlation, &streamproto.ConsumerUpdateResponse{Code: streamproto.CodeOK, Offset: offset})
}

// consumerUpdate passes an update on.
func (c *Conn) consumerUpdate(correlation uint32, q *streamproto.ConsumerUpdate) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := byID(c.subscriptions, q.SubscriptionID)
	if s == nil {
		return violation("an update of subscription %d, which was not made", q.SubscriptionID)
	}
	select {
	case s.updates <- Update{Active: q.Active, correlation: correlation}:
		return nil
	default:
		return violation("%d updates of one subscription at once", updatesMost)
	}
}

// credit lets the broker send n more chunks (PROTOCOL.adoc Credit).
func (s *Subscription) credit(n int) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || s.err != nil {
		return
	}
	// It always fits a frame.
	_ = c.queue(func(dst []byte) ([]byte, error) {
		return streamproto.AppendCredit(dst, streamproto.Credit{SubscriptionID: s.id, Credit: uint16(n)}), nil
	})
}

// end ends the subscription; chunks that have come can still be taken. conn.mu
// is held.
func (s *Subscription) end(why error) {
	if s.err == nil {
		s.err = why
		s.cfg.Inbox.End(fmt.Errorf("stream %q: %w", s.cfg.Stream, why))
	}
}

// deliver takes in a chunk. What it does not copy it holds the buffer for.
func (r *reader) deliver(f streamproto.Frame) error {
	chunk, err := streamproto.ParseDeliver(f)
	if err != nil {
		return unreadable(err)
	}
	c := r.conn
	c.mu.Lock()
	s := byID(c.subscriptions, chunk.SubscriptionID)
	ended := s != nil && s.err != nil
	c.mu.Unlock()
	if s == nil {
		return violation("a chunk for subscription %d, which was not made", chunk.SubscriptionID)
	}
	if ended { // it was under way when we unsubscribed
		return nil
	}
	r.buf.retain()
	r.arrivals = append(r.arrivals, Arrival{Subscription: s, Chunk: chunk, buf: r.buf})
	return nil
}

// handOver gives the consumers what this read brought them.
func (r *reader) handOver() {
	for first := 0; first < len(r.arrivals); {
		inbox := r.arrivals[first].Subscription.cfg.Inbox
		end := first + 1
		for end < len(r.arrivals) && r.arrivals[end].Subscription.cfg.Inbox == inbox {
			end++
		}
		inbox.put(r.arrivals[first:end])
		first = end
	}
	clear(r.arrivals)
	r.arrivals = r.arrivals[:0]
}
