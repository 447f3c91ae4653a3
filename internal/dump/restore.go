package dump

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/record"
	"github.com/thumpmq/thump/internal/version"
)

const (
	// publishMost is how many messages are published with one call, and publishBytes about
	// how many bytes of the file those take.
	publishMost  = 128
	publishBytes = 4 << 20
	// slotKept is how much memory for a line is kept for the next one.
	slotKept = 1 << 20
)

// Restoring says what to put where.
type Restoring struct {
	// From is the dump, read anew, and Contents what Verify has found in it. Of one that is
	// cut short, what is there is put back.
	From     io.Reader
	Contents Contents

	// To is the name of a queue or stream that is there, and Kind what it is.
	To   string
	Kind thump.QueueKind

	// SkipUnpublishable leaves out what can't be published; otherwise that is an error.
	SkipUnpublishable bool

	Progress    *Progress
	Interrupted <-chan struct{}
}

// Restored is what became of the messages of a dump.
type Restored struct {
	// Confirmed is how many the broker has confirmed, in order, from the first one on unless
	// there was an error.
	Confirmed uint64
	// There is how many a stream had already, from a restore of the same dump that was cut
	// short.
	There uint64
	// Skipped is how many were left out because they can't be published.
	Skipped uint64
	// Resent is how many of Confirmed may be there twice: they were sent again after the
	// connection was lost.
	Resent uint64
	// Unknown is how many more may be there: no word of them had come when it ended.
	Unknown uint64
}

// confirmsMost is how long confirms are waited for after an interruption.
const confirmsMost = 3 * time.Second

// Restore publishes the messages of a dump file, in order. It returns nil once every one is
// confirmed. Otherwise the error says why not, and Restored how many were confirmed before.
//
// To a stream they go with the numbers of the messages as publishing ids, under a name made of
// the dump's digest: a restore that was cut short and is done again doubles nothing. To a queue
// they go through the default exchange or, where some came through another exchange, through
// one of its own that leads to this queue alone, so that they keep their routing keys; it is
// deleted afterwards.
func Restore(ctx context.Context, client *thump.Client, r Restoring) (Restored, error) {
	from, err := NewReader(r.From)
	if err != nil {
		return Restored{}, err
	}
	w := &restorer{Restoring: r, client: client, from: from}
	cfg, done, err := w.target(ctx)
	if err != nil {
		return Restored{}, err
	}
	cfg.OnOutcomes = w.outcomes
	if w.pub, err = client.Publisher(ctx, cfg); err != nil {
		return Restored{}, errors.Join(err, done(ctx))
	}
	if r.Kind == Stream {
		w.there = w.pub.LastPublishingID()
	}
	err = w.publish(ctx)
	result := Restored{
		Confirmed: w.confirmed.Load(), There: w.there, Skipped: w.skipped, Resent: w.resent.Load(), Unknown: w.unknown.Load(),
	}
	if got := result.Confirmed + result.There + result.Skipped; err == nil && got != r.Contents.Messages {
		err = fmt.Errorf("%d of %d messages are accounted for", got, r.Contents.Messages)
	}
	return result, errors.Join(err, done(ctx))
}

// publish publishes all that is to be published, and waits for its confirms. Nothing that the
// broker keeps waiting outlasts an interruption for long.
func (w *restorer) publish(ctx context.Context) error {
	publishing, ended := unlessInterrupted(ctx, w.Interrupted, 0)
	defer ended()
	err := w.publishAll(publishing)
	if errors.Is(err, errRefused) {
		err = nil // the outcomes say why
	}
	confirming, ended := unlessInterrupted(ctx, w.Interrupted, confirmsMost)
	defer ended()
	closing := w.pub.Close(confirming)
	<-w.pub.Done() // where the context has ended, Close waits for no callback
	bad := w.bad.Load()
	switch {
	case isClosed(w.Interrupted) && (bad == nil || bad.Status == thump.Unknown) && (err != nil || closing != nil):
		return ErrInterrupted
	case bad != nil:
		return fmt.Errorf("message %d of the dump is %v: %d %s", bad.Ref, bad.Status, bad.Code, bad.Text)
	case err != nil:
		return err
	default:
		return closing
	}
}

// restorer is a Restore at work.
type restorer struct {
	Restoring
	client *thump.Client
	from   *Reader
	pub    *thump.Publisher

	slots   []slot
	msgs    []thump.Message
	there   uint64
	skipped uint64

	confirmed, resent, unknown atomic.Uint64
	bad                        atomic.Pointer[thump.Outcome] // the first one that was not confirmed
}

// slot is one message that is about to be published, and the memory that it is in.
type slot struct {
	line   []byte
	parser record.Parser
	rec    record.Record
}

// errRefused ends the publishing: the broker has refused a message.
var errRefused = errors.New("refused")

// target is where to publish. done removes what was made for it.
func (w *restorer) target(ctx context.Context) (cfg thump.PublisherConfig, done func(context.Context) error, err error) {
	nothing := func(context.Context) error { return nil }
	switch {
	case w.Kind == Stream:
		return thump.PublisherConfig{
			To: thump.Stream(w.To), Stream: thump.StreamPublishing{Name: publisherName(w.Contents)},
		}, nothing, nil
	case w.Contents.Routed == 0:
		return thump.PublisherConfig{To: thump.Queue(w.To), AnyUserID: true, SameDeliveryMode: true}, nothing, nil
	}
	// A name of its own: what a restore that was killed has left leads to another queue.
	exchange := thump.ExchangeSpec{Name: "thump-restore-" + rand.Text(), Kind: "fanout", AutoDelete: true}
	if err := w.client.DeclareExchange(ctx, exchange); err != nil {
		return cfg, nil, err
	}
	done = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTimeout)
		defer cancel()
		return w.client.DeleteExchange(ctx, exchange.Name, thump.DeleteOptions{})
	}
	if err := w.client.Bind(ctx, thump.Binding{Source: exchange.Name, Queue: w.To}); err != nil {
		return cfg, nil, errors.Join(err, done(ctx))
	}
	return thump.PublisherConfig{To: thump.Exchange(exchange.Name, ""), AnyUserID: true, SameDeliveryMode: true}, done, nil
}

// publishAll publishes all that is to be published, some at a time.
func (w *restorer) publishAll(ctx context.Context) error {
	w.slots, w.msgs = make([]slot, publishMost), make([]thump.Message, 0, publishMost)
	for {
		if isClosed(w.Interrupted) {
			return ErrInterrupted
		}
		reading := w.fill()
		if len(w.msgs) > 0 {
			if n, err := w.pub.Publish(ctx, w.msgs...); err != nil {
				return fmt.Errorf("message %d of the dump: %w", w.msgs[min(n, len(w.msgs)-1)].Ref, err)
			}
		}
		switch {
		case w.bad.Load() != nil:
			return errRefused
		case errors.Is(reading, io.EOF), errors.Is(reading, ErrCutShort) && w.from.read == w.Contents.Messages:
			return nil
		case reading != nil:
			return fmt.Errorf("the file is not what it was when it was verified: %w", reading)
		}
	}
}

// fill makes the next messages to publish. Its error says that there are no more.
func (w *restorer) fill() error {
	w.msgs = w.msgs[:0]
	for i, bytes := 0, 0; i < len(w.slots) && bytes < publishBytes; {
		s := &w.slots[i]
		if cap(s.line) > slotKept {
			*s = slot{}
		}
		var err error
		if s.line, err = w.from.ReadLine(s.line[:0]); err != nil {
			return err
		}
		if err := w.from.Parse(&s.parser, s.line, &s.rec); err != nil {
			return err
		}
		number := w.from.Messages()
		if number > w.Contents.Messages {
			return errors.New("it has more messages")
		}
		if number <= w.there {
			continue
		}
		if err := publishable(&s.rec, w.Kind == Stream); err != nil {
			if !w.SkipUnpublishable {
				return fmt.Errorf("message %d can't be published: %w", number, err)
			}
			w.skipped++
			continue
		}
		w.msgs = append(w.msgs, w.message(&s.rec, number))
		bytes += len(s.line)
		i++
	}
	return nil
}

// message is a record as it is published.
func (w *restorer) message(rec *record.Record, number uint64) thump.Message {
	if w.Kind == Stream {
		return w.streamMessage(rec, number)
	}
	m := rec.Message()
	m.Ref, m.Exchange = number, ""
	if w.Contents.Routed == 0 {
		m.RoutingKey = "" // the default exchange takes it for the queue's name
	}
	return m
}

// streamMessage is a record as it is published to a stream.
func (w *restorer) streamMessage(rec *record.Record, number uint64) thump.Message {
	if rec.Sections == nil && rec.Properties.Format != thump.FormatRaw && version.AtLeast(w.client.Server().Version, 3, 13) { // before, they can't be kept
		stamp(rec)
	}
	m := rec.StreamMessage()
	m.Ref, m.PublishingID = number, number
	m.Exchange, m.RoutingKey = "", ""
	return m
}

// stamp makes headers of a record's exchange and routing key, of the names under which
// RabbitMQ keeps them in a stream, as annotations: such headers become that.
func stamp(rec *record.Record) {
	headers := &rec.Properties.Headers
	if rec.Exchange != "" {
		*headers = append(*headers, thump.Field{Key: "x-exchange", Value: rec.Exchange})
	}
	if rec.RoutingKey != "" {
		*headers = append(*headers, thump.Field{Key: "x-routing-key", Value: rec.RoutingKey})
	}
}

// outcomes counts what became of messages.
func (w *restorer) outcomes(outcomes []thump.Outcome) {
	confirmed := uint64(0)
	for i := range outcomes {
		o := &outcomes[i]
		if o.Status == thump.Unknown {
			w.unknown.Add(1)
		}
		if o.Status != thump.Confirmed {
			w.bad.CompareAndSwap(nil, new(*o))
			continue
		}
		confirmed++
		if o.Resent && w.Kind != Stream {
			w.resent.Add(1)
		}
	}
	w.Progress.Messages.Store(w.confirmed.Add(confirmed) + w.there)
}

// publisherName is the name under which the messages of a dump go to a stream.
func publisherName(c Contents) string { return "thump-restore-" + c.Digest[:32] }

// Begun is how many messages of a dump a stream has had from a restore of it.
func Begun(ctx context.Context, client *thump.Client, stream string, c Contents) (uint64, error) {
	pub, err := client.Publisher(ctx, thump.PublisherConfig{
		To: thump.Stream(stream), Stream: thump.StreamPublishing{Name: publisherName(c)},
	})
	if err != nil {
		return 0, err
	}
	begun := pub.LastPublishingID()
	return begun, pub.Close(ctx)
}
