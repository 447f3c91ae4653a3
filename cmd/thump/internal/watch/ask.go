package watch

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lead is how long before a sample the broker is asked: most answers are there by then.
	lead = 100 * time.Millisecond
	// answerTimeout is how long a question may take.
	answerTimeout = 10 * time.Second
	// shareOfDepth and shareOfAPI are the part of the time, one in so many, for which a broker
	// may be busy with a question: where it takes long it is asked less often. One for a depth
	// mostly waits for its turn.
	shareOfDepth = 3
	shareOfAPI   = 20
	// hopeless is how many questions in a row may fail before a broker that has never
	// answered is not asked any more.
	hopeless = 3
	// failureRest is how long a broker is left alone after a question that failed, and
	// failureRestMost after many.
	failureRest     = time.Second
	failureRestMost = 15 * time.Second
)

// asker asks a question once for each sample, from a goroutine of its own, one at a time. A
// broker that does not answer holds up nobody.
type asker[T any] struct {
	ask    func(ctx context.Context) (T, error)
	keep   time.Duration // how long an answer is good for
	share  time.Duration // see shareOfAPI
	latest atomic.Pointer[answer[T]]
}

type answer[T any] struct {
	at    time.Time
	value T
}

// run asks until ctx ends, or asking is of no use.
func (a *asker[T]) run(ctx context.Context, g grid) {
	answered, failures := false, 0
	for n := g.after(time.Now().Add(lead)); rest(ctx, time.Until(g.at(n).Add(-lead))); n = max(n+1, g.after(time.Now().Add(lead))) {
		took, err := a.once(ctx)
		pause := (a.share - 1) * took
		if err == nil {
			answered, failures = true, 0
		} else {
			if failures++; failures == hopeless && !answered {
				return
			}
			pause = min(failureRest<<min(failures-1, 10), failureRestMost)
		}
		if took+pause > g.every && !rest(ctx, pause) {
			return
		}
	}
}

func (a *asker[T]) once(ctx context.Context) (took time.Duration, err error) {
	asking, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	begin := time.Now()
	value, err := a.ask(asking)
	if err == nil {
		a.latest.Store(&answer[T]{time.Now(), value})
	}
	return time.Since(begin), err
}

// answer is the latest answer, if it is good for a sample that is taken now; else nil.
func (a *asker[T]) answer(now time.Time) *T {
	if latest := a.latest.Load(); latest != nil && now.Sub(latest.at) < a.keep {
		return &latest.value
	}
	return nil
}

// start starts an asker whose goroutine ends with ctx. Without a question it has no answer.
func start[T any](ctx context.Context, all *sync.WaitGroup, g grid, a *asker[T]) *asker[T] {
	if a.ask != nil {
		all.Go(func() { a.run(ctx, g) })
	}
	return a
}

// grid is the moments of the samples: they do not drift, however long one takes.
type grid struct {
	begin time.Time
	every time.Duration
}

func (g grid) at(n int) time.Time { return g.begin.Add(time.Duration(n) * g.every) }

// after is the number of the first moment after t, at least 1.
func (g grid) after(t time.Time) int { return max(0, int(t.Sub(g.begin)/g.every)) + 1 }

// rest waits, and reports whether ctx goes on.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
