package streamconn

import (
	"context"
	"slices"

	"github.com/thumpmq/thump/internal/streamproto"
	"github.com/thumpmq/thump/internal/transport"
)

// inboxRoom is how many bytes of memory the chunks may keep that wait for their consumer,
// before the connection stops reading. The consumer has as much again of what it took.
// Credit bounds the chunks that wait; this bounds the memory should they be very large.
const inboxRoom = 32 << 20

// relaxedTimes is how many times as much may wait while Relax is on.
const relaxedTimes = 8

// arrivalOverhead is counted for each chunk on top of its bytes, so that empty
// ones are bounded too: their list is copied while it grows.
const arrivalOverhead = 512

// Arrival is a chunk from the broker. It aliases a read buffer, and holds it until
// Release or LetGo.
type Arrival struct {
	Subscription *Subscription
	Chunk        streamproto.Chunk
	Turn         uint32 // of the last Update that came before it; 0 where none has
	Damage       error  // a *streamproto.CRCError where the chunk's data is not what was sent
	Sound        bool   // its batches need no streamproto.CheckBatch but for those that are compressed
	buf          *transport.Buffer
}

// Release gives the buffer back: the chunk's data is no longer valid.
func (a *Arrival) Release() {
	if a.buf != nil {
		a.buf.Release()
	}
	a.LetGo()
}

// LetGo empties a and does not give the buffer back: nothing is ever read into it
// again, so the chunk's data stays as it is for whoever has some of it, and the
// garbage collector frees the buffer when nobody has.
func (a *Arrival) LetGo() { *a = Arrival{} }

// Inbox holds the chunks of one consumer between the connections' readers, which
// put in all that one read of the socket brought, and the consumer, which takes
// all there is. The zero value is not ready: see NewInbox.
type Inbox struct {
	transport.Inbox
	pending []Arrival           // put and not taken
	buffers []*transport.Buffer // that pending keeps
	relaxed int                 // calls of Relax that are on
}

// NewInbox returns an empty inbox.
func NewInbox() *Inbox {
	in := new(Inbox)
	in.Open(inboxRoom)
	return in
}

// put hands over chunks that are in one buffer, once there is room. Each keeps all of the
// buffer, whatever else is in it, so that is what they count as.
func (in *Inbox) put(arrivals []Arrival) {
	in.Lock()
	defer in.Unlock()
	if !in.WaitForRoom() {
		for i := range arrivals {
			arrivals[i].Release()
		}
		return
	}
	in.pending = append(in.pending, arrivals...)
	in.Bytes += len(arrivals) * arrivalOverhead
	if buf := arrivals[0].buf; !slices.Contains(in.buffers, buf) {
		in.buffers = append(in.buffers, buf)
		in.Bytes += len(buf.Bytes)
	}
	in.Changed()
}

// Relax raises the limit until restore is called. It is for whoever takes the
// chunks and waits for an answer of the broker, which may be behind them.
func (in *Inbox) Relax() (restore func()) {
	add := func(n int) {
		in.Lock()
		defer in.Unlock()
		in.relaxed += n
		in.Limit = inboxRoom
		if in.relaxed > 0 {
			in.Limit = relaxedTimes * inboxRoom
		}
		in.Changed()
	}
	add(1)
	return func() { add(-1) }
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
	in.Lock()
	defer in.Unlock()
	for {
		if err := in.MayTake(ctx); err != nil {
			return dst, err
		}
		if len(in.pending) > 0 {
			break
		}
		if err := in.WaitForMore(ctx); err != nil {
			return dst, err
		}
	}
	taken := in.pending
	in.empty(dst)
	return taken, nil
}

// Ready returns the error that Take would return before it took anything.
func (in *Inbox) Ready(ctx context.Context) error {
	in.Lock()
	defer in.Unlock()
	return in.MayTake(ctx)
}

// Discard gives back the chunks that have come and were not taken.
func (in *Inbox) Discard() {
	in.Lock()
	defer in.Unlock()
	for i := range in.pending {
		in.pending[i].Release()
	}
	in.empty(nil)
}

// empty notes that nothing waits any more; what comes waits in dst's memory. The lock is
// held.
func (in *Inbox) empty(dst []Arrival) {
	clear(in.buffers)
	in.pending, in.buffers, in.Bytes = dst, in.buffers[:0], 0
	in.Changed()
}
