package load

import (
	"strings"
	"time"

	"github.com/thumpmq/thump"
)

// The headers of messages that say when they were sent, for a receiver in another process.
const (
	// sentHeader is when the message was sent or, with a schedule, when it was due, in
	// microseconds since 1970 by the sender's clock.
	sentHeader = "thump-sent"
	// clockHeader is a clock's name.
	clockHeader = "thump-clock"
)

// clockName is what the header says of the sender's clock: which machine's it is, the queue
// where one may ask what time it shows, "" for none, and whether messages have the time at which
// they were due.
type clockName struct {
	machine, queue string
	due            bool
}

func (c clockName) String() string {
	what := "sent"
	if c.due {
		what = "due"
	}
	return c.machine + "/" + c.queue + "/" + what
}

// parseClockName reads a header that anybody may have written.
func parseClockName(text string) (clockName, bool) {
	machine, rest, ok := strings.Cut(text, "/")
	queue, what, named := strings.Cut(rest, "/")
	if !ok || !named || machine == "" || len(text) > 255 || queue != "" && !strings.HasPrefix(queue, clockQueue) {
		return clockName{}, false
	}
	return clockName{machine: machine, queue: queue, due: what == "due"}, true
}

// stamps are the headers of a batch's messages.
type stamps struct {
	properties []thump.Properties // of each message, or one for all
}

// newStamps makes the headers of messages: of each its own, with its own time, or of all the same. It
// sets the messages' properties, which are others besides; nil for none.
func newStamps(messages []thump.Message, clock clockName, each bool, others *thump.Properties) *stamps {
	n := 1
	if each {
		n = len(messages)
	}
	s := &stamps{properties: make([]thump.Properties, n)}
	for i := range s.properties {
		p := &s.properties[i]
		if others != nil {
			*p = *others
		}
		p.Headers = append(thump.NewTable(sentHeader, int64(0), clockHeader, clock.String()), p.Headers...)
	}
	for i := range messages {
		messages[i].Properties = &s.properties[i%n]
	}
	return s
}

// set says when message i was sent; of all, where they have one time.
func (s *stamps) set(i int, at time.Time) { s.properties[i].Headers[0].Value = at.UnixMicro() }

// setAll says when the first n messages were sent.
func (s *stamps) setAll(n int, at time.Time) {
	var micros any = at.UnixMicro()
	for i := range s.properties[:min(n, len(s.properties))] {
		s.properties[i].Headers[0].Value = micros
	}
}

// stampOf reads what a message says of when it was sent.
func stampOf(d *thump.Delivery) (sent int64, clock string, ok bool) {
	sent, ok = d.Header(sentHeader).(int64)
	if !ok {
		return 0, "", false
	}
	clock, ok = d.Header(clockHeader).(string)
	return sent, clock, ok
}
