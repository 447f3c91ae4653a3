package streamconn

import (
	"context"
	"sync"

	"github.com/thumpmq/thump/internal/streamproto"
)

// inboxRoom is how many bytes of chunks may wait for their consumer before the
// connection stops reading. Credit bounds the chunks that wait; this bounds the
// memory should they be very large.
const inboxRoom = 64 << 20

// relaxedTimes is how many times as much may wait while Relax is on.
const relaxedTimes = 4

// arrivalOverhead is counted for each chunk on top of its bytes, so that empty
// ones are bounded too.
const arrivalOverhead = 256

// Arrival is a chunk from the broker. It aliases a read buffer until Release.
type Arrival struct {
	Subscription *Subscription
	Chunk        streamproto.Chunk
	buf          *readBuffer
}

// Release gives the buffer back: the chunk's data is no longer valid.
func (a *Arrival) Release() {
	if a.buf != nil {
		a.buf.release()
	}
	*a = Arrival{} // lets go of a buffer that is in no pool
}

// Inbox holds the chunks of one consumer between the connections' readers, which
// put in all that one read of the socket brought, and the consumer, which takes
// all there is. The zero value is not ready: see NewInbox.
type Inbox struct {
	mu       sync.Mutex
	changed  sync.Cond // pending, ended or draining changed
	pending  []Arrival // put and not taken
	bytes    int       // of pending
	draining bool      // the limit is off: what comes is the rest
	relaxed  int       // calls of Relax that are on
	ended    error     // why nothing more comes
	done     chan struct{}
}

// NewInbox returns an empty inbox.
func NewInbox() *Inbox {
	in := &Inbox{done: make(chan struct{})}
	in.changed.L = &in.mu
	return in
}

// put hands over chunks. While more than inboxRoom waits it blocks, and with it
// the reading of the socket: TCP slows the broker down.
func (in *Inbox) put(arrivals []Arrival) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.bytes > in.room() && !in.draining && in.ended == nil {
		in.changed.Wait()
	}
	if in.ended != nil && in.bytes > in.room() { // a broker that goes on regardless
		for i := range arrivals {
			arrivals[i].Release()
		}
		return
	}
	in.pending = append(in.pending, arrivals...)
	for i := range arrivals {
		in.bytes += len(arrivals[i].Chunk.Data) + arrivalOverhead
	}
	in.changed.Broadcast()
}

// room is how many bytes may wait. in.mu is held.
func (in *Inbox) room() int {
	if in.relaxed > 0 {
		return relaxedTimes * inboxRoom
	}
	return inboxRoom
}

// Relax raises the limit until restore is called. It is for whoever takes the
// chunks and waits for an answer of the broker, which may be behind them.
func (in *Inbox) Relax() (restore func()) {
	add := func(n int) {
		in.mu.Lock()
		in.relaxed += n
		in.changed.Broadcast()
		in.mu.Unlock()
	}
	add(1)
	return func() { add(-1) }
}

// Watch lets the end of ctx end a Take that waits, until stop is called. It is
// not part of Take so that a loop pays for it once.
func (in *Inbox) Watch(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		in.mu.Lock()
		in.changed.Broadcast()
		in.mu.Unlock()
	})
}

// Take waits for chunks and returns all there are, in dst's memory or its own;
// dst must have been released. The broker may then send as many more. When
// nothing more comes and nothing is left, it returns why. The end of ctx ends
// the wait while a Watch of it is on.
func (in *Inbox) Take(ctx context.Context, dst []Arrival) ([]Arrival, error) {
	taken, err := in.take(ctx, dst[:0])
	for first := 0; first < len(taken); {
		s := taken[first].Subscription
		end := first + 1
		for end < len(taken) && taken[end].Subscription == s {
			end++
		}
		s.credit(end - first)
		first = end
	}
	return taken, err
}

func (in *Inbox) take(ctx context.Context, dst []Arrival) ([]Arrival, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.pending) == 0 {
		if in.ended != nil {
			return dst, in.ended
		}
		if err := ctx.Err(); err != nil {
			return dst, err
		}
		in.changed.Wait()
	}
	taken := in.pending
	in.pending, in.bytes = dst, 0
	in.changed.Broadcast()
	return taken, nil
}

// Drain lifts the limit, so that the reader gets to the broker's answers behind
// the chunks that are still on their way.
func (in *Inbox) Drain() {
	in.mu.Lock()
	in.draining = true
	in.changed.Broadcast()
	in.mu.Unlock()
}

// End says that nothing more comes, and why. What is there can still be taken.
func (in *Inbox) End(why error) {
	in.mu.Lock()
	if in.ended == nil {
		in.ended = why
		close(in.done)
	}
	in.changed.Broadcast()
	in.mu.Unlock()
}

// Discard gives back the chunks that have come and were not taken.
func (in *Inbox) Discard() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range in.pending {
		in.pending[i].Release()
	}
	in.pending, in.bytes = nil, 0
	in.changed.Broadcast()
}

// Done is closed when nothing more comes.
func (in *Inbox) Done() <-chan struct{} { return in.done }

// Err says why nothing more comes; nil before Done is closed.
func (in *Inbox) Err() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.ended
}
