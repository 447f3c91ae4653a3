package report

import (
	"fmt"
	"math"
	"slices"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// Limit is what kept a run from being faster.
type Limit string

// The limits that samples can show.
const (
	NoLimit        Limit = ""          // the samples do not show which
	RateLimit      Limit = "rate"      // the rate that was asked for, which was kept
	StoppedLimit   Limit = "stopped"   // this process did not run for a while
	GeneratorLimit Limit = "thump"     // this process had no processor left
	MachineLimit   Limit = "machine"   // this process and the broker together
	BlockedLimit   Limit = "blocked"   // an alarm of the broker
	FlowLimit      Limit = "flow"      // the broker slowed the publishers down
	ConsumersLimit Limit = "consumers" // they took less than was sent
)

const (
	// samplesLeast is how many samples say something: the first has the begin of the run.
	samplesLeast = 4
	// saturated is the part of the processors that is as good as all of them.
	saturated = 0.9
	// often is the part of the time, or of the messages, that matters.
	often = 0.25
	// few is the part of the messages that consumers may not have yet of a rate that is kept:
	// it leaves them the time to keep up. underWay is how many may always be on their way.
	few, underWay = 0.1, 10
	// gap is how many times as far apart as usual samples are that nobody took in between.
	gap = 4
	// behind is how many seconds a schedule may be late and still count as kept.
	behind = 0.1
)

// Limited says what limited a run, and in one sentence how that shows and what to change; ""
// where the samples do not show it. Of several it names the first in the order above: what is
// held up by one says nothing of the next.
func Limited(r *result.Run) (Limit, string) {
	c := courseOf(r)
	if c.seconds <= 0 || len(r.Samples) < samplesLeast {
		return NoLimit, ""
	}
	used := fmt.Sprintf("thump used %s", cores(c.client, r))
	processors := float64(r.Settings.Processors)
	kept, slower := c.kept(), c.slower(r)
	switch {
	case kept && !slower:
		return RateLimit, "The rate that was asked for was kept: it was the limit, and " + used + "."
	case !kept && (c.stopped >= often*c.seconds || c.wanted && c.stopped >= c.late/2):
		return StoppedLimit, fmt.Sprintf("thump did not run for %s of the %s: it was stopped, or the machine was. What was due then left afterwards, and what this run says of speed says little.",
			duration(c.stopped), duration(c.seconds))
	case processors > 0 && c.client >= saturated*processors:
		return GeneratorLimit, fmt.Sprintf("thump itself was the limit%s: it kept %s busy. More processors, or several machines that send, show what RabbitMQ can do.",
			c.pace(), cores(c.client, r))
	case processors > 0 && c.brokerKnown && c.client+c.broker >= saturated*processors:
		return MachineLimit, fmt.Sprintf("This machine was the limit%s: thump (%.1f) and RabbitMQ (%.1f) together kept %s busy. Apart, each has a machine of its own.",
			c.pace(), c.client, c.broker, cores(c.client+c.broker, r))
	case !kept && c.blocked >= often:
		return BlockedLimit, fmt.Sprintf("RabbitMQ blocked publishers for %s of the time: its memory or disk was the limit; %s.", share(c.blocked), used)
	case !kept && c.flow >= often:
		return FlowLimit, fmt.Sprintf("RabbitMQ slowed publishers down (flow control) for %s of the time: it was the limit, and not thump; %s. More queues may help, or a faster disk.",
			share(c.flow), used)
	case slower:
		return ConsumersLimit, c.consumers(r)
	case c.wanted:
		return NoLimit, fmt.Sprintf("The sending was up to %s behind the rate that was asked for, and not because thump was busy: it used %s.", duration(c.late), cores(c.client, r))
	}
	return NoLimit, ""
}

// course is a run while it sent, or as a whole if it sent nothing: averages over time.
type course struct {
	seconds        float64
	client, broker float64 // processors
	brokerKnown    bool
	flow, blocked  float64 // the part of the time in which a connection was so
	sent, received float64 // messages; received by each reader
	wanted         bool    // a rate was asked for
	late           float64 // the most seconds behind it
	stopped        float64 // seconds in which this process took no samples
}

func courseOf(r *result.Run) course {
	// What was never sent, and what was sent after the last sample, only the run itself knows.
	c := course{wanted: r.LateSeconds != nil, late: result.Value(r.LateSeconds)}
	end, usual := sendingEnd(r), apart(r.Samples)
	before := result.Sample{}
	for i := range r.Samples {
		s := &r.Samples[i]
		if s.Seconds > end && i > 0 {
			break
		}
		elapsed := s.Seconds - before.Seconds
		c.seconds += elapsed
		if elapsed > gap*usual {
			c.stopped += elapsed - usual
		}
		c.client += elapsed * result.Value(s.Client.CPU)
		if b := s.Broker; b != nil {
			c.brokerKnown = c.brokerKnown || b.CPU != nil
			c.broker += elapsed * result.Value(b.CPU)
			if result.Value(b.Flow) > 0 {
				c.flow += elapsed
			}
			if result.Value(b.Blocked) > 0 {
				c.blocked += elapsed
			}
		}
		c.wanted = c.wanted || s.WantedRate != nil
		c.late = max(c.late, result.Value(s.LateSeconds))
		before = *s
	}
	if c.seconds > 0 {
		c.client, c.broker, c.flow, c.blocked = c.client/c.seconds, c.broker/c.seconds, c.flow/c.seconds, c.blocked/c.seconds
	}
	readers := 1.0
	if p := placeOf(r); p.readers > 1 {
		readers = float64(p.readers)
	}
	c.sent, c.received = float64(before.Sent), float64(before.Received)/readers
	return c
}

// apart is how many seconds samples are usually apart.
func apart(samples []result.Sample) float64 {
	steps := make([]float64, 0, len(samples))
	for i := 1; i < len(samples); i++ {
		steps = append(steps, samples[i].Seconds-samples[i-1].Seconds)
	}
	if len(steps) == 0 {
		return math.Inf(1)
	}
	slices.Sort(steps)
	return steps[len(steps)/2]
}

// sendingEnd is when the sending ended; the end of the run if it did not.
func sendingEnd(r *result.Run) float64 {
	for _, e := range r.Events {
		if e.Kind == result.SendingEnded {
			return e.Seconds
		}
	}
	if len(r.Samples) == 0 {
		return 0
	}
	return r.Samples[len(r.Samples)-1].Seconds
}

// kept reports whether a rate was asked for, and every message left on time.
func (c *course) kept() bool { return c.wanted && c.late <= behind }

// slower reports whether consumers took less than was sent meanwhile. Without a rate they share
// what there is with the publishers, and are always somewhat behind.
func (c *course) slower(r *result.Run) bool {
	part := often
	if c.kept() {
		part = few
	}
	return r.Settings.Consumers > 0 && !r.Settings.Sequential && c.sent-c.received > max(part*c.sent, underWay)
}

// consumers says how much slower they were, and what would make them faster.
func (c *course) consumers(r *result.Run) string {
	text, s := "", &r.Settings
	if c.kept() {
		text = "The sending kept the rate that was asked for, and the consumers did not keep up. "
	}
	text += fmt.Sprintf("While messages were sent, consumers took %s a second of %s: ", whole(c.received/c.seconds), whole(c.sent/c.seconds))
	switch {
	case s.ConsumeRate > 0:
		return text + fmt.Sprintf("they were to take no more than %s.", Rate(s.ConsumeRate))
	case s.Work != "":
		return text + fmt.Sprintf("each message takes one of them %s (--work). More consumers may help, or less work.", s.Work)
	case s.Poll:
		return text + "each asked for one message after another (--poll), which is a round trip for each. More consumers may help; without --poll the broker sends ahead."
	}
	return text + "they were the slower side. More consumers, or a larger prefetch, may help."
}

// pace says how the sending kept its schedule, in the middle of a sentence; "" if it had none.
func (c *course) pace() string {
	switch {
	case !c.wanted:
		return ""
	case c.kept():
		return fmt.Sprintf(", while the sending kept the rate that was asked for and consumers took %s a second of %s",
			whole(c.received/c.seconds), whole(c.sent/c.seconds))
	}
	return fmt.Sprintf(", up to %s behind the rate that was asked for", duration(c.late))
}

// cores says how many of the processors were busy.
func cores(busy float64, r *result.Run) string {
	if r.Settings.Processors == 0 {
		return fmt.Sprintf("%.1f"+unit+"processors", busy)
	}
	return fmt.Sprintf("%.1f of %d processors", busy, r.Settings.Processors)
}

func share(part float64) string { return fmt.Sprintf("%.0f"+unit+"%%", 100*part) }
