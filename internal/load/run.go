// Package load runs publishers and consumers against one queue, stream or super
// stream, through the public API of package thump alone, and keeps count: its
// figures are those that a user of the package gets.
//
// Memory does not depend on the number of messages: bodies are made in reused
// buffers, a batch at a time, and the ledgers forget what is complete.
package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/ledger"
)

const (
	// idleBeforeCheck is how long nothing must have come before the run asks
	// the broker whether anything is left. It decides nothing by itself.
	idleBeforeCheck = time.Second
	// stallTimeout is how long the source may hold messages and deliver none.
	stallTimeout = 60 * time.Second
	// secondLook is the time between the two looks at an empty queue that make
	// missing messages lost. RabbitMQ's queues count what they hold exactly,
	// and what was confirmed is in them; the second look is for messages that
	// a closed channel gives back, which takes the broker a moment.
	secondLook = 250 * time.Millisecond
	// surplusRounds is how often a queue that should be empty is emptied again
	// before the run says that somebody else publishes to it.
	surplusRounds = 3
)

// Config is a run: the sending of SendConfig, and consumers at the same time.
type Config struct {
	SendConfig

	Consumers int
	Prefetch  int // unsettled deliveries for each consumer of a queue
	AutoAck   bool
	// Sequential sends everything before the first message is received.
	Sequential bool

	// Fresh says that the stream was made for this run and holds nothing else. Of
	// one that was there before, what it holds already is not received.
	Fresh bool
	// ConsumerName is the name under which a stream's consumer stores its offset;
	// "" for none. Several get a number each.
	ConsumerName string
}

// Outcome is what came of a run.
//
// Every consumer of a stream gets every message: each is judged by itself, and
// the counts are sums over them.
type Outcome struct {
	Sent   Sent
	Totals ledger.Totals
	// Lost messages were confirmed (without confirms: sent), have not come, and
	// are not in the queue; a stream's consumer has read on behind them. LostKnown
	// is false when the run ended before that could be told.
	Lost       uint64
	LostKnown  bool
	LostRanges []ledger.Range
	// Left is how many messages the run left in the queue; LeftKnown is false
	// when the broker could not be asked, and for a stream, which keeps all.
	Left      uint64
	LeftKnown bool
	// First and Last are when the first and the last delivery came, or zero.
	First, Last time.Time
	// Interrupted says that stop was closed before the run had ended.
	Interrupted bool
}

// Run sends and receives the messages of the plan, and returns when every one
// is accounted for: confirmed or not, and received, or known to be lost.
//
// When stop is closed it publishes no more, waits some seconds for confirms,
// takes what is already on its way, and returns with what is known. When ctx
// ends it returns at once.
//
// A queue must be there, empty, and nobody else's; a stream must be there, and
// nobody else must publish to it.
func Run(ctx context.Context, client *thump.Client, cfg Config, stop <-chan struct{}) (Outcome, error) {
	_, format, err := cfg.plan()
	if err != nil {
		return Outcome{}, err
	}
	r := &run{cfg: cfg, client: client, stop: stop, reached: make(chan struct{}, 1)}
	r.books, r.source = newBooks(format, cfg), newSource(client, cfg)
	r.cfg.Unconfirmed = r.books.unconfirmed
	r.goal.Store(math.MaxUint64)
	if err := r.source.open(ctx); err != nil {
		return Outcome{}, err
	}
	r.all(ctx)
	out := r.outcome(ctx)
	if r.sendErr != nil {
		return out, r.sendErr
	}
	return out, r.err
}

func newSource(client *thump.Client, cfg Config) source {
	if cfg.To.Streams() {
		return &streamSource{
			client: client, place: cfg.To, name: cfg.ConsumerName, many: cfg.Consumers > 1, fresh: cfg.Fresh,
		}
	}
	return &queueSource{client: client, queue: cfg.To.Name, prefetch: cfg.Prefetch, autoAck: cfg.AutoAck}
}

type run struct {
	cfg    Config
	client *thump.Client
	source source
	books  *books
	stop   <-chan struct{}

	// goal is how many deliveries there must be at least; known when all is sent.
	goal    atomic.Uint64
	reached chan struct{}

	// The sender's goroutine writes sent and sendErr and then closes sendDone.
	sendDone chan struct{}
	sendStop context.CancelFunc
	sent     Sent
	sendErr  error

	out      Outcome
	finished bool  // everything is accounted for
	err      error // why receiving failed
}

// all sends and receives.
func (r *run) all(ctx context.Context) {
	if !r.cfg.Sequential {
		r.receiveRounds(ctx, nil)
		return
	}
	if r.cfg.To.Streams() && !r.cfg.Fresh {
		// Only consumers that are there before the first message know where in
		// the stream it is.
		hold := make(chan struct{})
		r.receiveRounds(ctx, hold)
		return
	}
	r.startSend(ctx)
	r.awaitSend(nil)
	if !r.ended() {
		r.receiveRounds(ctx, nil)
	}
}

// startSend starts the sender. It ends by itself, when r.stop is closed, or
// when sendStop is called.
func (r *run) startSend(ctx context.Context) {
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
		r.sent, r.sendErr = Send(ctx, r.client, r.cfg.SendConfig, halt.Done())
	}()
}

// awaitSend waits for the sender to end, and stops it when failed is closed.
func (r *run) awaitSend(failed <-chan struct{}) {
	select {
	case <-r.sendDone:
	case <-failed:
		r.sendStop()
		<-r.sendDone
	}
	r.books.published(r.sent.Published)
	r.goal.Store((r.sent.Counts.Confirmed + r.sent.Counts.Sent) * uint64(len(r.books.ledgers)))
}

func (r *run) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// ended says that there is no more to be received by this run: it was stopped,
// or could not send anything.
func (r *run) ended() bool { return stopped(r.stop) || r.sent.Counts.Published == 0 }

// receiveRounds receives until everything is accounted for. One round nearly
// always does; another follows where closing the consumers, which is the only
// way to be sure that nothing is under way, shows that the queue is not empty.
// Where hold is set, the consumers are let go once all is sent.
func (r *run) receiveRounds(ctx context.Context, hold chan struct{}) {
	for surplus := 0; ; {
		in, err := openIntake(ctx, r.client, intakeConfig{
			consumers: r.cfg.Consumers, consumer: r.source.consumer, sink: r.books.sink, hold: hold,
			autoAck: r.cfg.AutoAck, progress: r.cfg.Progress, reached: r.reached, goal: &r.goal,
		})
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
		r.awaitDeliveries(ctx, in, surplus > 0)
		r.fail(in.close(ctx))
		r.noteTimes(in)
		if r.lookAfterRound(ctx) {
			return
		}
		if r.books.missing() == 0 {
			surplus++
		}
		if surplus > surplusRounds {
			r.fail(errors.New("somebody else is publishing to the queue"))
			return
		}
	}
}

func (r *run) noteTimes(in *intake) {
	first, last := in.times()
	if r.out.First.IsZero() {
		r.out.First = first
	}
	if !last.IsZero() {
		r.out.Last = last
	}
}

// awaitDeliveries returns when all has come, when nothing more seems to come,
// when the run is stopped, or on a failure. In a round for surplus everything
// has come already, and the wait is for whatever it is to stop coming.
func (r *run) awaitDeliveries(ctx context.Context, in *intake, surplus bool) {
	tick := time.NewTicker(idleBeforeCheck / 10)
	defer tick.Stop()
	at, stop := standing{}, r.stop
	var tooLong <-chan time.Time // after stop
	latest := time.Now()
	received := r.cfg.Progress.Received()
	for {
		at.came = !surplus && r.books.came(r.goal.Load())
		if at.came || at.stopping || at.idle >= idleBeforeCheck {
			over, err := r.source.nothingMore(ctx, in, at)
			if err != nil {
				r.fail(fmt.Errorf("waiting for deliveries: %w", err))
			}
			if over {
				return
			}
		}
		select {
		case <-r.reached:
		case <-tick.C:
		case <-in.failed:
			return
		case <-stop:
			at.stopping, stop = true, nil
			tooLong = time.After(drainTimeout)
		case <-tooLong:
			return
		case <-ctx.Done():
			return
		}
		if now := r.cfg.Progress.Received(); now != received {
			received, latest = now, time.Now()
		}
		at.idle = time.Since(latest)
	}
}

// lookAfterRound asks what is left now that nothing is under way, and says
// whether the run is over.
func (r *run) lookAfterRound(ctx context.Context) (over bool) {
	left, err := r.source.left(ctx)
	if err == nil && left.known && left.messages == 0 && r.books.missing() > 0 && r.err == nil {
		select {
		case <-time.After(secondLook):
		case <-ctx.Done():
		}
		left, err = r.source.left(ctx)
	}
	if err != nil {
		r.fail(fmt.Errorf("looking for what is left: %w", err))
		return true
	}
	r.out.Left, r.out.LeftKnown = left.messages, left.known
	if r.err != nil || stopped(r.stop) || ctx.Err() != nil {
		return true
	}
	if left.consumers > 0 && r.books.missing() > 0 {
		r.fail(fmt.Errorf("%d other consumers take messages from the queue", left.consumers))
		return true
	}
	r.finished = left.messages == 0
	return r.finished
}

// outcome puts together what is known.
func (r *run) outcome(ctx context.Context) Outcome {
	out := r.out
	out.Sent = r.sent
	out.Totals = r.books.totals()
	out.Interrupted = !r.finished && (stopped(r.stop) || ctx.Err() != nil)
	missing := r.books.missing()
	switch {
	case r.cfg.NoConfirms && r.sent.Counts.Unknown > 0:
		// Without confirms nobody can say which messages the broker never read.
	case missing == 0:
		out.LostKnown = true
	case r.finished && r.cfg.NoConfirms:
		// Which messages came back as unroutable is told only with confirms.
		out.Lost, out.LostKnown = missing-min(missing, r.sent.Counts.Returned), true
	case r.finished:
		out.Lost, out.LostKnown = missing, true
		out.LostRanges = r.books.missingRanges(20)
	case out.Interrupted && r.err == nil && r.sent.Counts.Unknown == 0:
		// Not everything was received, and nothing is under way: what is
		// neither here nor in the queue is lost. Which, can't be told.
		if out.Left, out.LeftKnown = r.leftInQueue(ctx); out.LeftKnown {
			out.Lost, out.LostKnown = missing-min(missing, out.Left), true
		}
	}
	return out
}

// leftInQueue asks for what is left, unless that is known.
func (r *run) leftInQueue(ctx context.Context) (uint64, bool) {
	if r.out.LeftKnown || ctx.Err() != nil {
		return r.out.Left, r.out.LeftKnown
	}
	left, err := r.source.left(ctx)
	return left.messages, left.known && err == nil
}
