package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/outcome"
	"github.com/thumpmq/thump/internal/record"
)

const (
	// feedBatch is the most messages that are read and published at a time.
	feedBatch = 1000
	// paceSteps is how often in a second messages are sent, with --pace, if there are as many.
	paceSteps = 50
	// badShown is how many bad messages are named; the others are only counted.
	badShown = 10
	// stdinSilent is how long standard input may say nothing before the user is told.
	stdinSilent = 2 * time.Second
	// partitionKeys is how many routing keys the messages have in turn that have none, and
	// go to a super stream.
	partitionKeys = 4096
)

// feed is the messages of the files, for load.Send.
type feed struct {
	*inputFlags
	u       *ui
	changes []change
	to      destination
	rejects *rejects // nil without --rejects

	next    int // of the files
	name    string
	file    *os.File
	begun   fs.FileInfo // of the file, before it was read
	plain   io.Closer
	reader  *record.Reader
	format  record.Format
	stuck   bool             // a read goes on that nobody waits for
	shared  thump.Properties // of every message that is a body alone
	records []record.Record
	numbers []uint64
	times   []time.Time // when each was there before
	batch   []thump.Message
	ready   []thump.Message // of the batch: read, and not handed out
	bad     error           // of the message after those

	sent    uint64 // messages that were handed out
	before  uint64 // of them before this turn of --loop
	first   uint64 // Ref of the first message that was handed out last
	skipped uint64
	begin   time.Time // when the first was sent, with --pace
	origin  time.Time // and when it was there before
}

// destination is what the place decides of a message.
type destination struct {
	own       bool // the record's exchange and routing key are used
	ownKey    bool // its routing key is
	stream    bool // it is one: it keeps what AMQP 0-9-1 has no place for
	spread    bool // a message without a key gets one, so that a super stream spreads them
	transient bool
	// Where a message goes that says no other place, for --rejects.
	exchange, routingKey string
}

// change makes of a message's properties what the flags say.
func (f *feed) change(p *thump.Properties) {
	for _, change := range f.changes {
		change(p)
	}
	if f.to.transient && p.DeliveryMode == 0 {
		p.DeliveryMode = thump.Transient
	}
}

func newFeed(flags *inputFlags, to destination, u *ui) (*feed, error) {
	changes, err := flags.changes()
	if err != nil {
		return nil, usageError{err}
	}
	f := &feed{
		inputFlags: flags, u: u, changes: changes, to: to,
		records: make([]record.Record, feedBatch), numbers: make([]uint64, feedBatch), batch: make([]thump.Message, feedBatch), times: make([]time.Time, feedBatch),
	}
	f.change(&f.shared)
	if flags.rejectsTo != "" {
		if f.rejects, err = openRejects(flags.rejectsTo); err != nil {
			return nil, fmt.Errorf("--rejects: %w", err)
		}
	}
	return f, nil
}

// close closes what is open. The error is that of --rejects.
func (f *feed) close() error {
	if !f.stuck {
		f.closeFile()
	}
	return f.rejects.close()
}

// finish closes the files, and notes in r what was skipped. It returns why the sending
// ended: ended, or why --rejects has not all that was rejected.
func (f *feed) finish(r *result.Run, ended error) error {
	r.Skipped = &f.skipped
	if ended == nil && f.sent+f.skipped == 0 && f.implied && r.Verdict == result.OK {
		f.u.errorf(" [!] Standard input was empty (--generate makes messages up)\n")
	}
	if err := f.close(); err != nil && ended == nil {
		r.Judge(err, false)
		return err
	}
	return ended
}

// Next returns the next messages of the files.
func (f *feed) Next(ctx context.Context) ([]thump.Message, error) {
	if err := f.rejects.failure(); err != nil {
		return nil, err
	}
	for {
		if len(f.ready) > 0 {
			return f.release(ctx)
		}
		if err := f.refuse(); err != nil {
			return nil, err
		}
		most := f.most()
		if most == 0 {
			return nil, io.EOF
		}
		if f.reader == nil {
			if err := f.open(ctx); err != nil {
				return nil, err
			}
		}
		n, err := f.read(ctx, most)
		switch _, bad := errors.AsType[*record.MessageError](err); {
		case bad:
			f.bad = fmt.Errorf("%s: %w", f.name, err)
		case errors.Is(err, io.EOF):
			f.bad = f.changed()
			f.closeFile()
		case err != nil && ctx.Err() != nil:
			f.stuck = true
			return nil, ctx.Err()
		case err != nil:
			f.bad = f.unread(err)
			f.closeFile()
		}
		f.ready = f.messages(n)
	}
}

// refuse deals with a message that can't be used.
func (f *feed) refuse() error {
	bad := f.bad
	f.bad = nil
	_, skippable := errors.AsType[*record.MessageError](bad)
	switch {
	case bad == nil:
		return nil
	case !skippable:
		return bad
	case !f.skipBad:
		return fmt.Errorf("%w; what came before it was sent (--skip-bad goes on after such a message)%s", bad, f.hint(bad))
	}
	if f.skipped++; f.skipped <= badShown {
		f.u.errorf(" [!] Skipped: %v\n", bad)
	}
	return nil
}

// hint says, with what is no record, why a file is read as records, where only its name says so.
func (f *feed) hint(bad error) string {
	_, syntax := errors.AsType[*record.SyntaxError](bad)
	if !syntax || f.format.Layout != record.JSON || f.layout.layout != "" {
		return ""
	}
	return ". It is read as records because of its name; --format lines sends each line as it is"
}

// most is how many messages may be read now.
func (f *feed) most() int {
	most := uint64(len(f.records))
	if f.count > 0 {
		most = min(most, f.count-f.sent)
	}
	return int(most)
}

// read reads up to that many messages. Where nothing has come from standard input for a
// while, it says what it waits for.
func (f *feed) read(ctx context.Context, most int) (int, error) {
	if f.file == os.Stdin && f.sent == 0 {
		told := time.AfterFunc(stdinSilent, func() {
			f.u.errorf(" [*] Waiting for messages from standard input (--generate makes messages up)\n")
		})
		defer told.Stop()
	}
	reader, records, numbers := f.reader, f.records[:most], f.numbers[:most]
	return interruptibly(ctx, func() (int, error) { return reader.Read(records, numbers) })
}

// messages makes messages of the first n records that were read. It ends before one that
// can't be sent.
func (f *feed) messages(n int) []thump.Message {
	f.first = f.sent + 1
	made := 0
	for i := range n {
		r := &f.records[i]
		if r.Unreadable != "" {
			later := f.bad
			f.bad = fmt.Errorf("%s: %w", f.name, f.fault(f.numbers[i], errors.New("its properties are not all there: "+r.Unreadable)))
			if !f.skipBad {
				break
			}
			_ = f.refuse() // counts
			f.bad = later
			continue
		}
		f.prepare(r)
		m := r.Message()
		if f.to.stream && len(f.changes) == 0 {
			m = r.StreamMessage()
		}
		f.sent++
		m.Ref, m.FilterValue = f.sent, f.filterValue
		f.batch[made], f.numbers[made], f.times[made] = m, f.numbers[i], sentAt(r)
		f.rejects.add(r, m.Ref, &f.to)
		made++
	}
	return f.batch[:made]
}

// prepare makes of a record what is to be sent.
func (f *feed) prepare(r *record.Record) {
	if f.format.Layout == record.JSON {
		f.change(&r.Properties)
	} else {
		r.Properties = f.shared
	}
	if !f.to.own {
		r.Exchange = ""
	}
	switch {
	case f.routingKey != "":
		r.RoutingKey = f.routingKey
	case !f.to.ownKey:
		r.RoutingKey = ""
	}
	if f.to.spread && r.RoutingKey == "" {
		r.RoutingKey = strconv.FormatUint(f.sent%partitionKeys, 10)
	}
}

// fault names a message of the file.
func (f *feed) fault(number uint64, why error) error {
	return &record.MessageError{Unit: f.format.Unit(), Number: number, Err: why}
}

// release hands out what is ready, once it is due.
func (f *feed) release(ctx context.Context) ([]thump.Message, error) {
	n := len(f.ready)
	var wait time.Duration
	if f.pace > 0 {
		n, wait = f.recorded()
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	messages := f.ready[:n]
	f.ready = f.ready[n:]
	return messages, nil
}

// recorded is how many of the messages that are ready are due together, with --pace, and how
// long to wait for them. A message without a time goes with the one before it.
func (f *feed) recorded() (n int, wait time.Duration) {
	now := time.Now()
	times := f.times[int(f.ready[0].Ref-f.first):]
	due := func(at time.Time) time.Duration {
		if f.origin.IsZero() {
			f.origin, f.begin = at, now
		}
		return f.begin.Add(time.Duration(float64(at.Sub(f.origin)) / f.pace)).Sub(now)
	}
	if !times[0].IsZero() {
		wait = max(0, due(times[0]))
	}
	for n = 1; n < len(f.ready); n++ {
		if !times[n].IsZero() && due(times[n]) > wait+time.Second/paceSteps {
			break
		}
	}
	return n, wait
}

// sentAt is when a message was there before: when a stream stored it, or else when its sender
// says it was sent.
func sentAt(r *record.Record) time.Time {
	if r.StoredAt.IsZero() {
		return r.Properties.Timestamp
	}
	return r.StoredAt
}

// Refused is told of a message that can't be sent.
func (f *feed) Refused(m *thump.Message, why error) error {
	f.rejects.drop(m.Ref)
	later := f.bad
	f.bad = fmt.Errorf("%s: %w", f.name, f.fault(f.numbers[m.Ref-f.first], errors.New(outcome.Refusal(why))))
	err := f.refuse()
	f.bad = later
	return err
}

// Outcomes is told what became of messages.
func (f *feed) Outcomes(outcomes []thump.Outcome) { f.rejects.outcomes(outcomes) }
