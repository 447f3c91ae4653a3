package load

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// outages is what a run is told of lost connections. An outage lasts from when the first
// publisher or consumer has no connection until all have one again.
type outages struct {
	mu                    sync.Mutex
	publishers, consumers int // that have no connection now
	since                 time.Time
	why                   error
	cancels               bool   // the broker has cancelled those who have none, because of their queue
	lost                  func() // is told that a consumer lost its connection, and has one again

	count          uint64
	at             uint64 // how many messages were done when the first began
	total, longest time.Duration
}

// Tell is for thump.Config.OnEvent of the client that the run uses.
func (p *Progress) Tell(e thump.Event) {
	o := &p.outages
	o.mu.Lock()
	defer o.mu.Unlock()
	consumer := strings.HasPrefix(e.Of, "consumer")
	without := &o.publishers
	if consumer {
		without = &o.consumers
	}
	switch {
	case e.Kind == thump.Disconnected && thump.Temporary(e.Err): // else nobody comes back
		o.begin(e, p.done())
		*without++
	case e.Kind == thump.Recovered && *without > 0:
		*without--
		o.cancels = false
		o.endAt(e.At)
	case e.Kind == thump.GaveUp && o.cancels && thump.IsNotFound(e.Err):
		o.forget()
	default: // after GaveUp there is no connection any more
		return
	}
	if consumer && o.lost != nil {
		o.lost()
	}
}

// done is how many messages were confirmed or received, whichever side reports first.
func (p *Progress) done() uint64 {
	for _, n := range []uint64{p.Confirmed(), p.Published()} {
		if n > 0 {
			return n
		}
	}
	return p.Received()
}

func (o *outages) begin(e thump.Event, done uint64) {
	broker, said := errors.AsType[*thump.BrokerError](e.Err)
	cancelled := said && broker.Protocol == thump.AMQP091 && broker.Code == 0
	if o.publishers+o.consumers > 0 {
		o.cancels = o.cancels && cancelled
		return
	}
	o.since, o.why, o.cancels = e.At, e.Err, cancelled
	if o.count++; o.count == 1 {
		o.at = done
	}
}

// forget says that the outage was none: no connection was lost, and nobody waits for one.
func (o *outages) forget() {
	o.publishers, o.consumers, o.cancels = 0, 0, false
	o.count--
}

// endAt ends the outage if everybody has a connection.
func (o *outages) endAt(at time.Time) {
	if o.publishers+o.consumers > 0 {
		return
	}
	lasted := max(0, at.Sub(o.since))
	o.total += lasted
	o.longest = max(o.longest, lasted)
}

// Away is since when there is no connection, and why; why is nil while there is one.
func (p *Progress) Away() (since time.Time, why error) {
	o := &p.outages
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.publishers+o.consumers == 0 {
		return time.Time{}, nil
	}
	return o.since, o.why
}

func (p *Progress) away() bool {
	_, why := p.Away()
	return why != nil
}

// onLost sets what is told that a consumer has lost its connection, and that it has one
// again.
func (p *Progress) onLost(lost func()) {
	p.outages.mu.Lock()
	defer p.outages.mu.Unlock()
	p.outages.lost = lost
}

// stale says that a consumer has received what it could not ack any more.
func (p *Progress) stale() {
	p.outages.mu.Lock()
	defer p.outages.mu.Unlock()
	if p.outages.lost != nil {
		p.outages.lost()
	}
}

// consumersOpened says that every consumer is a new one, with a connection.
func (p *Progress) consumersOpened() {
	o := &p.outages
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.consumers > 0 {
		o.consumers = 0
		o.endAt(time.Now())
	}
}

// recordOutages writes to r what was survived.
func (p *Progress) recordOutages(r *result.Run) {
	o := &p.outages
	o.mu.Lock()
	defer o.mu.Unlock()
	r.Outages = new(o.count)
	if o.count == 0 {
		return
	}
	total, longest := o.total, o.longest
	if r.AwayAtEnd = o.publishers+o.consumers > 0; r.AwayAtEnd {
		now := time.Since(o.since)
		total, longest = total+now, max(longest, now)
	}
	r.FirstOutageAt, r.OutageSeconds, r.LongestOutageSeconds = new(o.at), seconds(total), seconds(longest)
}

func (p *Progress) hadOutage() bool {
	p.outages.mu.Lock()
	defer p.outages.mu.Unlock()
	return p.outages.count > 0
}
