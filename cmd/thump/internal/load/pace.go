package load

import (
	"context"
	"sync/atomic"
	"time"
)

// pace is a schedule at work, for whoever looks at it from outside. It is safe for concurrent
// use.
type pace struct {
	schedule   *Schedule
	begin      time.Time
	publishers []paced
}

// paced is what a publisher says of itself, in times that its pacer has at hand anyway.
type paced struct {
	// next is when the message is due that it sends next, since the beginning, or noneDue.
	next atomic.Int64
	// late is how late a message was at most since that was asked last, or noneSent.
	late atomic.Int64
}

const (
	// noneDue is that a publisher has nothing to send.
	noneDue = -1
	// noneSent is that no message was to leave since somebody asked.
	noneSent = -1
)

func newPace(schedule *Schedule, begin time.Time, publishers int) *pace {
	p := &pace{schedule: schedule, begin: begin, publishers: make([]paced, publishers)}
	for i := range p.publishers {
		p.publishers[i].late.Store(noneSent)
	}
	return p
}

// rate is the rate that is asked for now; ok is false where nothing is due.
func (p *pace) rate() (rate float64, ok bool) {
	for i := range p.publishers {
		ok = ok || p.publishers[i].next.Load() != noneDue
	}
	return p.schedule.RateAt(time.Since(p.begin)), ok
}

// takeLate is how late a message was at most since takeLate was called last, with the next ones,
// which are late until now; ok is false where there was none.
func (p *pace) takeLate() (late time.Duration, ok bool) {
	now := time.Since(p.begin)
	for i := range p.publishers {
		// A message that leaves between the two is told now, next time, or both.
		if was := p.publishers[i].late.Swap(noneSent); was != noneSent {
			late, ok = max(late, time.Duration(was)), true
		}
		if due := p.publishers[i].next.Load(); due != noneDue {
			late, ok = max(late, now-time.Duration(due)), true
		}
	}
	return late, ok
}

// pacer is one publisher's part of a pace: publishers take turns.
type pacer struct {
	*pace
	publisher int
	arrivals  arrivals
	shift     time.Duration // by how much the schedule was put off
	late      time.Duration // how far it was behind at worst
}

func (p *pace) pacer(publisher int) *pacer {
	return &pacer{pace: p, publisher: publisher, arrivals: arrivals{schedule: p.schedule}}
}

// due is when the publisher's message n, counted from 0, is to be sent, since the beginning.
func (p *pacer) due(n uint64) time.Duration {
	return p.arrivals.at(slot(n, p.publisher, len(p.publishers))) + p.shift
}

// slot is which message of all a publisher's message n is in the schedule, both counted from 0.
func slot(n uint64, publisher, publishers int) uint64 {
	return n*uint64(publishers) + uint64(publisher)
}

// await waits until message n is due, and returns how many are due by then, n among them, at
// most most: each message goes out when it is due, and with others only where these are due
// too. It returns early when ctx ends.
func (p *pacer) await(ctx context.Context, n, most uint64) (ready uint64) {
	first := p.due(n)
	p.publishers[p.publisher].next.Store(int64(first))
	now := time.Since(p.begin)
	for now < first && ctx.Err() == nil {
		wait(ctx, first-now)
		now = time.Since(p.begin)
	}
	p.wasLate(now - first)
	for ready = 1; ready < most && p.due(n+ready) <= now; {
		ready++
	}
	return ready
}

// notSent says that message n is not sent. If it was due, it is late until now.
func (p *pacer) notSent(n uint64) { p.wasLate(time.Since(p.begin) - p.due(n)) }

// wasLate says how late a message was. Nobody else makes that larger, and takeLate, which
// takes it away meanwhile, has told what was there.
func (p *pacer) wasLate(late time.Duration) {
	p.late = max(p.late, late)
	if told := &p.publishers[p.publisher].late; int64(late) > told.Load() {
		told.Store(int64(late))
	}
}

// end says that the publisher has nothing to send, until await says otherwise.
func (p *pacer) end() { p.publishers[p.publisher].next.Store(noneDue) }

// publishPaced publishes the range by the schedule. It ends with the range, when ctx ends, or
// on an error.
func (p *publisher) publishPaced(ctx context.Context) error {
	b := p.newBatch()
	n := uint64(0)
	for n < p.own.Len() && ctx.Err() == nil {
		ready := p.pace.await(ctx, n, min(uint64(len(b.messages)), p.own.Len()-n))
		messages := b.fill(p.own.First+n, ready)
		for i := 0; b.stamps != nil && i < len(messages); i++ {
			b.stamps.set(i, p.pace.begin.Add(p.pace.due(n+uint64(i))))
		}
		accepted, err := p.pub.Publish(ctx, messages...)
		p.count(accepted)
		n += uint64(accepted)
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	if n < p.own.Len() {
		p.pace.notSent(n)
	}
	return nil
}

// napMost is how long a nap is at most, which nothing ends early.
const napMost = 2 * time.Millisecond

// wait returns after about that time, or soon after ctx has ended. It may return earlier.
func wait(ctx context.Context, d time.Duration) {
	if d <= napMost {
		nap(d)
		return
	}
	timer := time.NewTimer(d - napMost/2)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
