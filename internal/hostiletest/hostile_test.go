package hostiletest

import (
	"context"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/fakebroker"
)

const (
	// slack is how much more than docs/memory.md says the heap may hold: the scripts,
	// the client's other connections, and what the garbage collector has not freed yet.
	slack = 64 << 20

	// late is how long after the end of its context a call may still take.
	late = slowness * 2 * time.Second
)

// scenario is something that a hostile broker does, and a call that must stand it.
type scenario struct {
	name string

	// broker is the script of the connection under attack; the client's own connection,
	// the first, is served in order.
	broker func(s *fakebroker.Session)

	// call is what the program does. Its ctx ends after within; by default soon where
	// that is what it waits for.
	call   func(ctx context.Context, client *thump.Client) error
	within time.Duration

	held uint64 // bytes, by docs/memory.md
	want string // in the error of call; "" for no error
}

// ended is in the error of a call that its context has ended.
const ended = "context deadline exceeded"

// play plays the scenarios one after another: each measures the heap of the process.
func play(t *testing.T, scenarios []scenario) {
	t.Helper()
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			b := fakebroker.Start(t, orderly, sc.broker)
			client := dial(t, b.URL())
			sc.play(t, client)
		})
	}
}

// orderly is a broker for AMQP without faults.
func orderly(s *fakebroker.Session) {
	s.Login()
	s.Serve(nil)
}

func dial(t *testing.T, url string) *thump.Client {
	t.Helper()
	client, err := thump.Dial(t.Context(), thump.Config{Recovery: noRecovery, URLs: []string{url}})
	if err != nil {
		t.Fatal("dial:", err)
	}
	return client
}

func (sc *scenario) play(t *testing.T, client *thump.Client) {
	t.Helper()
	within := sc.within
	switch {
	case within != 0:
	case strings.Contains(sc.want, ended):
		within = 300 * time.Millisecond
	default: // it ends by itself
		within = 5 * time.Second
	}
	within *= slowness
	heap := watchHeap(t)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	began := time.Now()
	err := sc.call(ctx, client)
	took := time.Since(began)
	if most := heap.stop(); most > sc.held+slack {
		t.Errorf("the heap held %d MiB; docs/memory.md says %d MiB", most>>20, sc.held>>20)
	}
	if took > within+late {
		t.Errorf("it took %v, and its context had %v", took, within)
	}
	switch {
	case sc.want == "" && err != nil:
		t.Errorf("got %v, want no error", err)
	case sc.want != "" && (err == nil || !strings.Contains(err.Error(), sc.want)):
		t.Errorf("got %v, want an error with %q", err, sc.want)
	}
	closing, stop := context.WithTimeout(t.Context(), time.Millisecond) // some are broken
	defer stop()
	if client != nil {
		_ = client.Close(closing)
	}
}

// heapWatch samples how much the heap holds.
type heapWatch struct {
	quit  chan struct{}
	over  sync.WaitGroup
	most  uint64
	gcPct int
}

// heapBefore is how much the heap may hold before a scenario: what one has held must be
// free again soon after its end.
const heapBefore = 16 << 20

// watchHeap begins to sample, with a garbage collector that lets little garbage gather:
// what counts is what is held.
func watchHeap(t *testing.T) *heapWatch {
	t.Helper()
	w := &heapWatch{quit: make(chan struct{}), gcPct: debug.SetGCPercent(25)}
	for waited := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		runtime.GC()
		if w.most = 0; w.sample() <= heapBefore {
			break
		}
		if time.Since(waited) > 3*time.Second {
			t.Fatalf("the heap still holds %d MiB of what was before", w.most>>20)
		}
	}
	w.over.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.sample()
			case <-w.quit:
				w.sample()
				return
			}
		}
	})
	return w
}

func (w *heapWatch) sample() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	w.most = max(w.most, m.HeapInuse)
	return w.most
}

// stop ends the sampling and returns how much the heap held at most.
func (w *heapWatch) stop() uint64 {
	close(w.quit)
	w.over.Wait()
	debug.SetGCPercent(w.gcPct)
	return w.most
}

// pouring is a script that sends and sends. How much of it went is seen by the call.
type pouring struct{ sent, over atomic.Int64 }

// peer is a script of either protocol.
type peer interface {
	Offer(b []byte) bool
	Discard()
}

// pour sends what next returns, at least total bytes, until the client hangs up; then it
// reads what the client sends, without a word.
func (p *pouring) pour(s peer, total int, next func() []byte) {
	if p.send(s, total, next) {
		s.Discard()
	}
}

// send is pour without the reading. It reports whether the client stayed.
func (p *pouring) send(s peer, total int, next func() []byte) bool {
	defer p.over.Store(1)
	for sent := 0; sent < total; {
		b := next()
		if !s.Offer(b) {
			return false
		}
		sent += len(b)
		p.sent.Store(int64(sent))
	}
	return true
}

// stalled waits until nothing more goes through, or all of it has.
func (p *pouring) stalled(ctx context.Context) {
	for last := int64(-1); ctx.Err() == nil; time.Sleep(100 * time.Millisecond) {
		now := p.sent.Load()
		if p.over.Load() != 0 || now > 0 && now == last {
			return
		}
		last = now
	}
}

// stay reads nothing and sends a heartbeat now and then, until the client is gone.
func stay(s peer, heartbeat []byte) {
	for s.Offer(heartbeat) {
		time.Sleep(10 * time.Millisecond)
	}
}

// same is for pour: the same bytes each time.
func same(b []byte) func() []byte { return func() []byte { return b } }

// repeated is b as often as fits n bytes.
func repeated(b []byte, n int) []byte { return []byte(strings.Repeat(string(b), max(1, n/len(b)))) }
