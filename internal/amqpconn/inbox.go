package amqpconn

import (
	"context"

	"github.com/thumpmq/thump/internal/amqpproto"
	"github.com/thumpmq/thump/internal/transport"
)

// inboxRoom is how many bytes the deliveries that wait for their consumer may keep
// before the connection stops reading. Prefetch bounds the messages that wait; this
// bounds the memory when they are large, or when there is no prefetch.
const inboxRoom = 8 << 20

// relaxedRoom is how many bytes may wait while Relax is on.
const relaxedRoom = 256 << 20

// deliveryOverhead is counted for each delivery on top of the memory that its bytes
// are in, so that empty messages are bounded too.
const deliveryOverhead = 128

// leastPart says what part of a read buffer the deliveries of one read must use to
// stay in it, a sixteenth: fewer are copied out of it together. So nobody who keeps
// all of them keeps more than 16 times their bytes, and who keeps a few of a slow flow
// keeps little more than those.
const leastPart = 16

// Delivery is one message from the broker. Body and Properties may alias a read
// buffer, which the Deliveries it came in holds until Release or LetGo; the strings
// do not.
type Delivery struct {
	Tag         uint64
	Redelivered bool
	Exchange    string
	RoutingKey  string
	Properties  []byte // flags and property list, for amqpproto.ParseProperties
	Body        []byte
}

// Deliveries is what Take fills: messages in order, and the buffers that they
// alias. The zero value is ready; reuse it to reuse its memory. Release ends the
// bodies, LetGo leaves them to whoever has them.
type Deliveries struct {
	List []Delivery
	runs []run
}

// run is consecutive deliveries whose bytes are in the same memory: a read buffer,
// which the run holds a reference to, or memory of their own.
type run struct {
	buf  *transport.Buffer // nil: none
	n    int
	held int // bytes that are kept with it, all of a buffer's
}

// bytes is about how much memory the deliveries keep.
func (d *Deliveries) bytes() int {
	sum := len(d.List) * deliveryOverhead
	for i := range d.runs {
		sum += d.runs[i].held
	}
	return sum
}

// Release gives the buffers back: the bodies are no longer valid.
func (d *Deliveries) Release() {
	for _, r := range d.runs {
		if r.buf != nil {
			r.buf.Release()
		}
	}
	d.LetGo()
}

// LetGo empties d and does not give the buffers back: nothing is ever read into them
// again, so the bodies stay as they are for whoever has them, and the garbage
// collector frees each buffer when nobody has any of it.
func (d *Deliveries) LetGo() {
	clear(d.List)
	clear(d.runs)
	d.List, d.runs = d.List[:0], d.runs[:0]
}

// add appends a delivery that aliases buf, retaining it once per run; buf is nil where
// the delivery owns its memory.
func (d *Deliveries) add(m *Delivery, buf *transport.Buffer) {
	d.List = append(d.List, *m)
	if buf == nil {
		d.runs = append(d.runs, run{n: 1, held: cap(m.Body) + cap(m.Properties)})
		return
	}
	if last := len(d.runs) - 1; last >= 0 && d.runs[last].buf == buf {
		d.runs[last].n++
		return
	}
	buf.Retain()
	d.runs = append(d.runs, run{buf: buf, n: 1, held: len(buf.Bytes)})
}

// copyOut copies the deliveries that use a small part of a read buffer out of it, those
// of a run into one piece of memory, and gives the buffer back.
func (d *Deliveries) copyOut() {
	first := 0
	for i := range d.runs {
		r := &d.runs[i]
		list := d.List[first : first+r.n]
		first += r.n
		if r.buf == nil {
			continue
		}
		used, most := 0, len(r.buf.Bytes)/leastPart
		for j := 0; j < len(list) && used < most; j++ {
			used += len(list[j].Body) + len(list[j].Properties)
		}
		if used >= most {
			continue
		}
		own := make([]byte, 0, used)
		for j := range list {
			own = moveTo(own, &list[j].Body)
			own = moveTo(own, &list[j].Properties)
		}
		r.buf.Release()
		r.buf, r.held = nil, cap(own)
	}
}

// moveTo appends the bytes of *b to own, which has room for them, and makes *b those.
// nil stays nil.
func moveTo(own []byte, b *[]byte) []byte {
	if *b == nil {
		return own
	}
	start := len(own)
	own = append(own, *b...)
	*b = own[start:len(own):len(own)]
	return own
}

// append moves the deliveries of other to the end of d, and reports how many bytes of
// memory are counted twice, since the two share a buffer.
func (d *Deliveries) append(other *Deliveries) (shared int) {
	runs := other.runs
	if last := len(d.runs) - 1; last >= 0 && runs[0].buf != nil && d.runs[last].buf == runs[0].buf {
		buf := runs[0].buf
		shared = len(buf.Bytes)
		d.runs[last].n += runs[0].n
		d.runs[last].held += runs[0].held - shared
		buf.Release()
		runs = runs[1:]
	}
	d.List = append(d.List, other.List...)
	d.runs = append(d.runs, runs...)
	other.LetGo()
	return shared
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
	named                int        // bytes of those that were allocated since the last put
	arriving             Deliveries // parsed in the current read, not yet put

	transport.Inbox
	pending  Deliveries // put and not taken, but for the first ones:
	first    int        // of pending.List: taken
	firstRun int        // of pending.runs: taken

	// Delivery tags: of the last one that has come, dropped ones included, and of the
	// last one that was taken.
	came, took uint64

	relaxed int // calls of Relax that are on

	// Of a consumer that polls; what Ask sends is nil for others.
	get    *amqpproto.BasicGet
	asked  bool // the answer to an Ask has not come
	empty  bool // it has, and the queue had no message: for Take
	closed bool // nothing is asked for any more
}

func newInbox(tag string) *Inbox {
	in := &Inbox{tag: tag}
	in.Open(inboxRoom)
	return in
}

// names returns the exchange and routing key as strings, allocating only when
// they differ from the last delivery's.
func (in *Inbox) names(view amqpproto.DeliverView) (exchange, routingKey string) {
	if in.exchange != string(view.Exchange) {
		in.exchange = string(view.Exchange)
		in.named += len(view.Exchange)
	}
	if in.routingKey != string(view.RoutingKey) {
		in.routingKey = string(view.RoutingKey)
		in.named += len(view.RoutingKey)
	}
	return in.exchange, in.routingKey
}

// put hands over what the reader has parsed, once there is room, or when the inbox
// ends while it waits for that. What comes after the end is kept up to the same limit.
func (in *Inbox) put() {
	if len(in.arriving.List) == 0 {
		return
	}
	in.arriving.copyOut()
	in.arriving.runs[0].held += in.named
	in.named = 0
	bytes := in.arriving.bytes()
	in.Lock()
	in.asked = false
	in.came = in.arriving.List[len(in.arriving.List)-1].Tag
	if !in.WaitForRoom() {
		in.Unlock()
		in.arriving.Release()
		return
	}
	if in.waiting() == 0 {
		in.pending, in.arriving = in.arriving, in.pending
	} else {
		in.moveUp()
		bytes -= in.pending.append(&in.arriving)
	}
	in.Bytes += bytes
	in.Changed()
	in.Unlock()
}

// Take waits for deliveries and moves at most limit of them into d, which is
// released first. When the consumer has ended and nothing is left, it returns
// why. The end of ctx ends the wait while a Watch of it is on. Of a consumer that
// polls it leaves d empty when the queue had no message.
func (in *Inbox) Take(ctx context.Context, d *Deliveries, limit int) error {
	d.Release()
	in.Lock()
	defer in.Unlock()
	for {
		if err := in.MayTake(ctx); err != nil {
			return err
		}
		if in.waiting() > 0 {
			break
		}
		if in.empty {
			in.empty = false
			return nil
		}
		if err := in.WaitForMore(ctx); err != nil {
			return err
		}
	}
	if in.first == 0 && in.waiting() <= limit {
		*d, in.pending = in.pending, *d
		in.Bytes = 0
	} else {
		in.takeSome(d, min(limit, in.waiting()))
	}
	in.took = d.List[len(d.List)-1].Tag
	in.Changed()
	return nil
}

// Relax raises the limit until restore is called. It is for whoever takes, and waits for
// an answer of the broker that may come after all that prefetch lets it send: that much
// must find room, or the wait is over only once somebody takes.
func (in *Inbox) Relax() (restore func()) {
	add := func(n int) {
		in.Lock()
		defer in.Unlock()
		in.relaxed += n
		in.Limit = inboxRoom
		if in.relaxed > 0 {
			in.Limit = relaxedRoom
		}
		in.Changed()
	}
	add(1)
	return func() { add(-1) }
}

// untaken is the range of delivery tags that have come and were not taken; empty
// where the first is higher than the last. They count as taken from then on.
func (in *Inbox) untaken() (first, last uint64) {
	in.Lock()
	defer in.Unlock()
	first, last = in.took+1, in.came
	in.took = last
	return first, last
}

// Untaken reports whether something has come and was not taken.
func (in *Inbox) Untaken() bool {
	in.Lock()
	defer in.Unlock()
	return in.took < in.came
}

// takeSome moves the first n deliveries into d, which is empty. Those behind
// them stay where they are: moving them up every time would cost far more than
// the taking, when many wait. The lock is held.
func (in *Inbox) takeSome(d *Deliveries, n int) {
	p := &in.pending
	taken := p.List[in.first : in.first+n]
	d.List = append(d.List, taken...)
	clear(taken)
	in.first += n
	in.Bytes -= n * deliveryOverhead

	for n > 0 {
		first := &p.runs[in.firstRun]
		if first.n > n {
			if first.buf != nil {
				first.buf.Retain() // d and pending share it from here
			}
			d.runs = append(d.runs, run{buf: first.buf, n: n})
			first.n -= n
			break
		}
		n -= first.n
		in.Bytes -= first.held // until here all of it was kept
		d.runs = append(d.runs, *first)
		*first = run{}
		in.firstRun++
	}
	if in.waiting() == 0 {
		p.List, p.runs, in.first, in.firstRun = p.List[:0], p.runs[:0], 0, 0
	}
}

// moveUp uses the room of what was taken, once that is at least as much as what
// is left, so that on average a delivery moves once. The lock is held.
func (in *Inbox) moveUp() {
	if in.first < in.waiting() {
		return
	}
	p := &in.pending
	n := copy(p.List, p.List[in.first:])
	clear(p.List[n:])
	p.List, in.first = p.List[:n], 0
	n = copy(p.runs, p.runs[in.firstRun:])
	clear(p.runs[n:])
	p.runs, in.firstRun = p.runs[:n], 0
}

// waiting is the number of deliveries that are here and not taken. The lock is held.
func (in *Inbox) waiting() int { return len(in.pending.List) - in.first }
