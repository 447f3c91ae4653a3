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
	To         Place
	Count      uint64 // messages in all; each publisher sends its share
	Publishers int
	Window     int // messages in flight for each publisher, with confirms

	// Feed, if set, has the messages, and knows how many: Count is then for the settings
	// alone. There is one publisher, which keeps their order.
	Feed Feed

	// BodyBytes is the size of each body; 0 for the tutorial's "Message N".
	BodyBytes int
	// RunID tells this run's bodies of BodyBytes from those of another run.
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
	if cfg.To.Confirms() {
		s.Window = cfg.Window
	}
	switch s.Body, s.BodyBytes = "tutorial", cfg.LargestBody(); {
	case cfg.Feed != nil:
		cfg.describeFeed(s)
	case cfg.BodyBytes > 0:
		s.Body = fmt.Sprintf("%d bytes", cfg.BodyBytes)
	}
	cfg.To.sending(s)
}

// plan returns who publishes what, and the bodies.
func (cfg *SendConfig) plan() (ledger.Plan, ledger.Format, error) {
	if cfg.Feed != nil {
		return ledger.Plan{Publishers: 1}, ledger.Format{}, nil
	}
	plan := ledger.Plan{Count: cfg.Count, Publishers: cfg.Publishers}
	if err := plan.Validate(); err != nil || cfg.BodyBytes == 0 {
		return plan, ledger.Tutorial(plan), err
	}
	format, err := ledger.Sized(plan, cfg.BodyBytes, cfg.RunID)
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
	err := s.send(ctx, stop)
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
	return s.counts.Published >= s.cfg.Count
}

// sender is a Send. Its results are there once send has returned.
type sender struct {
	cfg        SendConfig
	format     ledger.Format
	client     *thump.Client
	publishers []publisher

	// counts are the sums over the publishers. published is, for each publisher, how
	// many messages it published, from the start of its range.
	counts    thump.Counts
	published []uint64
	// first is when the first message was published. last is when the last outcome
	// came; without confirms, when the broker had read the last message. Both are
	// zero if nothing was published.
	first, last time.Time
	// receivedByEnd is the number of deliveries when sending ended.
	receivedByEnd uint64
	// bodyBytes and wireBytes are, for a stream, the sizes of the bodies that were
	// accepted and of the frames that carried them; 0 for a queue.
	bodyBytes, wireBytes uint64
	// unanswered says that the wait for outcomes was cut short after stop.
	unanswered atomic.Bool
}

// send publishes everything, waits for the outcomes and closes the publishers.
func (s *sender) send(ctx context.Context, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	plan, format, err := s.cfg.plan()
	if err != nil {
		return err
	}
	s.format, s.publishers, s.published = format, make([]publisher, plan.Publishers), make([]uint64, plan.Publishers)
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

	if err := s.open(publishing, plan); err != nil {
		s.close(ctx)
		if stopped(stop) {
			err = nil
		}
		return err
	}
	first := time.Now()
	s.each(func(p *publisher) {
		if s.cfg.Feed != nil {
			p.err = p.feed(publishing, stop)
		} else {
			p.err = p.publish(publishing, stop)
		}
		if err := flushError(p.pub.Flush(ctx)); p.err == nil {
			p.err = err
		}
	})
	s.receivedByEnd = s.cfg.Progress.Received()
	flushed := time.Now()
	s.cfg.Progress.sendingEnded.Store(&flushed)
	s.close(ctx)
	err = s.sum(first, flushed)
	if stopped(stop) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		// There was no time to wait for every outcome. Those that are missing count as
		// unknown, and the user knows why.
		err = nil
	}
	return err
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
func (s *sender) open(ctx context.Context, plan ledger.Plan) error {
	for i := range s.publishers {
		p := &s.publishers[i]
		p.cfg, p.format = &s.cfg, &s.format
		if s.cfg.Feed == nil {
			p.own = plan.Range(i)
		}
		cfg := s.cfg.To.publisher(i, len(s.publishers))
		cfg.Window, cfg.OnOutcomes = s.cfg.Window, p.outcomes
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
	if s.first.IsZero() {
		return
	}
	if s.wireBytes > 0 {
		r.BytesOnWire = new(s.wireBytes)
		r.CompressionRatio = new(float64(s.bodyBytes) / float64(s.wireBytes))
	}
	if s.last.IsZero() {
		return
	}
	rated := r.Confirmed
	if !s.cfg.To.Confirms() {
		rated = r.Sent
	}
	r.SendSeconds = seconds(s.last.Sub(s.first))
	r.SendRatePerSecond = result.Rate(rated, r.SendSeconds)
}
