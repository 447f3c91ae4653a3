package load

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/ledger"
)

const (
	// drainTimeout is how long an interrupted sender waits for the confirms of
	// what it has published.
	drainTimeout = 10 * time.Second
	// closeTimeout bounds the closing of a connection that has nothing under way.
	closeTimeout = 10 * time.Second
)

const (
	// MaxCount is the largest number of messages of a run.
	MaxCount = ledger.MaxCount
	// MinBodyBytes is the smallest body that is not the tutorial's.
	MinBodyBytes = ledger.MinBodySize
)

// SendConfig says what to send.
type SendConfig struct {
	To         Place
	Count      uint64 // messages in all, each publisher its share
	Publishers int

	// BodyBytes is the size of each body; 0 for the tutorial's "Message N".
	BodyBytes int
	// RunID tells this run's bodies of BodyBytes from those of another run.
	RunID uint32

	Window     int // messages in flight for each publisher
	NoConfirms bool
	Transient  bool // publish messages that need not survive a broker restart

	// Stream says how to publish to a stream or super stream. Of several
	// publishers with a name each gets a number at its end.
	Stream thump.StreamPublishing

	// Progress is told of every batch; it must not be nil.
	Progress *Progress
	// Unconfirmed, where set, is called with the numbers of messages that were
	// published and not confirmed. It must be safe for concurrent use and not
	// keep the slice.
	Unconfirmed func(numbers []uint64)
}

// plan returns who publishes what, and the bodies.
func (cfg *SendConfig) plan() (ledger.Plan, ledger.Format, error) {
	plan := ledger.Plan{Count: cfg.Count, Publishers: cfg.Publishers}
	if err := plan.Validate(); err != nil || cfg.BodyBytes == 0 {
		return plan, ledger.Tutorial(plan), err
	}
	format, err := ledger.Sized(plan, cfg.BodyBytes, cfg.RunID)
	return plan, format, err
}

// Sent is what became of what was to be sent.
type Sent struct {
	// Counts are the sums over the publishers.
	Counts thump.Counts
	// Published is, for each publisher, how many messages from the start of
	// its range were published.
	Published []uint64
	// First is when the first message was published, Last when the last
	// outcome was known; without confirms, when the broker had read the last.
	// Both are zero when nothing was published.
	First, Last time.Time
	// ReceivedMeanwhile is the number of deliveries until Last.
	ReceivedMeanwhile uint64
	// BodyBytes and WireBytes are, for a stream, the bytes of the bodies that were
	// accepted and of the frames that carried them; 0 for a queue.
	BodyBytes, WireBytes uint64
}

// Send publishes the messages of the plan and waits for their outcomes. When
// stop is closed it publishes no more and waits up to ten seconds for the
// outcomes of what is under way; that is no error. When ctx ends it gives up at
// once.
//
// The error is why a publisher could not go on. Messages that were rejected or
// returned are no error: they are in Sent.
func Send(ctx context.Context, client *thump.Client, cfg SendConfig, stop <-chan struct{}) (Sent, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	plan, format, err := cfg.plan()
	if err != nil {
		return Sent{}, err
	}
	s := &sender{cfg: cfg, plan: plan, format: format, client: client, publishers: make([]publisher, plan.Publishers)}
	// Two lives end at different times: publishing at once when stop is
	// closed, waiting for outcomes some seconds after.
	publishing, stopPublishing := context.WithCancel(ctx)
	defer stopPublishing()
	go func() {
		select {
		case <-stop:
			stopPublishing()
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(drainTimeout):
			cancel()
		case <-ctx.Done():
		}
	}()

	if err := s.open(publishing); err != nil {
		s.close(ctx)
		if stopped(stop) {
			err = nil
		}
		return Sent{Published: make([]uint64, plan.Publishers)}, err
	}
	first := time.Now()
	s.each(func(p *publisher) {
		p.err = p.publish(publishing, stop)
		if err := flushError(p.pub.Flush(ctx)); p.err == nil {
			p.err = err
		}
	})
	meanwhile := cfg.Progress.Received()
	s.flushed = time.Now()
	s.close(ctx)
	sent, err := s.sum(first)
	sent.ReceivedMeanwhile = meanwhile
	if stopped(stop) && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		// The drain ran out of time. What it could not settle is counted as
		// unknown, and why is no secret.
		err = nil
	}
	return sent, err
}

func stopped(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

type sender struct {
	cfg        SendConfig
	plan       ledger.Plan
	format     ledger.Format
	client     *thump.Client
	publishers []publisher
	flushed    time.Time
}

// open connects every publisher, so that the clock starts when all are ready.
func (s *sender) open(ctx context.Context) error {
	for i := range s.publishers {
		p := &s.publishers[i]
		p.own, p.cfg, p.format = s.plan.Range(i), &s.cfg, &s.format
		stream := s.cfg.Stream
		stream.Name = numbered(stream.Name, i, len(s.publishers) > 1)
		pub, err := s.client.Publisher(ctx, thump.PublisherConfig{
			To:         s.cfg.To.target(),
			Window:     s.cfg.Window,
			NoConfirms: s.cfg.NoConfirms,
			OnOutcomes: p.outcomes,
			Stream:     stream,
		})
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
	})
}

// sum adds up the publishers, which have ended.
func (s *sender) sum(first time.Time) (Sent, error) {
	sent := Sent{Published: make([]uint64, len(s.publishers)), First: first}
	var failed error
	for i := range s.publishers {
		p := &s.publishers[i]
		c := p.pub.Counts()
		sent.Counts.Published += c.Published
		sent.Counts.Confirmed += c.Confirmed
		sent.Counts.Rejected += c.Rejected
		sent.Counts.Returned += c.Returned
		// A publisher that was closed has nothing in flight: what it could not
		// wait for is Unknown.
		sent.Counts.Unknown += c.Unknown + c.InFlight
		sent.Counts.Sent += c.Sent
		bodies, wire := p.pub.Bytes()
		sent.BodyBytes += bodies
		sent.WireBytes += wire
		sent.Published[i] = p.published
		if p.last.After(sent.Last) {
			sent.Last = p.last
		}
		if failed == nil && p.err != nil {
			failed = p.err
		}
	}
	if sent.Counts.Published == 0 {
		sent.First, sent.Last = time.Time{}, time.Time{}
	} else if s.cfg.NoConfirms {
		sent.Last = s.flushed
	}
	return sent, failed
}
