package streamconn

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/thumpmq/thump/internal/compress"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
	"github.com/thumpmq/thump/internal/window"
)

// PublisherConfig says what is published to and how, over all connections.
type PublisherConfig struct {
	Stream    string
	Reference string // the publisher's name, for deduplication; empty for none

	// Window is what the messages are in flight in. Several backlogs may share it.
	Window *window.Window

	// Ended is told when the backlog ends, and why; then its messages in flight become
	// Unknown. It runs with a connection's lock held, and must not wait.
	Ended func(why error)

	SubEntry    int // most messages in a sub-entry batch; 1 for an entry per message
	Compression compress.Codec
	Filtered    bool // send a filter value with each message; SubEntry is 1 then

	// Keep keeps what is in flight when the connection is lost, for the next one, and takes
	// messages meanwhile. Otherwise the backlog ends with its connection.
	Keep bool
	// Forget, with Keep, keeps only what no connection has carried: the rest becomes Unknown.
	Forget bool
}

// Backlog is what is published to a stream and has no outcome yet. It outlives
// connections: a Publisher of each of them has it in turn, and between two of them one
// that has none, so that messages are accepted all the time. An entry is kept as it was
// encoded until the broker has answered, and the next connection sends it again, with its
// publishing id: a stream that knows the Reference stores it once.
//
// It is safe for concurrent use.
type Backlog struct {
	cfg    PublisherConfig
	window *window.Window
	done   chan struct{}

	// current is the Publisher that has the backlog; nil before the first. It changes with
	// the lock of the former one's connection held, and that of the window.
	current atomic.Pointer[Publisher]

	// Guarded by the window's lock.
	carrier *window.Carrier
	entries entries
	copies  window.Store // of runs of entries, with Keep
	err     error        // why it ended
}

// NewBacklog returns an empty one. Conn.Publisher gives it a connection.
func NewBacklog(cfg PublisherConfig) *Backlog {
	carrier := cfg.Window.Carry()
	return &Backlog{
		cfg: cfg, window: cfg.Window, carrier: carrier, done: make(chan struct{}),
		entries: entries{carrier: carrier},
		copies:  window.Store{BlockSize: batchBytesMost + entryOverhead + batchOverhead},
	}
}

// Done is closed when the backlog has ended, and all of it has its outcome.
func (b *Backlog) Done() <-chan struct{} { return b.done }

// Err says why the backlog ended; nil while it lives.
func (b *Backlog) Err() error {
	b.window.Lock()
	defer b.window.Unlock()
	return b.err
}

// Publisher is the one that has the backlog now, also while there is no connection.
func (b *Backlog) Publisher() *Publisher { return b.current.Load() }

// Begin is that of the Publisher that has the backlog, which it returns.
func (b *Backlog) Begin(ctx context.Context) (*Publisher, error) {
	for {
		p := b.current.Load()
		err := p.Begin(ctx)
		if err == nil {
			return p, nil
		}
		if b.current.Load() == p { // else another has taken over, and may have room
			return nil, err
		}
	}
}

// InFlight is how many messages have no outcome, without those of a batch that is being
// filled.
func (b *Backlog) InFlight() int {
	b.window.Lock()
	defer b.window.Unlock()
	return int(b.entries.messages(b.entries.next))
}

// End ends the backlog, unless it has ended: nothing of it is sent any more. It has had a
// Publisher.
func (b *Backlog) End(why error) {
	p := b.lock()
	defer p.conn.Unlock()
	if p.err == nil {
		p.err = why
		b.end(p, why)
		close(p.done)
	}
}

// lock takes the lock of the connection of the Publisher that has the backlog, which it
// returns; nil if none has had it so far.
func (b *Backlog) lock() *Publisher {
	for {
		p := b.current.Load()
		if p == nil {
			return nil
		}
		p.conn.Lock()
		if b.current.Load() == p {
			return p
		}
		p.conn.Unlock()
	}
}

// has reports whether p has the backlog: if not, what its connection still says comes too
// late. The window is locked.
func (b *Backlog) has(p *Publisher) bool { return b.current.Load() == p && b.err == nil }

// end makes everything Unknown. p has the backlog; the lock of its connection is held, and
// the window is not locked.
func (b *Backlog) end(p *Publisher, why error) {
	p.batch.drop()
	b.window.Lock()
	b.err = why
	b.window.Unlock()
	b.cfg.Ended(why) // first, so that whoever is told of an outcome can learn why
	b.window.Lock()
	b.window.Weigh(-b.entries.bytes())
	b.carrier.End(why.Error())
	b.window.Unlock()
	close(b.done)
}

// keep takes the backlog over from p, whose connection is lost, and reports false where the
// last batch could not be completed. The lock of p's connection is held, and the window is
// not locked.
func (b *Backlog) keep(p *Publisher, why error) bool {
	b.window.Lock()
	defer b.window.Unlock()
	p.batch.finish()
	if p.batch.broken != nil {
		return false
	}
	b.entries.lost()
	if b.cfg.Forget {
		b.forget(why)
	}
	b.current.Store(p.goOffline())
	return true
}

// forget makes what a connection has carried Unknown. The window is locked.
func (b *Backlog) forget(why error) {
	first, end, bytes := b.entries.forget()
	b.carrier.Resolve(first, end-first, outcome.Unknown, 0, why.Error())
	b.window.Weigh(-bytes)
	b.settled()
}

// settled follows when messages have got their outcomes: runs of which all have it are let
// go. The window is locked.
func (b *Backlog) settled() {
	b.window.Weigh(-b.entries.advance())
	if b.cfg.Keep {
		b.copies.Drop(b.entries.oldest)
	}
	b.window.Wake()
}

// seal notes so many entries that are complete, as they are in a frame, with ids that follow
// each other up to that one; carried says that there is a connection for them. The window is
// locked.
func (b *Backlog) seal(id uint64, entries int, encoded []byte, carried bool) {
	b.entries.add(id, b.carrier.Next(), entries, len(encoded))
	b.window.Weigh(len(encoded))
	switch {
	case !b.cfg.Keep:
		return
	case b.cfg.Forget && carried:
		encoded = nil // if the connection is lost, nobody asks for it
	}
	b.copies.Add(encoded)
	if !carried {
		b.entries.unsent++
	}
}

// errTakenOver is why a Publisher without a connection ends.
var errTakenOver = errors.New("there is a connection again")

// takeOver gives the backlog to p, whose connection begins with what is in flight. known
// is the highest id that the stream has.
func (p *Publisher) takeOver(known uint64) error {
	b, c := p.backlog, p.conn
	former := b.lock() // of no connection: whoever holds that of one does not wait for this
	if former != nil {
		defer former.conn.Unlock()
		former.conn.seal()
		if former.err != nil {
			return former.err
		}
	}
	c.Lock()
	defer c.Unlock()
	if p.err != nil {
		return p.err
	}
	if former != nil {
		p.batch.goOn(&former.batch)
		former.err = errTakenOver
		close(former.done)
	}
	p.batch.known = max(p.batch.known, known)
	p.resending = true
	b.window.Lock()
	defer b.window.Unlock()
	p.resent = b.entries.messages(b.entries.carried)
	b.carrier.SentAgain(b.entries.carriedEnd(), p.resent, b.cfg.Reference != "")
	b.current.Store(p)
	return nil
}

// resend sends what is in flight, before anything new. It waits for the broker to read.
func (p *Publisher) resend(ctx context.Context) error {
	c := p.conn
	c.Lock()
	defer c.Unlock()
	for p.resending {
		err := c.WaitForRoom(ctx, func() (bool, error) { return len(c.Out) < transport.OutRoom, p.err })
		if err != nil {
			return fmt.Errorf("sending what is in flight: %w", err)
		}
		c.seal() // another publisher's frame
		p.window.Lock()
		p.resending = p.batch.resend()
		p.window.Unlock()
		if len(c.Out) > 0 {
			c.WakeWriter()
		}
	}
	c.RoomChanged()
	return nil
}

// resend appends runs that are in flight and that the connection does not have, as they
// were and in order, until there is no room. It reports whether there are more. A run goes
// whole: so what is known of one is known of all its entries.
func (b *batcher) resend() (more bool) {
	backlog := b.p.backlog
	for more = true; more && len(b.conn.Out) < transport.OutRoom; {
		var number uint64
		if number, more = backlog.entries.unsentNext(); more {
			b.resendRun(*backlog.entries.at(number), backlog.copies.At(number))
		}
	}
	b.close()
	backlog.settled()
	return more
}

// resendRun appends the entries of a run that have no outcome.
func (b *batcher) resendRun(r run, encoded []byte) {
	for i := range uint64(r.entries) {
		entry := encoded
		if r.entries > 1 {
			entry = encoded[:streamproto.EntrySize(encoded)]
			encoded = encoded[len(entry):]
		}
		first, messages := r.entry(i)
		if b.p.carrier.Open(first, messages) == 0 {
			continue
		}
		if b.conn.open != b.p {
			b.beginFrame()
		}
		if len(entry) > b.frameRoom() {
			b.closeFrame()
			b.beginFrame()
		}
		if len(entry) > b.frameRoom() {
			text := fmt.Sprintf("an entry of %d bytes was kept to be sent, and does not fit a frame of at most %d, as agreed with the broker by now", len(entry), b.conn.server.FrameMax)
			b.p.carrier.Resolve(first, messages, outcome.Unknown, 0, text)
			continue
		}
		b.conn.Out = append(b.conn.Out, entry...)
		b.entries++
	}
}
