package amqpconn

import (
	"context"
	"errors"
	"sync"
)

// inboxRoom is how many bytes of deliveries may wait for their consumer before
// the connection stops reading. Prefetch bounds the messages that wait; this
// bounds the memory when they are large, or when there is no prefetch.
const inboxRoom = 8 << 20

// deliveryOverhead is counted for each delivery on top of its bytes, so that
// empty messages are bounded too.
const deliveryOverhead = 128

// Delivery is one message from the broker. Body and Properties alias a read
// buffer that belongs to the Deliveries it came in; the strings do not.
type Delivery struct {
	Tag         uint64
	Redelivered bool
	Exchange    string
	RoutingKey  string
	Properties  []byte // flags and property list, for amqpproto.ParseProperties
	Body        []byte
}

// Deliveries is what Take fills: messages in order, and the buffers that they
// alias. The zero value is ready; reuse it to reuse its memory.
type Deliveries struct {
	List []Delivery
	runs []run
}

// run is consecutive deliveries that alias one buffer, which the run holds a
// reference to; nil where they own their memory.
type run struct {
	buf *readBuffer
	n   int
}

// bytes is about how much memory the deliveries keep.
func (d *Deliveries) bytes() int {
	sum := 0
	for i := range d.List {
		sum += len(d.List[i].Body) + len(d.List[i].Properties) + deliveryOverhead
	}
	return sum
}

// Release gives the buffers back: the bodies are no longer valid.
func (d *Deliveries) Release() {
	for _, r := range d.runs {
		if r.buf != nil {
			r.buf.release()
		}
	}
	clear(d.List) // lets go of bodies that own their memory
	d.List, d.runs = d.List[:0], d.runs[:0]
}

// add appends a delivery that aliases buf, retaining it once per run.
func (d *Deliveries) add(m *Delivery, buf *readBuffer) {
	d.List = append(d.List, *m)
	if last := len(d.runs) - 1; last >= 0 && d.runs[last].buf == buf {
		d.runs[last].n++
		return
	}
	if buf != nil {
		buf.retain()
	}
	d.runs = append(d.runs, run{buf: buf, n: 1})
}

// Inbox holds the deliveries of one consumer between the connection's reader,
// which puts in all that one read of the socket brought, and the consumer,
// which takes all there is: two lock operations for any number of messages.
type Inbox struct {
	tag      string // the consumer tag
	prefetch int    // deliveries that may be unsettled; 0: any number

	// The reader's own, without lock: most messages of a consumer share these,
	// and comparing is cheaper than allocating.
	exchange, routingKey string
	arriving             Deliveries // parsed in the current read, not yet put

	mu       sync.Mutex
	changed  sync.Cond  // pending, ended or draining changed
	pending  Deliveries // put and not taken, but for the first ones:
	first    int        // of pending.List: taken
	firstRun int        // of pending.runs: taken
	bytes    int        // not taken, about
	draining bool       // the limit is off: what comes is the rest
	ended    error      // why nothing more comes
	done     chan struct{}
}

func newInbox(tag string) *Inbox {
	in := &Inbox{tag: tag, done: make(chan struct{})}
	in.changed.L = &in.mu
	return in
}

// Tag is the consumer tag.
func (in *Inbox) Tag() string { return in.tag }

// put hands over what the reader has parsed. While more than inboxRoom waits it
// blocks, and with it the reading of the socket: TCP slows the broker down. What
// comes after the end is kept up to that limit too.
func (in *Inbox) put() {
	if len(in.arriving.List) == 0 {
		return
	}
	bytes := in.arriving.bytes()
	in.mu.Lock()
	for in.bytes > inboxRoom && !in.draining && in.ended == nil {
		in.changed.Wait()
	}
	if in.ended != nil && in.bytes > inboxRoom { // a broker that goes on regardless
		in.mu.Unlock()
		in.arriving.Release()
		return
	}
	if in.waiting() == 0 {
		in.pending, in.arriving = in.arriving, in.pending
	} else {
		in.moveUp()
		in.pending.List = append(in.pending.List, in.arriving.List...)
		in.pending.runs = append(in.pending.runs, in.arriving.runs...)
		clear(in.arriving.List)
		in.arriving.List, in.arriving.runs = in.arriving.List[:0], in.arriving.runs[:0]
	}
	in.bytes += bytes
	in.changed.Broadcast()
	in.mu.Unlock()
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

// Take waits for deliveries and moves at most limit of them into d, which is
// released first. When the consumer has ended and nothing is left, it returns
// why. The end of ctx ends the wait while a Watch of it is on.
func (in *Inbox) Take(ctx context.Context, d *Deliveries, limit int) error {
	d.Release()
	in.mu.Lock()
	defer in.mu.Unlock()
	for in.waiting() == 0 && in.ended == nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		in.changed.Wait()
	}
	switch {
	case in.waiting() == 0:
		return in.ended
	case in.first == 0 && in.waiting() <= limit:
		*d, in.pending = in.pending, *d
		in.bytes = 0
	default:
		in.takeSome(d, min(limit, in.waiting()))
	}
	in.changed.Broadcast()
	return nil
}

// takeSome moves the first n deliveries into d, which is empty. Those behind
// them stay where they are: moving them up every time would cost far more than
// the taking, when many wait. in.mu is held.
func (in *Inbox) takeSome(d *Deliveries, n int) {
	p := &in.pending
	taken := p.List[in.first : in.first+n]
	for i := range taken {
		in.bytes -= len(taken[i].Body) + len(taken[i].Properties) + deliveryOverhead
	}
	d.List = append(d.List, taken...)
	clear(taken)
	in.first += n

	for n > 0 {
		first := &p.runs[in.firstRun]
		if first.n > n {
			if first.buf != nil {
				first.buf.retain() // d and pending share it from here
			}
			d.runs = append(d.runs, run{buf: first.buf, n: n})
			first.n -= n
			break
		}
		n -= first.n
		d.runs = append(d.runs, *first)
		in.firstRun++
	}
	if in.waiting() == 0 {
		p.List, p.runs, in.first, in.firstRun = p.List[:0], p.runs[:0], 0, 0
	}
}

// moveUp uses the room of what was taken, once that is at least as much as what
// is left, so that on average a delivery moves once. in.mu is held.
func (in *Inbox) moveUp() {
	if in.first < in.waiting() {
		return
	}
	p := &in.pending
	n := copy(p.List, p.List[in.first:])
	clear(p.List[n:])
	p.List, in.first = p.List[:n], 0
	p.runs, in.firstRun = p.runs[:copy(p.runs, p.runs[in.firstRun:])], 0
}

// Done is closed when nothing more comes; what is here can still be taken.
func (in *Inbox) Done() <-chan struct{} { return in.done }

// Err says why nothing more comes; nil before Done is closed.
func (in *Inbox) Err() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.ended
}

// waiting is the number of deliveries that are here and not taken. in.mu is held.
func (in *Inbox) waiting() int { return len(in.pending.List) - in.first }

// drain lifts the limit, so that the reader gets to the broker's answer to the
// cancel behind the deliveries that are still on their way.
func (in *Inbox) drain() {
	in.mu.Lock()
	in.draining = true
	in.changed.Broadcast()
	in.mu.Unlock()
}

// end says that nothing more comes, and why. What is pending can be taken.
func (in *Inbox) end(why error) {
	in.mu.Lock()
	if in.ended == nil {
		in.ended = why
		close(in.done)
	}
	in.changed.Broadcast()
	in.mu.Unlock()
}

// ErrCancelled ends an inbox that its own consumer cancelled.
var ErrCancelled = errors.New("consumer cancelled")
