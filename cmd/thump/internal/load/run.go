// Package load runs publishers and consumers against one queue, stream or super
// stream, and keeps count. It uses only the public API of package thump, so its
// figures are those that a user of the package gets. What it measures it writes to
// a result.Run.
//
// Memory does not depend on the number of messages: bodies are made a batch at a
// time in reused buffers, and the ledgers drop what is complete.
package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

const (
	// idleBeforeCheck is how long nothing must have come before the run asks the
	// broker whether anything is left. It decides nothing by itself.
	idleBeforeCheck = time.Second
	// stallTimeout is how long the source may hold messages and deliver none.
	stallTimeout = 60 * time.Second
	// lookAgain is the time between two looks at a queue that holds fewer messages than
	// are missing. Those are lost if the second look shows no more than the first:
	// RabbitMQ's queues count exactly what they hold, and what was confirmed is in
	// them, but what a closed channel gives back takes the broker a moment.
	lookAgain = 250 * time.Millisecond
	// extraRounds is how often a run empties again a queue that should be empty. Then
	// it says that somebody else publishes to it.
	extraRounds = 3
	// askAgain is the time between two questions to a broker that is away, and askTimeout
	// the time that it has for an answer.
	askAgain   = 200 * time.Millisecond
	askTimeout = 10 * time.Second
	// ghostTimeout is how long a connection that broke may keep messages, because the
	// broker has not noticed: it misses two heartbeats first, or more.
	ghostTimeout = 3 * time.Minute
	// lostRangesMost is how many ranges of lost messages the record names.
	lostRangesMost = 20
)

// RunConfig is a run: the sending of SendConfig, and consumers at the same time.
type RunConfig struct {
	SendConfig
	Consumers  int
	Sequential bool // send everything before the first message is received
	Work       Work // of the consumers
	// Recovery is that of the client. Its Progress must be told of the client's events.
	Recovery thump.Recovery
}

// Describe notes the settings of the run.
func (cfg *RunConfig) Describe(s *result.Settings) {
	cfg.SendConfig.Describe(s)
	s.Consumers, s.Sequential = cfg.Consumers, cfg.Sequential
	cfg.To.receiving(s)
	cfg.Work.describe(s)
}

// Run sends and receives the messages of cfg, and returns when every one is
// accounted for: confirmed or not, and received, or known to be lost. It writes what
// became of them to r, together with the verdict.
//
// It goes on through outages for as long as the client's publishers and consumers do. A
// message that came more than once for that reason is accounted for.
//
// When stop is closed it publishes no more, waits some seconds for confirms, takes
// what is already on its way, and returns with what is known. When ctx ends it
// returns at once.
//
// A queue must exist, be empty, and be used by nobody else. A stream must exist, and
// nobody else may publish to it. What comes out of a queue and is not as the run published it
// goes back when the consumers close, except with AutoAck.
//
// The error is why the run could not continue. It is in the verdict too.
func Run(ctx context.Context, client *thump.Client, cfg RunConfig, r *result.Run, stop <-chan struct{}) error {
	_, err := newRunner(client, cfg, stop).run(ctx, r)
	return err
}

// runner is a Run.
type runner struct {
	cfg    RunConfig
	client *thump.Client
	source source
	books  books
	stop   <-chan struct{}

	// expected is how many deliveries there must be at least. It is known when all is
	// sent, and too large to be reached before. expectedSeen is intakeConfig's.
	expected     atomic.Uint64
	expectedSeen chan struct{}

	// The sender's goroutine fills sent, writes sendErr, and then closes sendDone.
	sent     sender
	sendErr  error
	sendDone chan struct{}
	sendStop context.CancelFunc

	first, last time.Time // when the first and the last delivery came, or zero
	left        remainder // what the source holds, after the latest look
	foreign     uint64    // messages of it that the latest round gave back, at most
	finished    bool      // everything is accounted for
	err         error     // why the receiving failed
}

func newRunner(client *thump.Client, cfg RunConfig, stop <-chan struct{}) *runner {
	r := &runner{cfg: cfg, client: client, source: cfg.To.source(client), stop: stop, expectedSeen: make(chan struct{}, 1)}
	r.expected.Store(math.MaxUint64)
	r.sent = sender{cfg: cfg.SendConfig, client: client, readers: cfg.To.Readers(cfg.Consumers)}
	return r
}

// run runs the load and writes its record.
func (r *runner) run(ctx context.Context, out *result.Run) (interrupted bool, err error) {
	err = r.sent.prepare()
	if err == nil {
		err = r.source.open(ctx)
	}
	if err == nil {
		r.books = newBooks(r.sent.format, &r.cfg)
		r.sent.cfg.Unconfirmed, r.sent.cfg.Resent = r.books.unconfirmed, r.books.resent
		r.cfg.Progress.onLost(func() { r.books.lost(r.source.forgets()) })
		r.sendAndReceive(ctx)
		r.sent.stopWarmUp()
		if err = r.sendErr; err == nil {
			err = r.err
		}
		interrupted = !r.finished && (stopped(r.stop) || ctx.Err() != nil)
	}
	r.record(ctx, out, interrupted)
	judge(out, err, interrupted)
	return interrupted, err
}

// sendAndReceive does the work.
func (r *runner) sendAndReceive(ctx context.Context) {
	switch {
	case !r.cfg.Sequential:
		r.receiveRounds(ctx, nil)
	case r.source.consumersFirst():
		r.receiveRounds(ctx, make(chan struct{}))
	default:
		r.startSend(ctx)
		r.awaitSend(nil)
		if !stopped(r.stop) && r.sent.counts.Published > 0 {
			r.receiveRounds(ctx, nil)
		}
	}
}

// startSend starts the sender. It ends by itself, when r.stop is closed, or when
// sendStop is called.
func (r *runner) startSend(ctx context.Context) {
	halt, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.sendDone, r.sendStop = make(chan struct{}), cancel
	go func() {
		select {
		case <-r.stop:
			cancel()
		case <-halt.Done():
		}
	}()
	go func() {
		defer close(r.sendDone)
		defer cancel()
		r.sendErr = r.sent.send(ctx, halt.Done())
	}()
}

// awaitSend waits for the sender to end. It stops the sender when failed is closed.
func (r *runner) awaitSend(failed <-chan struct{}) {
	select {
	case <-r.sendDone:
	case <-failed:
		r.sendStop()
		<-r.sendDone
	}
	r.books.published(r.sent.published)
	r.expected.Store((r.sent.counts.Confirmed + r.sent.counts.Sent) * uint64(len(r.books)))
}

func (r *runner) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// receiveRounds receives until everything is accounted for. One round is nearly
// always enough. Only when the consumers have closed is it sure that nothing is on
// its way; if the queue is not empty then, another round follows. If hold is set,
// the consumers wait until it is closed, once all is sent.
func (r *runner) receiveRounds(ctx context.Context, hold chan struct{}) {
	complete := false // everything that was sent has come
	for extra := 0; ; {
		in, err := r.openIntake(ctx, hold)
		if err != nil {
			r.fail(err)
			return
		}
		if r.sendDone == nil {
			r.startSend(ctx)
			r.awaitSend(in.failed)
			if hold != nil {
				close(hold)
			}
		}
		r.awaitDeliveries(ctx, in, complete)
		r.fail(in.close(ctx, r.closeTimeout()))
		r.foreign = in.held()
		r.noteTimes(in)
		if r.lookAfterRound(ctx) {
			return
		}
		if complete = r.books.missing() == 0; complete && !in.cut.Load() {
			extra++
		}
		if extra > extraRounds {
			r.fail(errors.New("somebody else is publishing to the queue"))
			return
		}
	}
}

// openIntake opens the consumers of a round; after the first one the broker may be away.
func (r *runner) openIntake(ctx context.Context, hold <-chan struct{}) (in *intake, err error) {
	open := func(context.Context) error { // they live longer than the question
		in, err = openIntake(ctx, r.client, intakeConfig{
			consumers: r.cfg.Consumers, aside: r.aside(), consumer: r.consumer, sink: r.sink, foreign: r.isForeign, hold: hold, work: r.cfg.Work, recovers: !r.cfg.Recovery.Off,
			pollInterval: r.cfg.To.pollInterval(),
			progress:     r.cfg.Progress, expectedSeen: r.expectedSeen, expected: &r.expected,
		})
		return err
	}
	if r.sendDone == nil {
		err = open(ctx)
	} else {
		err = r.ask(ctx, open)
	}
	return in, err
}

// ask asks the broker for something, again and again while that is of use. Its errors are
// those of the question.
func (r *runner) ask(ctx context.Context, question func(context.Context) error) error {
	begin := time.Now()
	for {
		err := r.askOnce(ctx, question)
		if err == nil || r.err != nil || ctx.Err() != nil || !r.mayComeBack(err, begin) {
			return err
		}
		select {
		case <-time.After(askAgain):
		case <-r.stop:
		case <-ctx.Done():
		}
	}
}

// mayComeBack reports whether a broker that has not answered since then, but with err, may
// just be away.
func (r *runner) mayComeBack(err error, since time.Time) bool {
	recovery := &r.cfg.Recovery
	return !recovery.Off && thump.Temporary(err) && !errors.Is(err, errStalled) && !stopped(r.stop) &&
		(recovery.GiveUp == 0 || time.Since(since) < recovery.GiveUp)
}

// askOnce gives a broker that may come back, and any broker after stop, some time to answer.
func (r *runner) askOnce(ctx context.Context, question func(context.Context) error) error {
	const forever = math.MaxInt64
	timeout := time.Duration(forever)
	if !r.cfg.Recovery.Off {
		timeout = askTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-r.stop:
			time.AfterFunc(r.closeTimeout(), cancel)
		case <-over:
		}
	}()
	return question(ctx)
}

// closeTimeout is how long the broker has for what ends a round.
func (r *runner) closeTimeout() time.Duration {
	switch {
	case !stopped(r.stop):
		return closeTimeout
	case r.sent.unanswered.Load():
		return unansweredTimeout
	default:
		return stoppedTimeout
	}
}

// remaining is what the source says that it still holds.
func (r *runner) remaining(ctx context.Context) (left remainder, err error) {
	err = r.ask(ctx, func(ctx context.Context) error {
		left, err = r.source.remaining(ctx)
		return err
	})
	return left, err
}

func (r *runner) noteTimes(in *intake) {
	first, last := in.times()
	if r.first.IsZero() {
		r.first = first
	}
	if !last.IsZero() {
		r.last = last
	}
}

// awaitDeliveries returns when everything has come, when nothing more seems to come,
// when the run is stopped, or on a failure. In a round for extra messages everything
// has come already; it waits until those stop coming.
func (r *runner) awaitDeliveries(ctx context.Context, in *intake, extra bool) {
	tick := time.NewTicker(idleBeforeCheck / 10)
	defer tick.Stop()
	w, stop := waiting{}, r.stop
	var tooLong <-chan time.Time // after stop
	latest, answered := time.Now(), time.Now()
	handled := r.cfg.Progress.handled()
	for {
		w.allReceived = !extra && r.books.allReceived(r.expected.Load())
		if w.allReceived || w.stopping || w.idle >= idleBeforeCheck {
			var done bool
			err := r.askOnce(ctx, func(ctx context.Context) (err error) {
				done, err = r.source.done(ctx, in, w)
				return err
			})
			switch {
			case err == nil && done:
				return
			case err == nil:
				answered = time.Now()
			case !r.mayComeBack(err, answered):
				r.fail(fmt.Errorf("waiting for deliveries: %w", err))
				return
			}
		}
		select {
		case <-r.expectedSeen:
		case <-tick.C:
		case <-in.failed:
			return
		case <-stop:
			w.stopping, stop = true, nil
			tooLong = time.After(drainTimeout)
		case <-tooLong:
			return
		case <-ctx.Done():
			return
		}
		if now := r.cfg.Progress.handled(); now != handled || r.cfg.Progress.away() || r.cfg.Progress.working.Load() > 0 {
			handled, latest, answered = now, time.Now(), time.Now()
		}
		w.idle = time.Since(latest)
	}
}

// lookAfterRound asks what is left, now that nothing is on its way, and says whether
// the run is over.
func (r *runner) lookAfterRound(ctx context.Context) (over bool) {
	if r.sent.unanswered.Load() {
		return true
	}
	begin := time.Now()
	left, err := r.remaining(ctx)
	for changes := true; err == nil && r.err == nil && left.known && r.own(left) < r.books.missing() && changes; {
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
		}
		before := left.messages
		left, err = r.remaining(ctx)
		changes = left.messages > before || r.ghosts(left) && time.Since(begin) < ghostTimeout
	}
	if err != nil {
		r.fail(fmt.Errorf("looking for what is left: %w", err))
		return true
	}
	r.left = left
	if r.err != nil || stopped(r.stop) || ctx.Err() != nil {
		return true
	}
	if left.consumers > 0 && r.books.missing() > 0 {
		r.fail(fmt.Errorf("%d other consumers take messages from the queue", left.consumers))
		return true
	}
	r.finished = r.own(left) == 0
	return r.finished
}

// own is how many messages of what is left may be this run's.
func (r *runner) own(left remainder) uint64 { return left.messages - min(left.messages, r.foreign) }

// ghosts reports whether the consumers that the queue has may be those of this run, on
// connections that were lost and of which the broker does not know that yet. Then the
// messages that these have come back to the queue. Of those that poll the broker lists none.
func (r *runner) ghosts(left remainder) bool {
	return (left.consumers > 0 || polls(r.cfg.To)) && r.cfg.Progress.hadOutage() && !stopped(r.stop)
}
