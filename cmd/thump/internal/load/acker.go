package load

import (
	"sync"
	"time"
)

// syncPause is how long at least it is from one sync to the next. What is written meanwhile
// is acked together.
const syncPause = 5 * time.Millisecond

// acker acks what a taker has given to the output, once that is safe there. It does so beside
// the taker, which writes on between two syncs: the next one is for all that was written since.
type acker struct {
	in *intake
	t  *taker

	wake    chan struct{} // holds a token while something waits
	ending  sync.Once
	closing chan struct{}
	closed  chan struct{}

	mu      sync.Mutex
	waiting []written
	err     error // why nothing is acked any more
}

func newAcker(in *intake, t *taker) *acker {
	a := &acker{in: in, t: t, wake: make(chan struct{}, 1), closing: make(chan struct{}), closed: make(chan struct{})}
	go a.run()
	return a
}

// add hands over what was written. The error is that of an earlier one.
func (a *acker) add(w written) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waiting = append(a.waiting, w)
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return a.err
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
		a.ackAll()
		select {
		case <-time.After(syncPause):
		case <-a.closing:
		}
	}
}

// ackAll acks what waits, once it is safe.
func (a *acker) ackAll() {
	a.mu.Lock()
	waiting, err := a.waiting, a.err
	a.waiting = nil
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
