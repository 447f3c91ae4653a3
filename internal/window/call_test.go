package window

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/thumpmq/thump/internal/outcome"
)

// TestCalls has calls of many goroutines wait for their own messages on one window,
// some of them not for long, some of them not accepted whole: each gets what became of
// its own. The status of a message follows from its Ref.
func TestCalls(t *testing.T) {
	const callers, each = 32, 200
	w := New(Config{Messages: 100})
	c := w.Carry()
	var waiting sync.WaitGroup
	for seed := range uint64(callers) {
		waiting.Go(func() {
			random := rand.New(rand.NewPCG(seed, 17))
			for range each {
				oneCall(t, w, c, random)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		waiting.Wait()
		close(done)
	}()
	random := rand.New(rand.NewPCG(1, 19))
	for running, left := true, false; running || left; {
		select {
		case <-done:
			running = false
		default:
		}
		w.Lock()
		for range 1 + random.IntN(20) {
			from := c.Oldest()
			if from == c.Next() {
				break
			}
			n := from + random.Uint64N(c.Next()-from)
			status := statusOf(*w.refs.At(n))
			c.Resolve(n, 1, status, uint16(status), status.String())
		}
		w.Wake()
		left = c.Oldest() < c.Next() // of callers who waited no longer
		w.Unlock()
		time.Sleep(10 * time.Microsecond)
	}
	w.Lock()
	defer w.Unlock()
	if w.watched != 0 || w.kept != 0 {
		t.Errorf("%d messages are watched and %d kept at the end", w.watched, w.kept)
	}
}

func statusOf(ref uint64) outcome.Status { return outcome.Status(1 + ref%3) }

func oneCall(t *testing.T, w *Window, c *Carrier, random *rand.Rand) {
	n := 1 + random.IntN(5)
	call := w.NewCall(n)
	defer call.Release()
	refs := make([]uint64, n)
	accepted := n
	if random.IntN(10) == 0 {
		accepted = random.IntN(n + 1)
	}
	for i := 0; i < accepted; {
		w.Lock()
		for ; i < accepted && w.Free() > 0; i++ {
			refs[i] = random.Uint64()
			c.Add(Tag{Ref: refs[i], Watch: &call.Watches()[i]})
		}
		w.Unlock()
		if i < accepted {
			if err := w.WaitForRoom(t.Context()); err != nil {
				t.Error(err)
				return
			}
		}
	}
	ctx, cancel := t.Context(), context.CancelFunc(func() {})
	if random.IntN(4) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(100))*time.Microsecond)
	}
	defer cancel()
	confirmed, err := call.Wait(ctx, accepted)
	all := true
	for i := range accepted {
		got, want := call.Outcome(i), statusOf(refs[i])
		all = all && got.Status == outcome.Confirmed
		if got.Status != want && (err == nil || got.Status != 0) {
			t.Errorf("message %d of %d is %v, want %v (%v)", i, accepted, got.Status, want, err)
		}
		if got.Status > outcome.Confirmed && (got.Code != uint16(want) || got.Text != want.String()) {
			t.Errorf("message %d: %+v", i, got)
		}
	}
	if confirmed != (all && err == nil) {
		t.Errorf("confirmed is %v, and all were: %v (%v)", confirmed, all, err)
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// TestCallTakesOutOfReport: what a call was told of, the next Report does not count; what
// became known after the call had gone, it does.
func TestCallTakesOutOfReport(t *testing.T) {
	w := New(Config{Messages: 100})
	c := w.Carry()
	resolve := func(first, n uint64) {
		w.Lock()
		defer w.Unlock()
		c.Resolve(first, n, outcome.Rejected, 0, "")
		w.Wake()
	}
	call, gone := w.NewCall(2), w.NewCall(1)
	w.Lock()
	for ref, watch := range []*Watch{&call.Watches()[0], &call.Watches()[1], nil, &gone.Watches()[0]} {
		c.Add(Tag{Ref: 10 + uint64(ref), Watch: watch})
	}
	w.Unlock()
	resolve(0, 2)
	if n, r := w.Untold(), w.Report(); n != 0 || r != (Report{InFlight: 2}) {
		t.Errorf("after what the call was told: %d untold, %+v", n, r)
	}
	if confirmed, err := call.Wait(t.Context(), 2); confirmed || err != nil {
		t.Errorf("the call: %t, %v", confirmed, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gone.Wait(ended, 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	resolve(2, 2)
	want := Report{Counts: outcome.Totals{Published: 2, Rejected: 2}, First: outcome.Outcome{Ref: 12, Status: outcome.Rejected}}
	if n, r := w.Untold(), w.Report(); n != 2 || r != want {
		t.Errorf("after the others: %d untold, %+v", n, r)
	}
	if n := w.Untold(); n != 0 {
		t.Errorf("after the Report: %d untold", n)
	}

	// In one run, the first that was not told is the one that is reported.
	call = w.NewCall(1)
	w.Lock()
	c.Add(Tag{Ref: 20, Watch: &call.Watches()[0]})
	c.Add(Tag{Ref: 21})
	w.Unlock()
	resolve(4, 2)
	want = Report{Counts: outcome.Totals{Published: 1, Rejected: 1}, First: outcome.Outcome{Ref: 21, Status: outcome.Rejected}}
	if r := w.Report(); r != want {
		t.Errorf("of one run: %+v", r)
	}
}
