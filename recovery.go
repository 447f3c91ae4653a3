package thump

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	recoveryPauseDefault = 50 * time.Millisecond
	recoveryPauseMost    = 500 * time.Millisecond
)

// Recovery says what a client does when a connection is lost. By default its publishers
// and consumers come back by themselves, whatever time that takes: see docs/recovery.md.
type Recovery struct {
	// Off ends a publisher or consumer with its connection.
	Off bool

	// Pause is the time after the first attempt that fails; each further pause is twice as
	// long as the one before, up to MaxPause. The first attempt comes at once, unless the
	// connection had lived for less than a second. Once a broker listens that did not before,
	// the pauses begin anew: it needs a moment more until it serves. Each pause is
	// shortened by a random part, up to half, so that clients do not all come back at the
	// same instant. Default 50 ms, and at most 500 ms.
	Pause, MaxPause time.Duration

	// GiveUp is how long it is tried. Then the publisher or consumer ends. A connection that is
	// lost within a second is none that ends this time. Default: 0, for as long as it takes.
	GiveUp time.Duration
}

func (r *Recovery) validate() []error {
	if r.Pause < 0 || r.MaxPause < 0 || r.GiveUp < 0 {
		return []error{fmt.Errorf("Config.Recovery has a negative time: Pause %v, MaxPause %v, GiveUp %v", r.Pause, r.MaxPause, r.GiveUp)}
	}
	setDefault(&r.Pause, min(recoveryPauseDefault, r.mostPause()))
	setDefault(&r.MaxPause, max(recoveryPauseMost, r.Pause))
	if r.Pause > r.MaxPause {
		return []error{fmt.Errorf("Config.Recovery.Pause is %v, more than MaxPause, %v", r.Pause, r.MaxPause)}
	}
	return nil
}

// mostPause is MaxPause where it is set.
func (r *Recovery) mostPause() time.Duration {
	if r.MaxPause > 0 {
		return r.MaxPause
	}
	return recoveryPauseMost
}

// recoverer brings a part of a publisher or consumer back each time it has lost its
// connection. One goroutine uses it at a time.
type recoverer struct {
	client *Client
	of     string // which part: `publisher to queue "hello"`

	longest   time.Duration // what the next pause is drawn from
	recovered time.Time     // when it came back last
	began     time.Time     // when it lost a connection that had been steady

	// reconnects is how often it came back; for everybody. The engines count it, a consumer's
	// before it hands out anything over the new connection.
	reconnects atomic.Uint64
}

// steady is how long a connection has to live for the next attempts to begin anew, without
// a pause: one that is lost sooner may be lost each time.
const steady = time.Second

// outage is the time that a part of a publisher or consumer has no connection. It is safe
// for concurrent use.
type outage struct {
	since    time.Time     // when the connection was lost
	why      error         // and why
	inFlight int           // messages that had no outcome, or deliveries that were not settled, then
	over     chan struct{} // closed by the owner when there is a connection again, or will be none

	mu   sync.Mutex
	last error // of the last attempt to come back
}

// on reports whether what has lost its connection comes back.
func (r *recoverer) on() bool { return !r.client.cfg.Recovery.Off }

// newOutage notes that a connection is lost, with the number of messages that have no
// outcome, or of deliveries that were not settled.
func newOutage(why error, inFlight int) *outage {
	return &outage{since: time.Now(), why: why, inFlight: inFlight, over: make(chan struct{})}
}

// failed notes why an attempt to come back has failed. One that was cut short says less than
// the one before.
func (o *outage) failed(err error, cut bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !cut || o.last == nil {
		o.last = err
	}
}

// wait waits for the end of the outage, or of ctx, whose error it returns.
func (o *outage) wait(ctx context.Context) error {
	select {
	case <-o.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// err adds to the error of whoever waits that there is no connection, since when, and why.
// It adds nothing where o is nil.
func (o *outage) err(err error) error {
	if o == nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	away := time.Since(o.since).Round(time.Millisecond)
	if o.last == nil {
		return fmt.Errorf("%w: there has been no connection for %v (%w)", err, away, aside{reason{o.why}})
	}
	return fmt.Errorf("%w: there has been no connection for %v (%w); the last attempt: %w", err, away, aside{reason{o.why}}, aside{reason{o.last}})
}

// run tells of the loss, calls open until it succeeds, and returns nil then. It fails once
// an error is not Temporary, once the time for it is over, or when ctx, the owner's life, has
// ended: errors.Is(err, ErrClosed). What open returns is how many messages were sent again.
func (r *recoverer) run(ctx context.Context, o *outage, open func(ctx context.Context) (resent int, err error)) error {
	r.client.tell(Event{Kind: Disconnected, Of: r.of, Err: o.why, InFlight: o.inFlight})
	if !Temporary(o.why) {
		return r.giveUp(o, o.why)
	}
	flapping := o.since.Sub(r.recovered) <= steady
	if !flapping {
		r.began, r.longest = o.since, r.client.cfg.Recovery.Pause
	}
	limited, cancel := ctx, func() {}
	if limit := r.client.cfg.Recovery.GiveUp; limit > 0 {
		limited, cancel = context.WithDeadline(ctx, r.began.Add(limit))
	}
	defer cancel()
	if flapping {
		if err := r.pause(limited, o); err != nil {
			return err
		}
	}
	listens := true
	for {
		resent, err := open(limited)
		if err == nil {
			r.recovered = time.Now()
			r.client.tell(Event{Kind: Recovered, Of: r.of, After: time.Since(o.since), Resent: resent})
			return nil
		}
		cut := limited.Err() != nil
		o.failed(err, cut)
		if !cut && !Temporary(err) {
			return r.giveUp(o, fmt.Errorf("%w; before that: %w", reason{err}, aside{reason{o.why}}))
		}
		before := listens
		if listens = !unreached(err); listens && !before {
			r.longest = r.client.cfg.Recovery.Pause
		}
		if err := r.pause(limited, o); err != nil {
			return err
		}
	}
}

// unreached reports whether an attempt failed because nobody listens, at any of the URLs.
func unreached(err error) bool {
	for err != nil {
		switch e := err.(type) { //nolint:errorlint // it looks at one layer after another
		case *net.OpError:
			return e.Op == "dial"
		case interface{ Unwrap() []error }:
			return !slices.ContainsFunc(e.Unwrap(), func(err error) bool { return !unreached(err) })
		}
		err = errors.Unwrap(err)
	}
	return false
}

// pause waits before the next attempt, and says why there is none where it must not wait.
func (r *recoverer) pause(ctx context.Context, o *outage) error {
	wait := r.longest/2 + rand.N(r.longest/2+1)
	r.longest = min(2*r.longest, r.client.cfg.Recovery.MaxPause)
	if pause(ctx, wait) {
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return r.giveUp(o, o.err(fmt.Errorf("given up after %v", r.client.cfg.Recovery.GiveUp)))
	}
	return o.err(ErrClosed)
}

// giveUp tells that there will be no connection any more, and returns why.
func (r *recoverer) giveUp(o *outage, why error) error {
	r.client.tell(Event{Kind: GaveUp, Of: r.of, Err: why, After: time.Since(o.since)})
	return why
}
