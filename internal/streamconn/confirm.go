package streamconn

import (
	"context"
	"fmt"

	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
)

// confirm passes the broker's confirms to the window and wakes whom it concerns
// (PROTOCOL.adoc PublishConfirm).
func (c *Conn) confirm(id uint8, ids streamproto.IDs) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := byID(c.publishers, id)
	if p == nil {
		return violation("confirms for publisher %d, which was not declared", id)
	}
	if p.err != nil { // everything has its outcome already: Unknown
		return nil
	}
	for i := range ids.Len() {
		if !p.window.settle(ids.At(i), outcome.Confirmed, 0, "") {
			return violation("confirm of publishing id %d, which is not in flight", ids.At(i))
		}
	}
	p.wake()
	return nil
}

// refuse is confirm for what the broker did not take (PROTOCOL.adoc
// PublishError).
func (c *Conn) refuse(id uint8, failed streamproto.PublishErrors) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := byID(c.publishers, id)
	if p == nil {
		return violation("errors for publisher %d, which was not declared", id)
	}
	if p.err != nil {
		return nil
	}
	for i := range failed.Len() {
		publishing, code := failed.At(i)
		if !p.window.settle(publishing, outcome.Rejected, uint16(code), code.String()) {
			return violation("error for publishing id %d, which is not in flight", publishing)
		}
	}
	p.wake()
	return nil
}

// wake tells those who wait for room, or for outcomes, that there are some.
// conn.mu is held.
func (p *Publisher) wake() {
	c := p.conn
	if c.waiting > 0 && p.enoughRoom() {
		c.room.Broadcast()
	}
	if len(p.window.runs) > 0 || p.flushAt != 0 && p.window.oldest >= p.flushAt {
		p.flushAt = 0
		c.settled.Broadcast()
	}
}

// lose ends what the connection has on a stream that went away: its leader
// moved, or it was deleted. The broker has forgotten the publishers and
// subscriptions already (rabbit_stream_reader.erl), and never gives back the
// credit of entries that were under way: whoever publishes again takes another
// connection.
func (c *Conn) lose(update streamproto.MetadataUpdate) {
	why := &ServerError{Code: update.Code, Reason: fmt.Sprintf("the leader of stream %q moved, or the stream was deleted", update.Stream)}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.publishers {
		if p != nil && p.cfg.Stream == update.Stream {
			p.end(why)
		}
	}
	for _, s := range c.subscriptions {
		if s != nil && s.cfg.Stream == update.Stream {
			s.end(why)
		}
	}
	c.room.Broadcast()
	c.settled.Broadcast()
}

// end ends the publisher: what is in flight becomes Unknown. Its id stays taken,
// because confirms may be under way. conn.mu is held.
func (p *Publisher) end(why error) {
	if p.err != nil {
		return
	}
	p.err = why
	if c := p.conn; c.open == p {
		c.open = nil
		c.out = c.out[:p.frame] // never sent
	}
	p.window.abandon()
	p.raw, p.batched = nil, 0
	close(p.done)
}

// Outcomes waits for outcomes and returns all that are known, in dst's memory or
// its own. The messages of the outcomes that it returned before leave the window
// now: until they were handed over they occupied it. At the end of the
// publisher, when none is left, it returns why it ended.
func (p *Publisher) Outcomes(dst []outcome.Outcome) ([]outcome.Outcome, error) {
	c := p.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	w := p.window
	w.kept -= uint64(len(dst))
	if len(dst) > 0 && c.waiting > 0 && p.enoughRoom() {
		c.room.Broadcast()
	}
	dst = dst[:0]
	for len(w.runs) == 0 {
		if p.err != nil {
			return dst, p.err
		}
		c.settled.Wait()
	}
	for _, r := range w.runs {
		for i := r.first; i < r.first+r.count; i++ {
			dst = append(dst, outcome.Outcome{Ref: *w.refs.at(i), Status: r.status, Code: r.code, Text: r.text})
		}
	}
	w.runs = w.runs[:0]
	return dst, nil
}

// WaitConfirms waits until every message published so far has its outcome, or
// the publisher has ended and said so.
func (p *Publisher) WaitConfirms(ctx context.Context) error {
	c := p.conn
	defer c.wakeAt(ctx, &c.settled)()
	c.mu.Lock()
	defer c.mu.Unlock()
	if p.batched > 0 {
		p.endFrame()
		c.wakeWriter()
	}
	for last := p.window.sealed; p.window.oldest < last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p.flushAt == 0 || last < p.flushAt {
			p.flushAt = last
		}
		c.settled.Wait()
	}
	return nil
}

// TakeFirstBad returns the first outcome since the last TakeFirstBad that was
// not Confirmed; its Status is 0 where there was none.
func (p *Publisher) TakeFirstBad() outcome.Outcome {
	p.conn.mu.Lock()
	defer p.conn.mu.Unlock()
	bad := p.window.firstBad
	p.window.firstBad = outcome.Outcome{}
	return bad
}
