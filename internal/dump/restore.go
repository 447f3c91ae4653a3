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
	"github.com/thumpmq/thump/internal/outcome"
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

	// To is a queue, stream or super stream that is there. Into a super stream goes only a dump of
	// one with as many partitions.
	To Definition

	// SkipUnpublishable leaves out what can't be published; otherwise that is an error.
	SkipUnpublishable bool
	// MaxMessageBytes is PublisherConfig's, for a queue.
	MaxMessageBytes int

	Progress    *Progress
	Interrupted <-chan struct{}
}

// Restored is what became of the messages of a dump.
type Restored struct {
	// Confirmed is how many the broker has confirmed, in order, from the first one on that was not
	// There, unless there was an error.
	Confirmed uint64
	// There is how many were in a stream or partition already, from a restore of the same dump that
	// was cut short.
	There uint64
	// Skipped is how many were left out because they can't be published, and WhySkipped which was
	// the first one, and why.
	Skipped    uint64
	WhySkipped string
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
// the dump's digest: a restore that was cut short and is done again doubles nothing. To a super stream
// they go in the same way, each into the partition in the place of its own, with its number there. To
// a queue they go through the default exchange or, where some came through another exchange, through
// one of its own that leads to this queue alone, so that they keep their routing keys; it is
// deleted afterwards.
func Restore(ctx context.Context, client *thump.Client, r Restoring) (Restored, error) {
	from, err := NewReader(r.From)
	if err != nil {
		return Restored{}, err
	}
	w := &restorer{Restoring: r, client: client, from: from, streams: r.To.Streams() != nil, slots: make([]slot, publishMost)}
	if err := w.setDestinations(); err != nil {
		return Restored{}, err
	}
	cfg, done, err := w.target(ctx)
	if err != nil {
		return Restored{}, err
	}
	w.cfg = cfg
	w.cfg.OnOutcomes = w.outcomes
	err = w.publish(ctx)
	result := Restored{
		Confirmed: w.confirmed.Load(), There: w.there.Load(), Skipped: w.skipped, WhySkipped: w.whySkipped,
		Resent: w.resent.Load(), Unknown: w.unknown.Load(),
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
	closing := w.closePublisher(confirming)
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

	streams    bool // messages go to a stream or super stream
	whole      *destination
	partitions map[string]*destination // by partition of the dump; then whole is nil
	cfg        thump.PublisherConfig
	current    *destination     // that pub is of
	pub        *thump.Publisher // nil before the first message

	slots      []slot
	msgs       []thump.Message
	skipped    uint64
	whySkipped string // the first of them

	there, confirmed, resent, unknown atomic.Uint64
	bad                               atomic.Pointer[thump.Outcome] // the first one that was not confirmed
}

// destination is what messages are put into: a queue, a stream, or one of the partitions.
type destination struct {
	name  string
	read  uint64 // how many messages of the dump are for it, so far
	asked bool   // there is known
	there uint64 // how many of them it had, where it is a stream
}

// slot is one message that is about to be published, and the memory that it is in.
type slot struct {
	line   []byte
	parser record.Parser
	rec    record.Record

	to     *destination
	place  uint64 // its number among those for that destination
	number uint64 // in the dump
}

// setDestinations notes what messages are put into.
func (w *restorer) setDestinations() error {
	if w.To.Kind != SuperStream {
		w.whole = &destination{name: w.To.Name}
		return nil
	}
	of, to := w.from.Header.Queue.Streams(), w.To.Streams()
	if w.from.Header.Queue.Kind != SuperStream || len(of) != len(to) {
		return fmt.Errorf("the dump is of %q, and the super stream %q has other partitions", w.from.Header.Queue.Name, w.To.Name)
	}
	w.partitions = make(map[string]*destination, len(of))
	for i, name := range of {
		w.partitions[name] = &destination{name: to[i]}
	}
	return nil
}

// destination is what a message of that stream is put into.
func (w *restorer) destination(stream string) *destination {
	if w.whole != nil {
		return w.whole
	}
	return w.partitions[stream] // the Reader lets no other one pass
}

// errRefused ends the publishing: the broker has refused a message.
var errRefused = errors.New("refused")

// target is how to publish, and, but for streams, where to. done removes what was made for it.
func (w *restorer) target(ctx context.Context) (cfg thump.PublisherConfig, done func(context.Context) error, err error) {
	nothing := func(context.Context) error { return nil }
	switch {
	case w.streams:
		return thump.PublisherConfig{Stream: thump.StreamPublishing{Name: publisherName(w.Contents)}}, nothing, nil // each stream in its turn
	case w.Contents.Routed == 0:
		return w.toQueue(thump.Queue(w.To.Name)), nothing, nil
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
	if err := w.client.Bind(ctx, thump.Binding{Source: exchange.Name, Queue: w.To.Name}); err != nil {
		return cfg, nil, errors.Join(err, done(ctx))
	}
	return w.toQueue(thump.Exchange(exchange.Name, "")), done, nil
}

// toQueue is how to publish to a queue, as the messages are.
func (w *restorer) toQueue(to thump.Target) thump.PublisherConfig {
	return thump.PublisherConfig{To: to, AnyUserID: true, SameDeliveryMode: true, MaxMessageBytes: w.MaxMessageBytes}
}

// publishAll publishes all that is to be published, some at a time.
func (w *restorer) publishAll(ctx context.Context) error {
	for {
		if isClosed(w.Interrupted) {
			return ErrInterrupted
		}
		read, reading := w.fill()
		for left := w.slots[:read]; len(left) > 0; {
			n := 1
			for n < len(left) && left[n].to == left[0].to {
				n++
			}
			if err := w.publishTo(ctx, left[0].to, left[:n]); err != nil {
				return err
			}
			left = left[n:]
		}
		if errors.Is(reading, io.EOF) && w.from.read != w.Contents.Messages {
			reading = fmt.Errorf("it has only %d messages", w.from.read)
		}
		switch {
		case errors.Is(reading, io.EOF), errors.Is(reading, ErrCutShort) && w.from.read == w.Contents.Messages:
			return nil
		case reading != nil:
			return fmt.Errorf("the file is not what it was when it was verified: %w", reading)
		}
	}
}

// fill reads the next messages. Its error says that there are no more than those.
func (w *restorer) fill() (read int, err error) {
	for bytes := 0; read < len(w.slots) && bytes < publishBytes; read++ {
		s := &w.slots[read]
		if cap(s.line) > slotKept {
			*s = slot{}
		}
		if s.line, err = w.from.ReadLine(s.line[:0]); err != nil {
			return read, err
		}
		if err := w.from.Parse(&s.parser, s.line, &s.rec); err != nil {
			return read, err
		}
		if s.number = w.from.Messages(); s.number > w.Contents.Messages {
			return read, errors.New("it has more messages")
		}
		s.to = w.destination(s.rec.Stream)
		s.to.read++
		s.place = s.to.read
		bytes += len(s.line)
	}
	return read, nil
}

// publishTo publishes those messages that the destination does not have yet.
func (w *restorer) publishTo(ctx context.Context, to *destination, slots []slot) error {
	if err := w.turnTo(ctx, to); err != nil {
		return err
	}
	w.msgs = w.msgs[:0]
	var bad error
	for i := range slots {
		s := &slots[i]
		if s.place <= to.there {
			continue
		}
		if why := publishable(&s.rec, w.streams); why != nil {
			if !w.SkipUnpublishable {
				bad = fmt.Errorf("message %d can't be published: %w", s.number, why)
				break // those before it can
			}
			w.skip(s.number, why.Error())
			continue
		}
		w.msgs = append(w.msgs, w.message(s))
	}
	if err := w.publishMessages(ctx, w.msgs); err != nil {
		return err
	}
	if w.bad.Load() != nil {
		return errRefused
	}
	return bad
}

// publishMessages publishes messages. One that package thump refuses, such as one that is too
// large for this broker, is left out or the end of it; those before it are published.
func (w *restorer) publishMessages(ctx context.Context, msgs []thump.Message) error {
	for len(msgs) > 0 {
		n, err := w.pub.Publish(ctx, msgs...)
		if msgs = msgs[n:]; err == nil {
			continue
		}
		if ctx.Err() != nil || w.pub.Err() != nil { // it is not this message
			return fmt.Errorf("message %d of the dump: %w", msgs[0].Ref, err)
		}
		why := outcome.Refusal(err)
		if !w.SkipUnpublishable {
			return fmt.Errorf("message %d can't be published: %s", msgs[0].Ref, why)
		}
		w.skip(msgs[0].Ref, why)
		msgs = msgs[1:]
	}
	return nil
}

// skip leaves a message out.
func (w *restorer) skip(number uint64, why string) {
	if w.skipped == 0 {
		w.whySkipped = fmt.Sprintf("message %d: %s", number, why)
	}
	w.skipped++
}

// turnTo makes the publisher of a destination, once all that went to the one before is confirmed.
func (w *restorer) turnTo(ctx context.Context, to *destination) error {
	if w.current == to {
		return nil
	}
	if w.pub != nil {
		if err := w.pub.Flush(ctx); err != nil {
			return err
		}
		if err := w.closePublisher(ctx); err != nil {
			return err
		}
	}
	cfg := w.cfg
	if w.streams {
		cfg.To = thump.Stream(to.name)
	}
	pub, err := w.client.Publisher(ctx, cfg)
	if err != nil {
		return err
	}
	w.pub, w.current = pub, to
	if w.streams && !to.asked {
		to.asked, to.there = true, pub.LastPublishingID()
		w.there.Add(to.there)
	}
	return nil
}

// closePublisher waits for the confirms of what was published last.
func (w *restorer) closePublisher(ctx context.Context) error {
	if w.pub == nil {
		return nil
	}
	err := w.pub.Close(ctx)
	<-w.pub.Done() // where the context has ended, Close waits for no callback
	w.pub, w.current = nil, nil
	return err
}

// message is a record as it is published.
func (w *restorer) message(s *slot) thump.Message {
	if w.streams {
		return w.streamMessage(s)
	}
	m := s.rec.Message()
	m.Ref, m.Exchange = s.number, ""
	if w.Contents.Routed == 0 {
		m.RoutingKey = "" // the default exchange takes it for the queue's name
	}
	return m
}

// streamMessage is a record as it is published to a stream.
func (w *restorer) streamMessage(s *slot) thump.Message {
	rec := &s.rec
	if rec.Sections == nil && rec.Properties.Format != thump.FormatRaw && version.AtLeast(w.client.Server().Version, 3, 13) { // before, they can't be kept
		stamp(rec)
	}
	m := rec.StreamMessage()
	m.Ref, m.PublishingID = s.number, s.place
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
		if o.Resent && !w.streams {
			w.resent.Add(1)
		}
	}
	w.Progress.Messages.Store(w.confirmed.Add(confirmed) + w.there.Load())
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
