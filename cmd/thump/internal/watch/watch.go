// Package watch looks at a run once a second while it goes on: how far it is, what this
// process uses, and what the broker says of itself. It disturbs neither: questions to the
// broker are few and come from goroutines of their own, and an answer that does not come is
// a gap in the samples.
package watch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/load"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Every is the time between two samples.
const Every = time.Second

// Config is what a Watch looks at.
type Config struct {
	Progress *load.Progress
	Broker   Broker
	Writer   *result.Writer // is given every sample and event; may be nil
	// Interrupted is closed when the user ends the run; nil if that is not told.
	Interrupted <-chan struct{}
	// OnSample, where set, is given each sample, from the goroutine of the watch.
	OnSample func(result.Sample)
}

// Watch watches a run, from Start to Stop.
type Watch struct {
	cfg    Config
	grid   grid
	broker *brokerView
	client usage
	cancel context.CancelFunc
	all    sync.WaitGroup

	latest atomic.Pointer[result.Sample]

	// The goroutine's, until it has ended.
	course  result.Course
	pending *result.Sample // of which more are to be one
	merged  int            // how many it is already

	events events
}

// Start begins to watch a run, which begins now. It takes no more samples once ctx has ended.
// Whoever starts a watch must stop it.
func Start(ctx context.Context, cfg Config) *Watch { return startEvery(ctx, Every, cfg) }

func startEvery(ctx context.Context, every time.Duration, cfg Config) *Watch {
	begin := time.Now()
	w := &Watch{cfg: cfg, grid: grid{begin, every}, client: readUsage()}
	w.events = events{begin: begin, progress: cfg.Progress, writer: cfg.Writer}
	ctx, cancel := context.WithCancel(ctx)
	w.cancel = cancel
	w.broker = startBroker(ctx, &w.all, w.grid, cfg.Broker)
	w.all.Go(func() { w.run(ctx) })
	return w
}

// Tell is for thump.Config.OnEvent of the client that the run uses, after the Progress has
// been told.
func (w *Watch) Tell(e thump.Event) { w.events.tell(e) }

// Latest is the latest sample; nil if there is none yet.
func (w *Watch) Latest() *result.Sample { return w.latest.Load() }

// Stop ends the watch with a last sample, and writes to r what was seen.
func (w *Watch) Stop(r *result.Run) {
	w.cancel()
	w.all.Wait()
	r.Samples, r.Events = w.course.Samples(), w.events.all()
	r.ClientCPUSeconds, r.ClientRSSPeakBytes = w.client.total()
	r.BrokerCPUSeconds = w.broker.totalCPU()
}

// run takes the samples.
func (w *Watch) run(ctx context.Context) {
	before, interrupted := w.client, w.cfg.Interrupted
	for n := 1; ; n = max(n+1, w.grid.after(time.Now())) {
		timer := time.NewTimer(time.Until(w.grid.at(n)))
		select {
		case <-timer.C:
			before = w.sample(before)
			continue
		case <-interrupted:
			w.events.add(time.Now(), result.Interruption, "")
			interrupted = nil
			n-- // the moment is still to come
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			break
		}
	}
	w.sample(before)
	w.flush()
}

// sample takes a sample, and returns what this process had used by then.
func (w *Watch) sample(before usage) usage {
	p, now := w.cfg.Progress, readUsage()
	s := result.Sample{
		Seconds: now.at.Sub(w.grid.begin).Seconds(),
		// In this order nothing is confirmed or received that was not sent.
		Received: p.Received(), Expired: p.Expired(), Confirmed: p.Confirmed(), Sent: p.Published(),
		Client: now.since(before),
		Broker: w.broker.sample(now.at),
	}
	if rate, ok := p.Schedule(); ok {
		s.WantedRate = &rate
	}
	if late, ok := p.Late(); ok {
		s.LateSeconds = new(late.Seconds())
	}
	s.ConfirmLatency, s.ReceiveLatency = p.Latencies()
	w.events.look(now.at)
	w.events.lookAt(now.at, s.Broker)
	w.latest.Store(&s)
	w.keep(s)
	if w.cfg.OnSample != nil {
		w.cfg.OnSample(s)
	}
	return now
}

// keep adds a sample to the course, with others once there are many.
func (w *Watch) keep(s result.Sample) {
	if w.pending != nil {
		s = result.Merge(w.pending, &s)
	}
	w.pending = &s
	if w.merged++; w.merged >= w.course.Every() {
		w.flush()
	}
}

func (w *Watch) flush() {
	if w.pending == nil {
		return
	}
	w.course.Add(*w.pending)
	w.cfg.Writer.Sample(w.pending)
	w.pending, w.merged = nil, 0
}
