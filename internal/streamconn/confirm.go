package streamconn

import (
	"fmt"

	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
)

// publisher finds the publisher that confirms or errors are for.
func (c *Conn) publisher(id uint8, what string) (*Publisher, error) {
	c.Lock()
	defer c.Unlock()
	if p := byID(c.publishers, id); p != nil {
		return p, nil
	}
	return nil, violation("%s for publisher %d, which was not declared", what, id)
}

// confirm reports what the broker confirms to the window (PROTOCOL.adoc
// PublishConfirm). Entries that follow each other are reported together.
func (c *Conn) confirm(id uint8, ids streamproto.IDs) error {
	p, err := c.publisher(id, "confirms")
	if err != nil {
		return err
	}
	b := p.backlog
	b.window.Lock()
	defer b.window.Unlock()
	if !b.has(p) { // all that it carried is Unknown, or another connection's
		return nil
	}
	defer b.settled()
	var first, end uint64 // of messages that are confirmed and not yet reported
	report := func() { p.carrier.Resolve(first, end-first, outcome.Confirmed, 0, "") }
	defer report()
	for i := 0; i < ids.Len(); {
		from, messages, n := b.entries.saidMany(ids, i)
		if n == 0 {
			return violation("confirm of publishing id %d, which is not in flight", ids.At(i))
		}
		if from != end && messages > 0 {
			report()
			first, end = from, from
		}
		end += messages
		i += n
	}
	return nil
}

// refuse reports what the broker did not take (PROTOCOL.adoc PublishError).
func (c *Conn) refuse(id uint8, failed streamproto.PublishErrors) error {
	p, err := c.publisher(id, "errors")
	if err != nil {
		return err
	}
	b := p.backlog
	b.window.Lock()
	defer b.window.Unlock()
	if !b.has(p) {
		return nil
	}
	defer b.settled()
	for i := range failed.Len() {
		id, code := failed.At(i)
		first, messages, published := b.entries.said(id)
		if !published {
			return violation("error for publishing id %d, which is not in flight", id)
		}
		p.carrier.Resolve(first, messages, outcome.Rejected, uint16(code), code.String())
	}
	return nil
}

// lose ends what the connection has on a stream that went away: its leader
// moved, or it was deleted. The broker has forgotten the publishers and
// subscriptions already (rabbit_stream_reader.erl), and never gives back the
// credit of entries that were under way: whoever publishes again takes another
// connection.
func (c *Conn) lose(update streamproto.MetadataUpdate) {
	why := &ServerError{Code: update.Code, Reason: fmt.Sprintf("the leader of stream %q moved, or the stream was deleted", update.Stream)}
	c.Lock()
	defer c.Unlock()
	for _, p := range c.publishers {
		if p != nil && p.cfg.Stream == update.Stream {
			p.fail(why)
		}
	}
	for _, s := range c.subscriptions {
		if s != nil && s.cfg.Stream == update.Stream {
			s.end(why)
		}
	}
	c.RoomChanged()
}
