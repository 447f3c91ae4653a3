package load

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Progress is how far a run has come. It is written once a batch. Any goroutine
// may read it at any time. The zero value is ready for use by one run.
type Progress struct {
	published atomic.Uint64
	confirmed atomic.Uint64
	received  atomic.Uint64
	answered  atomic.Uint64 // messages whose outcome is known

	requeued, rejected atomic.Uint64 // by consumers
	expired            atomic.Uint64 // messages that no consumer got
	working            atomic.Int64  // consumers that spend time on a message
	gets, emptyGets    atomic.Uint64 // answers to consumers that poll, and those of them without a message

	sendingEnded atomic.Pointer[time.Time]

	outages outages

	confirmLatency, receiveLatency latencies

	pace atomic.Pointer[pace] // while messages are sent by a schedule
	term atomic.Pointer[term] // nil where no time ends the sending
	warm atomic.Pointer[warm] // nil until the warm-up is over

	mu         sync.Mutex
	publishers []*thump.Publisher
}

// Published is the number of messages that the publishers have accepted.
func (p *Progress) Published() uint64 { return p.published.Load() }

// Confirmed is the number of messages that the broker has confirmed.
func (p *Progress) Confirmed() uint64 { return p.confirmed.Load() }

// Received is the number of deliveries, without those that consumers gave back.
func (p *Progress) Received() uint64 { return p.received.Load() }

// Expired is the number of messages that expired in their queue, which no consumer got.
func (p *Progress) Expired() uint64 { return p.expired.Load() }

// Gets is how often consumers that poll have asked for a message, and EmptyGets how often the queue was
// empty then.
func (p *Progress) Gets() uint64 { return p.gets.Load() }

// EmptyGets is explained at Gets.
func (p *Progress) EmptyGets() uint64 { return p.emptyGets.Load() }

// handled is the number of deliveries that consumers were done with.
func (p *Progress) handled() uint64 { return p.over() + p.requeued.Load() }

// over is the number of deliveries that were received, or will not be: their messages have expired.
func (p *Progress) over() uint64 { return p.received.Load() + p.expired.Load() }

// SendingEnded is when every publisher had sent its messages and knew their outcomes; ok is
// false until then.
func (p *Progress) SendingEnded() (at time.Time, ok bool) {
	if ended := p.sendingEnded.Load(); ended != nil {
		return *ended, true
	}
	return time.Time{}, false
}

// Schedule is how many messages a second are asked for at this moment; ok is false where no rate
// was asked for, before the first message and after the last, and while a Feed has no next one.
func (p *Progress) Schedule() (rate float64, ok bool) {
	if pace := p.pace.Load(); pace != nil {
		return pace.rate()
	}
	return 0, false
}

// Late is how far the sending was behind the schedule at most since Late was called last; ok is
// false where no message was due. One goroutine may call it: what it has told it does not tell
// another.
func (p *Progress) Late() (late time.Duration, ok bool) {
	if pace := p.pace.Load(); pace != nil {
		return pace.takeLate()
	}
	return 0, false
}

// Ending is when the sending ends by the time, as far as that is known.
type Ending struct {
	// Length is how long the sending takes, and Left what of that is to come. Both are 0 where no
	// time ends it, and before it begins.
	Length, Left time.Duration
	// Latest says that a number of messages may end it before.
	Latest bool
}

// Ending is when the sending ends.
func (p *Progress) Ending() Ending {
	t := p.term.Load()
	if t == nil {
		return Ending{}
	}
	now, ended := p.SendingEnded()
	if !ended {
		now = time.Now()
	}
	return Ending{Length: t.length, Left: max(0, t.length-now.Sub(t.begin)), Latest: t.latest}
}

// Latencies are those of the messages that were confirmed and received since Latencies was
// called last; nil where none was, or they are not measured. One goroutine may call it: each
// message is told once.
func (p *Progress) Latencies() (confirm, receive *result.Percentiles) {
	return p.confirmLatency.take(), p.receiveLatency.take()
}

// EachLatency calls confirmed and received with each latency of the messages so far, in
// seconds, and with their number. They hold up who records more, for a moment.
func (p *Progress) EachLatency(confirmed, received func(seconds float64, n uint64)) {
	p.confirmLatency.each(confirmed)
	p.receiveLatency.each(received)
}

// Blocked is the broker's reason while it blocks one of the publishers (a memory
// or disk alarm), and "" otherwise.
func (p *Progress) Blocked() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, pub := range p.publishers {
		if reason := pub.Blocked(); reason != "" {
			return reason
		}
	}
	return ""
}

func (p *Progress) watch(pub *thump.Publisher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.publishers = append(p.publishers, pub)
}
