package load

import (
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/internal/ledger"
)

// What expires in its queue is not lost: the broker puts it into another one, from which the run takes
// it besides. It is accounted for like what is received, but has no latency, and its order says
// nothing.

// expiredSink records what has expired.
type expiredSink struct {
	consumer  *ledger.Consumer
	stopwatch *stopwatch
	progress  *Progress
}

func (r *runner) expiredSink() sink {
	return &expiredSink{r.books[0].Consumer(), r.sent.times.stopwatch(), r.cfg.Progress}
}

func (s *expiredSink) record(deliveries []thump.Delivery, _ time.Time) (foreign bool) {
	for i := range deliveries {
		const inNoOrder = true
		s.consumer.Add(deliveries[i].Body, inNoOrder)
	}
	s.consumer.Commit()
	for _, a := range s.consumer.Arrivals() {
		s.stopwatch.pass(a.Publisher, a.First, a.Last, 1)
		s.progress.expired.Add(a.Last - a.First + 1)
	}
	return false
}

// consumer is how consumer i of several consumes: after the others comes the one of what has expired.
func (r *runner) consumer(i, of int) thump.ConsumerConfig {
	if i == r.cfg.Consumers {
		return thump.ConsumerConfig{From: thump.Queue(r.cfg.To.expired())}
	}
	return r.source.consumer(i, of)
}

// aside is how many consumers there are whose deliveries were not received.
func (r *runner) aside() int {
	if r.cfg.To.expired() != "" {
		return 1
	}
	return 0
}
