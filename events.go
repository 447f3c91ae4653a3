package thump

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// EventKind is what has happened to a connection of a publisher or consumer.
type EventKind uint8

// The kinds of events.
const (
	// Disconnected says that a connection was lost: Err is why, InFlight what was in flight.
	Disconnected EventKind = iota + 1
	// Recovered says that there is one again, After that time, and that Resent messages were
	// sent again.
	Recovered
	// GaveUp says that there will be none any more, and Err why.
	GaveUp
	// Blocked says that the broker blocks a connection, because of a memory or disk alarm:
	// Err has its reason.
	Blocked
	// Unblocked says that it does so no more, or that the connection has ended.
	Unblocked
	// Emptied says that the queue that a consumer comes back to has no message, and no other
	// consumer, though InFlight deliveries were not settled when the connection was lost. They
	// are not in it any more: somebody took or purged them meanwhile, they have expired, or
	// the queue was lost, or deleted, and declared again. The consumer goes on.
	Emptied
)

// String returns the kind in lower case: "disconnected", "gave up".
func (k EventKind) String() string {
	switch k {
	case Disconnected:
		return "disconnected"
	case Recovered:
		return "recovered"
	case GaveUp:
		return "gave up"
	case Blocked:
		return "blocked"
	case Unblocked:
		return "unblocked"
	case Emptied:
		return "emptied"
	default:
		return fmt.Sprintf("event(%d)", uint8(k))
	}
}

// Event is something that has happened to the connection of a publisher or consumer, or
// of a partition of one.
type Event struct {
	Kind EventKind
	At   time.Time
	Of   string // such as `publisher to queue "hello"`; for Blocked the connection

	Err      error         // why
	InFlight int           // messages without an outcome, or deliveries that were not settled
	After    time.Duration // since the loss
	Resent   int           // messages that this connection sent again
}

// events hands events to Config.OnEvent, in order, from a goroutine that lives while there
// are some: a callback that blocks holds up no connection. It is safe for concurrent use.
type events struct {
	mu      sync.Mutex
	waiting []Event
	handing bool // the goroutine is there
}

// eventsMost is how many events may wait for a callback that does not return; what happens
// then is in the log alone.
const eventsMost = 1000

// tell logs an event, and hands it over. It waits for the log alone.
func (c *Client) tell(e Event) {
	e.At = time.Now()
	log := c.cfg.Logger.Warn
	switch e.Kind {
	case Recovered, Unblocked:
		log = c.cfg.Logger.Info
	case GaveUp:
		log = c.cfg.Logger.Error
	default:
	}
	log(e.Kind.String(), e.attributes()...)
	if c.cfg.OnEvent == nil {
		return
	}
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	if len(c.events.waiting) < eventsMost {
		c.events.waiting = append(c.events.waiting, e)
	}
	if !c.events.handing {
		c.events.handing = true
		go c.handEvents()
	}
}

// tellBlocked tells that the broker blocks a connection, or with "" that it does so no more.
func (c *Client) tellBlocked(of, reason string) {
	if reason == "" {
		c.tell(Event{Kind: Unblocked, Of: of})
	} else {
		c.tell(Event{Kind: Blocked, Of: of, Err: errors.New(reason)})
	}
}

// handEvents calls OnEvent until no event waits.
func (c *Client) handEvents() {
	for {
		c.events.mu.Lock()
		waiting := c.events.waiting
		c.events.waiting = nil
		c.events.handing = len(waiting) > 0
		c.events.mu.Unlock()
		if len(waiting) == 0 {
			return
		}
		for _, e := range waiting {
			c.cfg.OnEvent(e)
		}
	}
}

// attributes are those of the log.
func (e *Event) attributes() []any {
	list := []any{"of", e.Of}
	if e.Err != nil {
		list = append(list, "error", e.Err)
	}
	switch e.Kind {
	case Disconnected, Emptied:
		list = append(list, "in_flight", e.InFlight)
	case Recovered:
		list = append(list, "after", e.After, "resent", e.Resent)
	case GaveUp:
		list = append(list, "after", e.After)
	default:
	}
	return list
}
