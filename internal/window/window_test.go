package window

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thumpmq/thump/internal/outcome"
)

func addRefs(c *Carrier, refs ...uint64) {
	c.Window().Lock()
	defer c.Window().Unlock()
	for _, ref := range refs {
		c.Add(Tag{Ref: ref})
	}
}

// takeOutcomes waits for outcomes, as a list. Those it returned before were handed
// over.
func takeOutcomes(w *Window) ([]outcome.Outcome, error) {
	taken, err := w.Outcomes()
	if err != nil {
		return nil, err
	}
	var list []outcome.Outcome
	for _, r := range taken.Runs {
		for i := r.First; i < r.First+r.Count; i++ {
			list = append(list, r.outcome(taken.Ref(i)))
		}
	}
	return list, nil
}

func resolve(c *Carrier, first, n uint64, status outcome.Status) {
	c.Window().Lock()
	defer c.Window().Unlock()
	c.Resolve(first, n, status, 0, "")
	c.Window().Wake()
}

// TestTwoCarriers gives one window to two connections whose messages alternate:
// each ends for itself.
func TestTwoCarriers(t *testing.T) {
	w := New(Config{Messages: 100, Collect: true})
	a, b := w.Carry(), w.Carry()
	for ref := uint64(0); ref < 20; ref += 2 {
		addRefs(a, ref)
		addRefs(b, ref+1)
	}
	resolve(a, 0, 5, outcome.Confirmed)
	resolve(b, 3, 2, outcome.Rejected)
	w.Lock()
	a.End("")
	w.Unlock()
	resolve(b, 0, 10, outcome.Confirmed)
	outcomes, err := takeOutcomes(w)
	if err != nil {
		t.Fatal(err)
	}
	want := "0c 2c 4c 6c 8c 7r 9r 10u 12u 14u 16u 18u 1c 3c 5c 11c 13c 15c 17c 19c"
	if got := text(outcomes); got != want {
		t.Errorf("outcomes are %s, want %s", got, want)
	}
	if n := w.Totals(); n.Published != 20 || n.Confirmed != 13 || n.Rejected != 2 || n.Unknown != 5 || n.InFlight() != 0 {
		t.Errorf("totals are %+v", n)
	}
}

func text(outcomes []outcome.Outcome) string {
	s := ""
	for i, o := range outcomes {
		if i > 0 {
			s += " "
		}
		s += fmt.Sprint(o.Ref, o.Status.String()[:1])
	}
	return s
}

// TestWaiting tries who waits for what, and what ends it.
func TestWaiting(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name string
		cfg  Config
		wait func(w *Window, ctx context.Context) error
		do   func(w *Window, c *Carrier, cancel func())
		want error
	}{
		{"room: too little", Config{Messages: 16}, (*Window).WaitForRoom, func(_ *Window, c *Carrier, cancel func()) { resolve(c, 0, 2, outcome.Confirmed); cancel() }, context.Canceled},
		{"room: enough", Config{Messages: 16}, (*Window).WaitForRoom, func(_ *Window, c *Carrier, _ func()) { resolve(c, 0, 3, outcome.Confirmed) }, nil},
		{"room: not the oldest", Config{Messages: 16}, (*Window).WaitForRoom, func(_ *Window, c *Carrier, cancel func()) { resolve(c, 1, 15, outcome.Confirmed); cancel() }, context.Canceled},
		{"room: not handed over", Config{Messages: 16, Collect: true}, (*Window).WaitForRoom, func(_ *Window, c *Carrier, cancel func()) { resolve(c, 0, 16, outcome.Confirmed); cancel() }, context.Canceled},
		{"room: handed over", Config{Messages: 16, Collect: true}, (*Window).WaitForRoom, func(w *Window, c *Carrier, _ func()) {
			resolve(c, 0, 16, outcome.Confirmed)
			_, _ = w.Outcomes()
			_, _ = w.Outcomes()
		}, nil},
		{"room: failed", Config{Messages: 16}, (*Window).WaitForRoom, func(w *Window, _ *Carrier, _ func()) { w.Fail(broken) }, broken},
		{"flush: cancelled", Config{Messages: 16}, (*Window).Wait, func(_ *Window, c *Carrier, cancel func()) { resolve(c, 0, 15, outcome.Confirmed); cancel() }, context.Canceled},
		{"flush: out of order", Config{Messages: 16}, (*Window).Wait, func(_ *Window, c *Carrier, _ func()) {
			resolve(c, 4, 12, outcome.Confirmed)
			resolve(c, 0, 4, outcome.Rejected)
		}, nil},
		{"flush: ended", Config{Messages: 16}, (*Window).Wait, func(w *Window, c *Carrier, _ func()) { w.Lock(); c.End(""); w.Unlock(); w.Fail(broken) }, nil},
		{"flush: not handed over", Config{Messages: 16, Collect: true}, (*Window).Wait, func(w *Window, c *Carrier, cancel func()) {
			resolve(c, 0, 16, outcome.Confirmed)
			_, _ = w.Outcomes()
			cancel()
		}, context.Canceled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w := New(test.cfg)
				c := w.Carry()
				for ref := range uint64(test.cfg.Messages) {
					addRefs(c, ref)
				}
				result := make(chan error, 1)
				go func() { result <- test.wait(w, ctx) }()
				synctest.Wait()
				select {
				case err := <-result:
					t.Fatalf("it has not waited: %v", err)
				default:
				}
				go test.do(w, c, cancel) // it may wait itself
				synctest.Wait()
				select {
				case err := <-result:
					if !errors.Is(err, test.want) {
						t.Errorf("it returned %v, want %v", err, test.want)
					}
				default:
					t.Error("it still waits")
					cancel()
				}
				w.Lock()
				c.End("")
				w.Unlock()
				w.Fail(broken) // ends an Outcomes that waits
			})
		})
	}
}

// TestBytes holds the limit in bytes, with an eighth to be free before anyone is
// woken.
func TestBytes(t *testing.T) {
	w := New(Config{Messages: 1000, Bytes: 800})
	c := w.Carry()
	addRefs(c, 1, 2, 3)
	w.Lock()
	defer w.Unlock()
	w.Weigh(799)
	if w.Free() != 997 {
		t.Errorf("%d free one byte below the limit, want 997", w.Free())
	}
	w.Weigh(1)
	if w.Free() != 0 {
		t.Errorf("%d free at the limit, want 0", w.Free())
	}
	w.Weigh(-100)
	if w.Free() != 997 || w.worthwhile() {
		t.Errorf("%d free, worthwhile %v: want 997 and no", w.Free(), w.worthwhile())
	}
	w.Weigh(-1)
	if !w.worthwhile() {
		t.Error("an eighth is free, and nobody would be woken")
	}
}

// TestUnconfirmed counts messages of which only the returned ones are ever heard
// of.
func TestUnconfirmed(t *testing.T) {
	w := New(Config{Messages: 10, Unconfirmed: true})
	c := w.Carry()
	w.Lock()
	for range 100 {
		c.Count()
	}
	for range 7 {
		if _, ok := c.CountReturned(312, "NO_ROUTE"); !ok {
			t.Error("a message that came back was not counted")
		}
	}
	if w.Free() != 10 {
		t.Errorf("%d free, want 10", w.Free())
	}
	w.Unlock()
	w.MarkSent(60)
	if got, want := w.Totals(), (outcome.Totals{Published: 100, Returned: 7, Sent: 53}); got != want {
		t.Errorf("totals are %+v, want %+v", got, want)
	}
	w.Fail(errors.New("broken"))
	if got, want := w.Totals(), (outcome.Totals{Published: 100, Returned: 7, Sent: 53, Unknown: 40}); got != want {
		t.Errorf("after the end, totals are %+v, want %+v", got, want)
	}
	if err := w.Wait(t.Context()); err != nil {
		t.Errorf("Wait: %v", err)
	}
	w.Lock()
	defer w.Unlock()
	for range 93 {
		c.CountReturned(312, "NO_ROUTE")
	}
	if n, ok := c.CountReturned(312, "NO_ROUTE"); ok || n != 100 {
		t.Errorf("one more came back than the %d that were published: %v", n, ok)
	}
}

// TestConcurrent has publishers, connections, flushers and a taker at work on one
// window, and adds up what became of the messages.
func TestConcurrent(t *testing.T) {
	const publishers, each, window = 4, 20_000, 300
	w := New(Config{Messages: window, Collect: true})
	carriers := []*Carrier{w.Carry(), w.Carry()}
	var published sync.WaitGroup
	for p := range uint64(publishers) {
		published.Go(func() {
			for i := uint64(0); i < each; {
				w.Lock()
				for ; i < each && w.Free() > 0; i++ {
					carriers[i%2].Add(Tag{Ref: p*each + i})
				}
				w.Unlock()
				if err := w.WaitForRoom(t.Context()); err != nil {
					t.Errorf("WaitForRoom: %v", err)
					return
				}
			}
			if err := w.Wait(t.Context()); err != nil {
				t.Errorf("Wait: %v", err)
			}
		})
	}
	stop := make(chan struct{})
	var working sync.WaitGroup
	for n, c := range carriers {
		working.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 5))
			for {
				select {
				case <-stop:
					return
				default:
				}
				w.Lock()
				from := c.Oldest()
				c.Resolve(from+random.Uint64N(c.Next()-from+1)/2, 0, outcome.Confirmed, 0, "") // nothing
				if n := c.Next() - from; n > 0 {
					first := from + random.Uint64N(n)
					c.Resolve(first, 1+random.Uint64N(c.Next()-first), outcome.Confirmed, 0, "")
				}
				w.Wake()
				w.Unlock()
				time.Sleep(time.Microsecond)
			}
		})
	}
	seen := make([]bool, publishers*each)
	working.Go(func() {
		for {
			outcomes, err := takeOutcomes(w)
			if err != nil {
				return
			}
			for _, o := range outcomes {
				if seen[o.Ref] {
					t.Errorf("message %d has two outcomes", o.Ref)
				}
				seen[o.Ref] = true
			}
		}
	})
	published.Wait()
	close(stop)
	w.Fail(errors.New("over"))
	working.Wait()
	for ref, was := range seen {
		if !was {
			t.Fatalf("message %d has no outcome", ref)
		}
	}
}

// TestUnconfirmedSent: what came back among the messages that the broker has read does
// not count as sent, and what comes back later takes nothing from those.
func TestUnconfirmedSent(t *testing.T) {
	w := New(Config{Messages: 10, Unconfirmed: true})
	c := w.Carry()
	back := func(n int) {
		w.Lock()
		defer w.Unlock()
		for range n {
			c.CountReturned(312, "NO_ROUTE")
		}
	}
	publish := func(n int) {
		w.Lock()
		defer w.Unlock()
		for range n {
			c.Count()
		}
	}
	publish(100)
	back(10)
	w.MarkSent(100)
	if r := w.Report(); r.Counts != (outcome.Totals{Published: 100, Returned: 10, Sent: 90}) || r.First.Status != outcome.Returned || r.First.Code != 312 {
		t.Errorf("%+v", r)
	}
	publish(10)
	back(5)
	w.Fail(errors.New("broken"))
	if r := w.Report(); r.Counts != (outcome.Totals{Published: 10, Returned: 5, Unknown: 5}) {
		t.Errorf("%+v", r)
	}
}

// TestLaterFills: where the outcome of one message is collected, and not handed over, the
// window fills, and memory does not grow.
func TestLaterFills(t *testing.T) {
	const size = 1000
	w := New(Config{Messages: size})
	c := w.Carry()
	w.Lock()
	c.Add(Tag{Watch: &Watch{Later: "x"}})
	c.Resolve(0, 1, outcome.Confirmed, 0, "")
	w.Wake()
	w.Unlock()
	if taken, err := w.Outcomes(); err != nil || taken.Later(0) != "x" {
		t.Fatalf("%+v, %v", taken, err)
	}
	w.Lock()
	added := 0
	for ; w.Free() > 0 && added < 100*size; added++ {
		n := c.Add(Tag{})
		c.Resolve(n, 1, outcome.Confirmed, 0, "")
	}
	w.Wake()
	w.Unlock()
	if added != size-1 || len(w.refs) > 4*size {
		t.Errorf("%d more messages were taken, and %d refs are kept", added, len(w.refs))
	}
	if _, err := w.Outcomes(); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = w.Outcomes() }() // hands them over, and waits
	if err := w.WaitForRoom(t.Context()); err != nil {
		t.Error(err)
	}
	w.Fail(errors.New("over"))
}

// TestFailWithoutOutcomes: whoever takes outcomes is told of the end also where none are
// collected, however failing and resolving alternate.
func TestFailWithoutOutcomes(t *testing.T) {
	for _, failsFirst := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := New(Config{Messages: 10})
			c := w.Carry()
			addRefs(c, 1, 2, 3)
			over := make(chan error, 1)
			go func() {
				_, err := w.Outcomes()
				over <- err
			}()
			synctest.Wait()
			if failsFirst {
				w.Fail(io.EOF)
				synctest.Wait()
			}
			resolve(c, 0, 3, outcome.Confirmed)
			synctest.Wait()
			w.Fail(io.EOF)
			synctest.Wait()
			select {
			case err := <-over:
				if !errors.Is(err, io.EOF) {
					t.Error(err)
				}
			default:
				t.Fatal("it still waits")
			}
		})
	}
}
