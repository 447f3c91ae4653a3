package load

import (
	"sync"
	"time"
)

// From one sync to the next it is syncPause at least, or, for a queue, syncFactor times as long as
// the sync took, up to syncPauseMost: RabbitMQ may write to the same disk, and waits meanwhile. What
// is written in the pause is acked together.
const (
	syncPause     = 5 * time.Millisecond
	syncFactor    = 20
	syncPauseMost = 100 * time.Millisecond
)

// acker acks what a taker has given to the output, once that is safe there. It does so beside
// the taker, which writes on between two syncs: the next one is for all that was written since.
type acker struct {
	in *intake
	t  *taker
	// many is how many waiting deliveries end a pause: so many that the broker could come to the
	// end of the prefetch. 0 for a stream, where nothing ends it.
	many int

	wake    chan struct{} // holds a token while something waits
	hurry   chan struct{} // holds a token when many wait
	ending  sync.Once
	closing chan struct{}
	closed  chan struct{}

	mu      sync.Mutex
	waiting []written
	count   int   // deliveries of waiting
	err     error // why nothing is acked any more
}

func newAcker(in *intake, t *taker) *acker {
	a := &acker{
		in: in, t: t, many: min(t.prefetch, max(1, t.prefetch/4)),
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), closing: make(chan struct{}), closed: make(chan struct{}),
	}
	go a.run()
	return a
}

// add hands over what was written. The error is that of an earlier one.
func (a *acker) add(w written) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = append(a.waiting, w)
	a.count += w.count
	put(a.wake)
	if a.many > 0 && a.count >= a.many {
		put(a.hurry)
	}
	return a.err
}

// put puts a token where none is.
func put(tokens chan struct{}) {
	select {
	case tokens <- struct{}{}:
	default:
	}
}

// close acks what waits, and ends the acker. It may be called again.
func (a *acker) close() error {
	a.ending.Do(func() { close(a.closing) })
	<-a.closed
	return a.err
}

func (a *acker) run() {
	defer close(a.closed)
	for {
		select {
		case <-a.wake:
		case <-a.closing:
			a.ackAll()
			return
		}
		begin := time.Now()
		a.ackAll()
		select {
		case <-time.After(a.pause(time.Since(begin))):
		case <-a.hurry:
		case <-a.closing:
		}
	}
}

// pause is how long it is to the next sync, after one that took so long.
func (a *acker) pause(took time.Duration) time.Duration {
	if a.many == 0 {
		return syncPause
	}
	return min(max(syncPause, syncFactor*took), syncPauseMost)
}

// ackAll acks what waits, once it is safe.
func (a *acker) ackAll() {
	a.mu.Lock()
	waiting, err := a.waiting, a.err
	a.waiting, a.count = nil, 0
	select {
	case <-a.hurry:
	default:
	}
	a.mu.Unlock()
	if len(waiting) == 0 || err != nil {
		return
	}
	err = a.in.cfg.output.Sync()
	for i := 0; err == nil && i < len(waiting); i++ {
		err = a.in.ack(a.t, waiting[i])
	}
	if err != nil {
		a.in.fail(err)
		a.mu.Lock()
		a.err = err
		a.mu.Unlock()
	}
}
