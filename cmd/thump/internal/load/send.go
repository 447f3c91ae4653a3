package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/ledger"
)

const (
	// MaxCount is the largest number of messages of a run.
	MaxCount = ledger.MaxCount
	// MinBodyBytes is the size of the smallest body that is not the tutorial's.
	MinBodyBytes = ledger.MinBodySize
)

// SendConfig says what to send.
type SendConfig struct {
	To Place
	// Count is how many messages in all; each publisher sends its share. With Duration 0 is for
	// as many as there is time for.
	Count uint64
	// Schedule, if set, says when each message is to be sent, of all publishers together; nil is
	// for as fast as possible. Duration, if not 0, is when to end. What is due by then and late
	// is still sent, as long as that does not take much longer: see lateMost.
	Schedule *Schedule
	Duration time.Duration
	// WarmUp is how long from the beginning on messages count for no rate and no latency.
	WarmUp     time.Duration
	Publishers int
	Window     int // messages in flight for each publisher, with confirms
	// MaxMessageBytes is PublisherConfig's; 0 for its default.
	MaxMessageBytes int

	// Latency puts two headers into each message, with which a Receive in another process can
	// tell how long it took. A Feed's messages stay as they are.
	Latency bool

	// Feed, if set, has the messages, and knows how many: Count is then for the settings
	// alone. There is one publisher, which keeps their order.
	Feed Feed

	// BodyBytes is the size of each body; 0 for the tutorial's "Message N".
	BodyBytes int
	// Sizes are those of bodies of several sizes, instead of BodyBytes.
	Sizes Sizes
	// Properties are those of each message that is made up; nil for none. Where messages are
	// transient, that is in them besides.
	Properties *thump.Properties
	// Priorities are those of the messages, of whatever else Properties has.
	Priorities Priorities
	// Incompressible lets bodies that are not the tutorial's differ throughout, so that nothing
	// makes many of them smaller.
	Incompressible bool
	// RunID tells this run's bodies from those of another run, but for the tutorial's.
	RunID uint32

	// Progress is updated with every batch. It must not be nil.
	Progress *Progress
	// Unconfirmed, if set, receives the numbers of messages that were published and
	// not confirmed. It must be safe for concurrent use, and must not keep the slice.
	Unconfirmed func(numbers []uint64)
	// Resent is the same for the numbers of messages that were sent again after an outage,
	// or may have been, so that the broker may have them more than once.
	Resent func(numbers []uint64)
}

// Describe notes the settings of the sending side.
func (cfg *SendConfig) Describe(s *result.Settings) {
	s.Count, s.Publishers = cfg.Count, cfg.Publishers
	s.DurationSeconds, s.WarmUpSeconds = cfg.Duration.Seconds(), cfg.WarmUp.Seconds()
	if cfg.Schedule != nil {
		s.Rate, s.Arrivals = cfg.Schedule.String(), cfg.Schedule.Arrivals()
	}
	if cfg.To.Confirms() {
		s.Window = cfg.Window
	}
	switch s.Body, s.BodyBytes = "tutorial", cfg.LargestBody(); {
	case cfg.Feed != nil:
		cfg.describeFeed(s)
	case cfg.Sizes.Shares != nil:
		s.Body = cfg.Sizes.Text
	case cfg.BodyBytes > 0:
		s.Body = fmt.Sprintf("%d bytes", cfg.BodyBytes)
	}
	s.Incompressible = cfg.Incompressible
	s.Priorities = cfg.Priorities.Text
	cfg.To.sending(s)
	if p := cfg.Properties; p != nil && p.Expiration > 0 {
		s.TTLSeconds = p.Expiration.Seconds()
	}
}

// openCount is the count of a plan that the time ends: more than can be sent.
const openCount = 1 << 40

// lateMost is how much longer than Duration messages may be sent that are due and late: long
// enough that no break within that time goes unseen.
func (cfg *SendConfig) lateMost() time.Duration {
	if cfg.Schedule == nil {
		return 0
	}
	return max(5*time.Second, cfg.Duration/10)
}

// term is a time that ends the sending.
type term struct {
	begin  time.Time
	length time.Duration
	latest bool // a number of messages may end it before
}

// term is what ends a sending that begins then: the schedule's last message, or the Duration; nil
// for neither. Nobody knows how much a Feed has.
func (cfg *SendConfig) term(begin time.Time) *term {
	switch {
	case cfg.Feed != nil:
		return nil
	case cfg.Schedule != nil && cfg.Count > 0:
		return &term{begin: begin, length: cfg.Schedule.at(float64(cfg.Count - 1))}
	case cfg.Duration > 0:
		return &term{begin: begin, length: cfg.Duration, latest: cfg.Count > 0}
	}
	return nil
}

// plan returns who publishes what, and the bodies.
func (cfg *SendConfig) plan() (ledger.Plan, ledger.Format, error) {
	if cfg.Feed != nil {
		return ledger.Plan{Publishers: 1}, ledger.Format{}, nil
	}
	plan := ledger.Plan{Count: cfg.Count, Publishers: cfg.Publishers}
	if plan.Count == 0 && cfg.Duration > 0 {
		plan.Count = openCount
	}
	err := plan.Validate()
	if err != nil {
		return plan, ledger.Format{}, err
	}
	format := ledger.Tutorial(plan)
	switch {
	case cfg.Sizes.Shares != nil:
		format, err = ledger.Mixed(plan, cfg.Sizes.Shares, cfg.RunID)
	case cfg.BodyBytes > 0:
		format, err = ledger.Sized(plan, cfg.BodyBytes, cfg.RunID)
	}
	if cfg.Incompressible {
		format = format.Masked()
	}
	return plan, format, err
}

// Send publishes the messages of cfg and waits for their outcomes, which it writes
// to r together with the verdict. When stop is closed it publishes no more, and
// waits up to ten seconds for the outcomes of what is in flight, and no longer than
// three seconds without any; that is no error.
// When ctx ends it gives up at once.
//
// The error is why a publisher could not continue. It is in the verdict too.
// Messages that the broker rejected or returned are no error; r counts them.
func Send(ctx context.Context, client *thump.Client, cfg SendConfig, r *result.Run, stop <-chan struct{}) error {
	s := &sender{cfg: cfg, client: client}
	err := s.prepare()
	if err == nil {
		err = s.send(ctx, stop)
	}
	s.stopWarmUp()
	s.record(r)
	r.TotalSeconds = r.SendSeconds
	judge(r, err, stopped(stop) && !s.complete())
	return err
}

// complete reports whether everything was published.
func (s *sender) complete() bool {
	if s.cfg.Feed != nil {
		return len(s.publishers) == 1 && s.publishers[0].fed
	}
	return s.timeUp.Load() || s.counts.Published >= s.cfg.Count
}

// sender is a Send. Its results are there once send has returned.
type sender struct {
	cfg        SendConfig
	client     *thump.Client
	readers    int // how many of a Run receive each message
	plan       ledger.Plan
	format     ledger.Format
	times      *sentTimes   // nil with a Feed
	clock      *clockKeeper // nil without Latency
	publishers []publisher

	// counts are the sums over the publishers. published is, for each publisher, how
	// many messages it published, from the start of its range.
	counts    thump.Counts
	published []uint64
	// first is when the first message was published. last is when the last outcome
	// came; without confirms, when the broker had read the last message. Both are
	// zero if nothing was published.
	first, last time.Time
	// late is how far the sending was behind the schedule at worst.
	late time.Duration
	// receivedByEnd is the number of deliveries when sending ended, with those of what has expired.
	receivedByEnd uint64
	// bodyBytes and wireBytes are, for a stream, the sizes of the bodies that were
	// accepted and of the frames that carried them; 0 for a queue.
	bodyBytes, wireBytes uint64
	// unanswered says that the wait for outcomes was cut short after stop.
	unanswered atomic.Bool
	timeUp     atomic.Bool // Duration has ended the sending
	// warming ends the warm-up, which may outlast the sending; nil where there is none.
	warming *time.Timer
}

// prepare makes the plan.
func (s *sender) prepare() (err error) {
	if s.plan, s.format, err = s.cfg.plan(); err != nil {
		return err
	}
	s.publishers, s.published = make([]publisher, s.plan.Publishers), make([]uint64, s.plan.Publishers)
	if s.cfg.Feed == nil {
		asked := s.readers
		if s.cfg.To.Confirms() {
			asked++
		}
		s.times = newSentTimes(s.plan, s.cfg.Schedule, batchSize(s.cfg.To, &s.format), asked)
	}
	return nil
}

// send publishes everything, waits for the outcomes and closes the publishers.
func (s *sender) send(ctx context.Context, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Two contexts: publishing ends as soon as stop is closed, the wait for outcomes
	// some seconds later.
	publishing, stopPublishing := context.WithCancel(ctx)
	defer stopPublishing()
	go func() {
		select {
		case <-stop:
			stopPublishing()
		case <-ctx.Done():
			return
		}
		s.drain(ctx)
		cancel()
	}()

	if err := s.open(publishing); err != nil {
		s.close(ctx)
		if stopped(stop) {
			err = nil
		}
		return err
	}
	first := time.Now()
	defer s.start(first, stopPublishing)()
	s.each(func(p *publisher) {
		switch {
		case s.cfg.Feed != nil:
			p.err = p.feed(publishing)
		case p.pace != nil:
			p.err = p.publishPaced(publishing)
		default:
			p.err = p.publish(publishing)
		}
		if p.pace != nil {
			p.pace.end()
		}
		if err := flushError(p.pub.Flush(ctx)); p.err == nil {
			p.err = err
		}
	})
	s.receivedByEnd = s.cfg.Progress.over()
	flushed := time.Now()
	s.cfg.Progress.sendingEnded.Store(&flushed)
	s.close(ctx)
	err := s.sum(first, flushed)
	if stopped(stop) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		// There was no time to wait for every outcome. Those that are missing count as
		// unknown, and the user knows why.
		err = nil
	}
	return err
}

// start starts the clocks. The function that it returns stops them, but for that of the warm-up:
// what is received after the sending may still be part of that.
func (s *sender) start(begin time.Time, timeUp func()) (end func()) {
	if s.times != nil {
		s.times.start(begin, s.cfg.WarmUp)
	}
	if s.cfg.WarmUp > 0 {
		s.warming = time.AfterFunc(s.cfg.WarmUp, s.cfg.Progress.warmedUp)
	}
	if s.cfg.Schedule != nil {
		pace := newPace(s.cfg.Schedule, begin, len(s.publishers))
		for i := range s.publishers {
			s.publishers[i].pace = pace.pacer(i)
		}
		s.cfg.Progress.pace.Store(pace)
	}
	s.cfg.Progress.term.Store(s.cfg.term(begin))
	if s.cfg.Duration == 0 {
		return func() {}
	}
	duration := time.AfterFunc(s.cfg.Duration+s.cfg.lateMost(), func() {
		s.timeUp.Store(true)
		timeUp()
	})
	return func() { duration.Stop() }
}

// stopWarmUp is for the end of all: there is nothing that could come after the warm-up.
func (s *sender) stopWarmUp() {
	if s.warming != nil {
		s.warming.Stop()
	}
}

// drain waits, after stop, as long as it is worth waiting for outcomes, or until ctx ends.
func (s *sender) drain(ctx context.Context) {
	progress := s.cfg.Progress
	begin := time.Now()
	answered, latest := progress.answered.Load(), begin
	tick := time.NewTicker(drainQuiet / 20)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := progress.answered.Load()
		// Without confirms nothing is answered but the end.
		works := !s.cfg.To.Confirms() && !progress.away() && progress.Blocked() == ""
		if now != answered || works {
			answered, latest = now, time.Now()
		}
		if time.Since(latest) >= drainQuiet || time.Since(begin) >= drainTimeout {
			s.unanswered.Store(true)
			return
		}
	}
}

// open connects every publisher, so that all are ready when the clock starts.
func (s *sender) open(ctx context.Context) error {
	if s.cfg.Latency {
		s.clock = keepClock(ctx, s.client, s.cfg.Schedule != nil)
	}
	for i := range s.publishers {
		p := &s.publishers[i]
		p.cfg, p.format, p.number, p.times, p.clock = &s.cfg, &s.format, i, s.times, s.clock
		if s.times != nil {
			p.own, p.stopwatch = s.plan.Range(i), s.times.stopwatch()
		}
		cfg := s.cfg.To.publisher(i, len(s.publishers))
		cfg.Window, cfg.MaxMessageBytes, cfg.OnOutcomes = s.cfg.Window, s.cfg.MaxMessageBytes, p.outcomes
		pub, err := s.client.Publisher(ctx, cfg)
		if err != nil {
			return err
		}
		p.pub = pub
		s.cfg.Progress.watch(pub)
	}
	return nil
}

// each runs f for every open publisher at once and waits for all.
func (s *sender) each(f func(*publisher)) {
	var wg sync.WaitGroup
	for i := range s.publishers {
		if p := &s.publishers[i]; p.pub != nil {
			wg.Go(func() { f(p) })
		}
	}
	wg.Wait()
}

func (s *sender) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	s.each(func(p *publisher) {
		if err := flushError(p.pub.Close(ctx)); err != nil && p.err == nil {
			p.err = err
		}
		<-p.pub.Done() // where ctx has ended, Close waits for no callback
	})
	if s.clock != nil {
		s.clock.close(ctx)
	}
}

// sum adds up what the publishers have counted. All of them have closed. The error
// is the first of theirs.
func (s *sender) sum(first, flushed time.Time) error {
	var failed error
	for i := range s.publishers {
		p := &s.publishers[i]
		c := p.pub.Stats()
		s.counts.Published += c.Published
		s.counts.Confirmed += c.Confirmed
		s.counts.Rejected += c.Rejected
		s.counts.Returned += c.Returned
		// A publisher that has closed has nothing in flight: what it could not wait
		// for is Unknown.
		s.counts.Unknown += c.Unknown + c.InFlight
		s.counts.Sent += c.Sent
		s.counts.Resent += c.Resent
		s.bodyBytes += c.BodyBytes
		s.wireBytes += c.WireBytes
		s.published[i] = p.published
		if p.pace != nil {
			s.late = max(s.late, p.pace.late)
		}
		if p.last.After(s.last) {
			s.last = p.last
		}
		if failed == nil {
			failed = p.err
		}
	}
	switch {
	case s.counts.Published == 0:
		s.last = time.Time{}
	case !s.cfg.To.Confirms():
		s.first, s.last = first, flushed
	default:
		s.first = first
	}
	return failed
}

// record writes what became of the messages to r.
func (s *sender) record(r *result.Run) {
	c := s.counts
	r.Sent, r.Confirmed, r.Rejected, r.Returned, r.Unknown = &c.Published, &c.Confirmed, &c.Rejected, &c.Returned, &c.Unknown
	r.Resent = &c.Resent
	s.cfg.Progress.recordOutages(r)
	if s.cfg.Progress.pace.Load() != nil && s.cfg.Feed == nil {
		r.NotSent = new(uint64(0))
		if s.timeUp.Load() {
			*r.NotSent = s.cfg.Count - min(s.cfg.Count, c.Published)
		}
	}
	if s.first.IsZero() {
		return
	}
	r.ConfirmLatency = s.cfg.Progress.confirmLatency.latency(s.cfg.Schedule != nil)
	if s.cfg.Schedule != nil {
		r.LateSeconds = seconds(s.late)
	}
	if s.wireBytes > 0 {
		r.BytesOnWire = new(s.wireBytes)
		r.CompressionRatio = new(float64(s.bodyBytes) / float64(s.wireBytes))
	}
	if s.last.IsZero() {
		return
	}
	rated, before := r.Confirmed, func(w *warm) uint64 { return w.confirmed }
	if !s.cfg.To.Confirms() {
		rated, before = r.Sent, func(w *warm) uint64 { return w.sent }
	}
	r.SendSeconds = seconds(s.last.Sub(s.first))
	r.SendRatePerSecond = s.cfg.rateAfter(rated, s.first, s.last, before)
}
