package thump

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/thumpmq/thump/internal/version"
	"github.com/thumpmq/thump/internal/window"
)

const (
	windowDefault = 10000
	windowMost    = 1 << 20 // a message takes some 30 bytes of memory there

	// windowBytes bounds what a publisher keeps to send it again. One message may go over.
	windowBytes = 64 << 20
)

// PublisherConfig says where and how to publish.
type PublisherConfig struct {
	To Target

	// Window is the most messages in flight: published, and their outcome not known
	// or not yet handed over. Publish waits for room in it. Default 10000, for a
	// stream or super stream 100000; at most 1048576. A publisher to a queue or an exchange
	// also stops at 64 MiB in flight, which it keeps to send them again (see Resend), and one
	// to streams at 8 MiB, because the broker may store them as one chunk, and
	// every consumer buffers several chunks.
	Window int

	// NoConfirms turns publisher confirms off. All that is known of a message then
	// is that the broker has read it (after a Flush), or that it came back. A stream
	// always confirms.
	NoConfirms bool

	// DropUnroutable publishes without the mandatory flag, which asks the broker to return
	// a message that no queue wants: the broker then confirms and drops it. By default it
	// is Returned. It is for queues and exchanges.
	DropUnroutable bool

	// Declare is a queue that the publisher declares for itself, and again each time it comes
	// back, with Bind, its bindings: their Queue is left empty. It may be the queue of To, or
	// one that an exchange leads to. It can't be Exclusive.
	Declare *QueueSpec
	Bind    []Binding

	// Resend says what becomes of the messages in flight when the connection is lost:
	// by default they are sent again.
	Resend Resend

	// AnyUserID lets messages have any Properties.UserID. By default it must be the name
	// that the connection logged in with, as RabbitMQ itself asks, unless the user has
	// the tag impersonator, or logs in with a token that says who it is. It is for
	// queues and exchanges.
	AnyUserID bool

	// SameDeliveryMode publishes a message whose DeliveryMode is 0 without one, for those who
	// pass on what they got: a queue takes it for Transient. By default it goes out as
	// Persistent. It is for queues and exchanges.
	SameDeliveryMode bool

	// MaxMessageBytes is the largest body that Publish accepts. Default: the broker's
	// own default, which is 128 MiB before RabbitMQ 4.0 and 16 MiB since; for a
	// stream what fits a frame, 1 MiB unless the broker is configured otherwise.
	MaxMessageBytes int

	// OnOutcomes, where set, receives the outcomes of all messages, many at a time, in
	// the order in which they became known. The publisher calls it from a goroutine
	// of its own, one call at a time; the slice is valid until it returns. While it runs
	// the window fills: it must not wait for this publisher (Publish, Send, Flush, Close).
	// Without confirms there are no outcomes and it is not called; Counts has the
	// number of messages Returned.
	OnOutcomes func([]Outcome)

	// Stream is for a stream or super stream, and has to be zero for others.
	Stream StreamPublishing
}

// Resend is what becomes of the messages in flight when their connection is lost.
type Resend uint8

const (
	// ResendAlways keeps them, and sends them again on the next connection, in order, before
	// anything new. The broker may have stored some of them already: such a message is there
	// twice, and its Outcome says Resent. A stream's publisher with a Name resends with the
	// same publishing ids, so that the stream stores each message once.
	ResendAlways Resend = iota
	// ResendNever makes them Unknown. What is published while there is no connection was on
	// none, so it is kept and sent all the same.
	ResendNever
)

// Publisher publishes messages. It is safe for concurrent use; the messages of one call are
// sent in order.
//
// When its connection is lost it comes back by itself, sends again what is in flight, and takes
// messages meanwhile, up to the window: see Config.Recovery and PublisherConfig.Resend. Once
// it can't come back, or with Recovery.Off, it ends: every message in flight is then Unknown, and
// Send, Flush and Close say so with an *OutcomeError. A message for an exchange that does
// not exist ends it too: RabbitMQ closes the channel, with code 404.
type Publisher struct {
	client *Client
	cfg    PublisherConfig
	engine publishEngine

	window *window.Window // what is in flight

	closing  atomic.Bool
	closed   chan struct{} // Close has returned, with closeErr
	closeErr error
	done     chan struct{} // the publisher has ended, and the last callback has returned
}

// Publisher makes a publisher, on a connection of its own or a shared one (see
// Config.MaxConnections), for a super stream on one for each partition. It is not tried again
// where that fails. It declares no more than PublisherConfig.Declare; a stream has to be
// there.
func (c *Client) Publisher(ctx context.Context, cfg PublisherConfig) (*Publisher, error) {
	if err := cfg.validate(); err != nil {
		return nil, mistake(err)
	}
	generation := c.secrets.now()
	p := &Publisher{client: c, cfg: cfg, window: cfg.window(!c.cfg.Recovery.Off), closed: make(chan struct{}), done: make(chan struct{})}
	var err error
	switch cfg.To.kind {
	case targetStream:
		p.engine, err = c.streamPublisher(ctx, &p.cfg, cfg.To.name, p.window, p.window.Fail)
	case targetSuperStream:
		p.engine, err = c.superPublisher(ctx, &p.cfg, p.window)
	default:
		p.engine, err = c.amqpPublisher(ctx, &p.cfg, p.window)
	}
	if err != nil {
		return nil, err
	}
	if err := c.join(ctx, p, generation); err != nil {
		p.engine.close(ctx)
		return nil, err
	}
	p.window.WhenKnown(p.run)
	return p, nil
}

// window makes the window of a publisher. One that recovers keeps what is in flight; that of
// a stream keeps it elsewhere, together with what goes on the wire as one.
func (cfg *PublisherConfig) window(recovers bool) *window.Window {
	w := window.Config{Messages: cfg.Window, Collect: cfg.OnOutcomes != nil && !cfg.NoConfirms, Unconfirmed: cfg.NoConfirms}
	if cfg.To.streams() {
		w.Bytes = streamWindowBytes
	} else if recovers {
		w.Keep, w.Bytes = true, windowBytes
	}
	return window.New(w)
}

func (cfg *PublisherConfig) validate() error {
	var faults []error
	if cfg.Window == 0 {
		cfg.Window = windowDefault
		if cfg.To.streams() {
			cfg.Window = streamWindowDefault
		}
	}
	if cfg.Window < 1 || cfg.Window > windowMost {
		faults = append(faults, fmt.Errorf("thump: PublisherConfig.Window is %d, not between 1 and %d", cfg.Window, windowMost))
	}
	if cfg.To.streams() && (cfg.Declare != nil || cfg.Bind != nil) {
		faults = append(faults, errors.New("thump: PublisherConfig.Declare and Bind are for queues and exchanges: a stream has to be there"))
	}
	if q := cfg.Declare; q != nil && (q.Exclusive || q.Name == "") {
		faults = append(faults, errors.New("thump: PublisherConfig.Declare is Exclusive or has no Name: a consumer declares such a queue"))
	}
	if cfg.Resend > ResendNever {
		faults = append(faults, fmt.Errorf("thump: PublisherConfig.Resend is %d, neither ResendAlways nor ResendNever", cfg.Resend))
	}
	if cfg.MaxMessageBytes < 0 {
		faults = append(faults, fmt.Errorf("thump: PublisherConfig.MaxMessageBytes is %d", cfg.MaxMessageBytes))
	}
	if err := cfg.To.check(); err != nil {
		faults = append(faults, fmt.Errorf("thump: PublisherConfig.To: %w", err))
	}
	if cfg.To.streams() && cfg.NoConfirms {
		faults = append(faults, errors.New("thump: PublisherConfig.NoConfirms: a stream always confirms"))
	}
	if cfg.To.streams() && cfg.DropUnroutable {
		faults = append(faults, errors.New("thump: PublisherConfig.DropUnroutable: a stream has no routing"))
	}
	if cfg.To.streams() && cfg.SameDeliveryMode {
		faults = append(faults, errors.New("thump: PublisherConfig.SameDeliveryMode: a stream keeps the delivery mode as it is"))
	}
	return errors.Join(append(faults, cfg.Stream.validate(cfg.To)...)...)
}

// maxMessageBytes is the default of max_message_size by the version of the server
// (rabbit/Makefile: 134217728, and since 4.0 16777216).
func maxMessageBytes(server string) int {
	if version.Before(server, 4, 0) {
		return 128 << 20
	}
	return 16 << 20
}

// Publish puts messages into the window and returns, without waiting for their
// outcomes; it waits only for room in the window, for the broker to lift an
// alarm (connection.blocked), and for a full socket. While there is no connection it
// accepts what there is room for, and with NoConfirms waits. It returns how many of
// msgs were accepted: each of those gets an outcome, the others were not sent.
//
// The error is about the first message that was not accepted: errors.Is(err,
// ErrNotSent). A message that cannot be sent (body over MaxMessageBytes, properties
// larger than a frame, a name over 255 bytes) is refused before anything of it leaves;
// those before it in msgs are accepted.
func (p *Publisher) Publish(ctx context.Context, msgs ...Message) (int, error) {
	accepted, err := p.publish(ctx, msgs, nil)
	if err != nil {
		err = p.notSent(err, accepted, len(msgs))
	}
	return accepted, err
}

func (p *Publisher) publish(ctx context.Context, msgs []Message, watches watches) (int, error) {
	accepted := 0
	for accepted < len(msgs) {
		err := ctx.Err()
		if err == nil {
			var n int
			n, err = p.engine.publish(ctx, msgs[accepted:], watches.from(accepted))
			accepted += n
		}
		if err != nil {
			return accepted, p.because(err)
		}
	}
	return accepted, nil
}

// because is why a message was not sent: that the publisher has ended, where it has.
func (p *Publisher) because(err error) error {
	switch ended := p.engine.err(); {
	case ended == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
		return p.engine.away(err)
	case ended == nil:
		return err
	case errors.Is(ended, ErrClosed):
		return ErrClosed
	default:
		return fmt.Errorf("the publisher has ended: %w", ended)
	}
}

// notSent makes the error of message i of n.
func (p *Publisher) notSent(err error, i, n int) error {
	what := ""
	if n > 1 {
		what = fmt.Sprintf("message %d of %d was ", i+1, n)
	}
	return fmt.Errorf("thump: publishing to %v: %s%w: %w", p.cfg.To, what, ErrNotSent, err)
}

// watches is who waits for the messages of one publish: the call of a Send, and
// Message.Done.
type watches []window.Watch

// of returns who waits for message i, which is m; nil where nobody does.
func (w watches) of(i int, m *Message) *window.Watch {
	switch {
	case m.Done != nil && w != nil: // Done is called after the Send has returned
		return &window.Watch{Call: w[i].Call, Index: w[i].Index, Later: m.Done}
	case m.Done != nil:
		return &window.Watch{Later: m.Done}
	case w != nil:
		return &w[i]
	default:
		return nil
	}
}

// from is those of the messages from i on.
func (w watches) from(i int) watches {
	if w == nil {
		return nil
	}
	return w[i:]
}

// errNoConfirms is the error of Send without confirms.
var errNoConfirms = errors.New("the publisher has NoConfirms: nothing is known of one message")

// Send publishes messages and waits for their outcomes, and for those alone: any
// number of goroutines may Send at the same time, and share writes. It returns nil if
// all were Confirmed. Otherwise the error is an *OutcomeError with the outcome of each
// message; if none of them left, errors.Is(err, ErrNotSent). When ctx ends while some
// are in flight, those are Unknown: the broker may still take them, and the next
// Flush, or Close, counts those that it does not take. That is so too while there is no
// connection: what was accepted is sent once there is one.
func (p *Publisher) Send(ctx context.Context, msgs ...Message) error {
	switch {
	case len(msgs) == 0:
		return nil
	case p.cfg.NoConfirms:
		return fmt.Errorf("thump: publishing to %v: %w: %w", p.cfg.To, ErrNotSent, errNoConfirms)
	}
	call := p.window.NewCall(len(msgs))
	defer call.Release()
	accepted, failed := p.publish(ctx, msgs, call.Watches())
	confirmed, err := call.Wait(ctx, accepted)
	switch {
	case accepted == 0:
		return p.notSent(failed, 0, len(msgs))
	case confirmed && accepted == len(msgs):
		return nil
	case err == nil:
		err = failed
	default:
		err = p.engine.away(err)
	}
	return p.sendError(msgs, accepted, call, err)
}

// sendError makes the error of a Send.
func (p *Publisher) sendError(msgs []Message, accepted int, call *window.Call, why error) error {
	e := &OutcomeError{Target: p.cfg.To.String(), Published: uint64(len(msgs)), Outcomes: make([]Outcome, len(msgs)), Err: why}
	for i := range msgs {
		o := outcomeOf(call.Outcome(i))
		o.Ref = msgs[i].Ref
		switch {
		case i >= accepted:
			o.Status = NotSent
		case o.Status == 0:
			o.Status, o.Text = Unknown, why.Error()
		}
		e.add(i, o)
	}
	if e.Err == nil && e.Unknown > 0 {
		e.Err = p.engine.err()
	}
	return e
}

// problem makes the error for the messages of a report.
func (p *Publisher) problem(r window.Report, why error) error {
	return &OutcomeError{
		Target:    p.cfg.To.String(),
		Published: r.Counts.Published,
		Rejected:  r.Counts.Rejected,
		Returned:  r.Counts.Returned,
		Unknown:   r.Counts.Unknown,
		InFlight:  r.InFlight,
		First:     outcomeOf(r.First),
		Err:       why,
	}
}

// Flush waits until every message accepted so far has its outcome, and OnOutcomes and
// Done have returned from it. It returns nil if all whose outcome became known since
// the last Flush were confirmed, else an *OutcomeError that counts the others. What a Send
// has said of its messages is not said again. Without confirms it waits until the
// broker has read them all.
//
// Flush is for a loader that is alone on its publisher: where several goroutines
// publish, its error may be about the messages of another. Send answers each about its
// own.
func (p *Publisher) Flush(ctx context.Context) error {
	if p.closing.Load() {
		return fmt.Errorf("thump: publishing to %v: %w", p.cfg.To, ErrClosed)
	}
	_, err := p.flush(ctx)
	return err
}

// flush is Flush. told says that the error is about all that is known: the counts that it
// has are not told again.
func (p *Publisher) flush(ctx context.Context) (told bool, err error) {
	err = ctx.Err()
	if err == nil {
		err = p.wait(ctx)
	}
	ended := p.engine.err()
	if err != nil && ended == nil {
		return false, fmt.Errorf("thump: waiting for the outcomes of what was published to %v: %w", p.cfg.To, p.engine.away(err))
	}
	if r := p.window.Report(); ended != nil || r.Counts.Bad() > 0 {
		return true, p.problem(r, ended)
	}
	return true, nil
}

// wait blocks until every accepted message has its outcome.
func (p *Publisher) wait(ctx context.Context) error {
	if p.cfg.NoConfirms {
		return p.engine.barrier(ctx)
	}
	return p.window.Wait(ctx)
}

// outcomesMost is the most outcomes in one call of OnOutcomes: all of a large window may
// become known at once.
const outcomesMost = 4096

// run hands outcomes over until the publisher has ended; that is Done. What is left of its
// connections is of no use then: a channel can end alone, and a partition. Until Close it
// stays with the client only if there is a message that was not confirmed and that nobody
// has been told of.
func (p *Publisher) run() {
	p.handOutcomes()
	close(p.done)
	p.engine.close(context.Background()) // which bounds it
	if told := p.cfg.OnOutcomes != nil && !p.cfg.NoConfirms; told || p.window.Untold() == 0 {
		p.client.forget(p)
	}
}

// handOutcomes calls OnOutcomes and Done until the publisher has ended and every
// outcome was handed over.
func (p *Publisher) handOutcomes() {
	var outcomes []Outcome
	for {
		taken, err := p.window.Outcomes()
		if err != nil {
			<-p.engine.done()
			return
		}
		outcomes = outcomes[:0]
		for _, r := range taken.Runs {
			o := Outcome{Status: Status(r.Status), Code: r.Code, Text: r.Text, Resent: r.Resent}
			for i := r.First; i < r.First+r.Count; i++ {
				if len(outcomes) == outcomesMost {
					p.tell(outcomes)
					outcomes = outcomes[:0]
				}
				// The ref is set in place: a copy of what was just written waits for that.
				outcomes = append(outcomes, o)
				told := &outcomes[len(outcomes)-1]
				told.Ref = taken.Ref(i)
				if done, ok := taken.Later(i).(func(Outcome)); ok {
					done(*told)
				}
			}
		}
		p.tell(outcomes)
	}
}

func (p *Publisher) tell(outcomes []Outcome) {
	if p.cfg.OnOutcomes != nil {
		p.cfg.OnOutcomes(outcomes)
	}
}

// Close refuses new messages, waits as Flush does, and closes the connection. It may wait
// for ever, for instance while the broker has an alarm: give it a ctx that ends. When
// ctx ends first the connection is dropped and what was in flight is Unknown; Close then
// returns at once, whatever a callback does. It returns what Flush would: what a Send has
// said of its messages is not said again. A Close while
// another one is at work waits for that, no longer than its own ctx, and returns the
// same. After it every method says ErrClosed.
func (p *Publisher) Close(ctx context.Context) error {
	if !p.closing.CompareAndSwap(false, true) {
		select {
		case <-p.closed:
			return p.closeErr
		case <-ctx.Done():
			return fmt.Errorf("thump: closing the publisher to %v: another Close is at work: %w", p.cfg.To, ctx.Err())
		}
	}
	defer close(p.closed)
	p.window.Close(ErrClosed)
	told, err := p.flush(ctx)
	late := ctx.Err()
	if late != nil {
		late = p.engine.away(late)
	}
	p.engine.close(ctx)
	select {
	case <-p.done:
	case <-ctx.Done(): // a callback that has not returned holds up nobody
	}
	p.client.forget(p)
	if !told {
		// Dropped: by now every message has its outcome, Unknown at worst.
		err = p.problem(p.window.Report(), late)
	}
	p.closeErr = err
	return err
}

// Counts returns the totals so far.
func (p *Publisher) Counts() Counts {
	t := p.window.Totals()
	return Counts{
		Published: t.Published, Confirmed: t.Confirmed, Rejected: t.Rejected, Returned: t.Returned,
		Unknown: t.Unknown, Sent: t.Sent, InFlight: t.InFlight(), Resent: t.Resent,
	}
}

// Blocked returns the broker's reason while it blocks this publisher
// (connection.blocked: a memory or disk alarm), else "". Over the stream
// protocol the broker does not say.
func (p *Publisher) Blocked() string { return p.engine.blocked() }

// Done is closed when the publisher has ended, by Close or by a failure, and no callback
// will be called any more.
func (p *Publisher) Done() <-chan struct{} { return p.done }

// Err is nil until Done is closed or Close has returned, then why: ErrClosed after Close.
func (p *Publisher) Err() error {
	select {
	case <-p.done:
	case <-p.closed:
	default:
		return nil
	}
	return p.engine.err()
}

// LastPublishingID is for a stream's publisher with a Name: the last publishing id
// that the stream has stored under the Name, or that this publisher has used,
// whichever is higher. After a restart, publish from LastPublishingID()+1. It is 0
// for a super stream, where each partition has its own.
func (p *Publisher) LastPublishingID() uint64 {
	if s, ok := p.engine.(*streamPublisher); ok {
		return s.backlog.Publisher().LastID()
	}
	return 0
}

func (p *Publisher) updateSecret(ctx context.Context, secret, reason string) error {
	return p.engine.updateSecret(ctx, secret, reason)
}
