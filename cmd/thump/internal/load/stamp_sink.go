package load

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/thumpmq/thump"
	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// stamped is what messages that say when they were sent told, besides their latencies.
type stamped struct {
	mu sync.Mutex
	// untimed messages do not say when they were sent, or by a clock of which nothing is
	// known. early ones have come before they were sent, by what is known of the clocks.
	untimed, early uint64
	due            bool         // some say when they were due
	clock          *senderClock // the one of another machine that is known least exactly; nil for none
}

// stampSink is a tallySink that tells how long messages took as well.
type stampSink struct {
	*tallySink
	ctx      context.Context //nolint:containedctx // a sink lives as long as its intake
	receiver *receiver

	latest  string // the latest header, its clock, and what that says; nil where nobody knows yet
	clock   *senderClock
	reading *reading
	took    []took
}

func (s *stampSink) record(deliveries []thump.Delivery, now time.Time) (foreign bool) {
	s.tallySink.record(deliveries, now)
	var untimed, early uint64
	due := false
	if s.clock != nil {
		s.receiver.clocks.refresh(s.ctx, s.clock, now)
		s.reading = s.clock.latest.Load()
	}
	micros := now.UnixMicro()
	for i := range deliveries {
		sent, name, ok := stampOf(&deliveries[i])
		if ok && (s.clock == nil || name != s.latest) {
			s.latest, s.clock = name, s.receiver.clocks.of(s.ctx, name)
			s.reading = s.clock.latest.Load()
		}
		if !ok {
			untimed++
			continue
		}
		d := between(sent, micros)
		if s.reading == nil {
			if s.clock.await(d) {
				continue
			}
			s.reading = s.clock.latest.Load()
		}
		if !s.reading.ok {
			untimed++
			continue
		}
		if d += s.reading.offset; d < 0 {
			early++
		}
		due = due || s.clock.due
		s.took = append(s.took, took{d, 1})
	}
	s.receiver.cfg.Progress.receiveLatency.record(s.took)
	s.took = s.took[:0]
	s.receiver.stamped.note(untimed, early, due, s.clock)
	return false
}

// waited records messages that have waited for their clock to be read. Without an answer nobody
// knows how long they took.
func (rec *receiver) waited(clock *senderClock, messages []took) {
	r := clock.latest.Load()
	if !r.ok {
		rec.stamped.note(uint64(len(messages)), 0, false, clock)
		return
	}
	var early uint64
	for i := range messages {
		m := &messages[i]
		if m.d += r.offset; m.d < 0 {
			early++
		}
	}
	for some := range slices.Chunk(messages, 1000) { // consumers record theirs meanwhile
		rec.cfg.Progress.receiveLatency.record(some)
	}
	rec.stamped.note(0, early, clock.due, clock)
}

// between is the time between two moments in microseconds since 1970, the first of which
// somebody else has written: no more than a day each way, which is all that a histogram keeps.
func between(sent, came int64) time.Duration {
	const day = int64(24 * time.Hour / time.Microsecond)
	return time.Duration(came-min(max(sent, came-day), came+day)) * time.Microsecond
}

func (s *stamped) note(untimed, early uint64, due bool, clock *senderClock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.untimed += untimed
	s.early += early
	s.due = s.due || due
	if clock == nil || clock.own {
		return
	}
	if r := clock.latest.Load(); r != nil && r.ok && (s.clock == nil || r.uncertainty > s.clock.latest.Load().uncertainty) {
		s.clock = clock
	}
}

// recordLatency writes what the messages said to r. It waits for clocks that are being read: that
// takes no longer than clockTimeout.
func (rec *receiver) recordLatency(r *result.Run) {
	rec.clocks.all.Wait()
	s := &rec.stamped
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Untimed = &s.untimed
	l := rec.cfg.Progress.receiveLatency.latency(s.due)
	if r.ReceiveLatency = l; l == nil {
		return
	}
	l.Early = s.early
	if s.clock != nil {
		latest := s.clock.latest.Load()
		l.ClockOffsetSeconds, l.ClockUncertaintySeconds = seconds(latest.offset), seconds(latest.uncertainty)
		if drift, ok := s.clock.drift(); ok {
			l.ClockDriftSeconds = seconds(drift)
		}
	}
}
