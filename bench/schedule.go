package main

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// In the scenarios with a rate, message i is due at a time that is fixed before anything is
// sent, and its latency counts from there: what waits because the sender, the client or
// the broker is late counts as late. A schedule that begins when the last message was
// handed over would hide that.

// schedule is when messages 1 to count are due.
type schedule struct {
	start       time.Time
	rate, count int
}

func newSchedule(t task) *schedule {
	return &schedule{start: time.Now(), rate: t.Rate, count: t.Count}
}

// due is when message i is due, in nanoseconds since 1970 by the machine's clock, which
// all processes share.
func (s *schedule) due(i int) int64 { return s.start.UnixNano() + int64(s.after(i)) }

// after is how long after the start message i is due.
func (s *schedule) after(i int) time.Duration {
	return time.Duration(int64(i-1) * int64(time.Second) / int64(s.rate))
}

// wait waits until a message after number sent is due, and returns the number of the last
// one that is.
func (s *schedule) wait(sent int) int {
	for {
		elapsed := time.Since(s.start)
		if ahead := s.after(sent+1) - elapsed; ahead > 0 {
			// Whoever waits in Go lets the program's other goroutines have the processor; pause
			// alone would keep it from them for a while.
			runtime.Gosched()
			pause(s.after(sent+1) - time.Since(s.start))
			continue
		}
		last := 1 + int(int64(elapsed)*int64(s.rate)/int64(time.Second))
		return min(max(last, sent+1), s.count)
	}
}

// timedBytes is the size of a body that says when it was due, and its number.
const timedBytes = 16

func putTimed(body []byte, due int64, number int) {
	binary.BigEndian.PutUint64(body, uint64(due))
	binary.BigEndian.PutUint64(body[8:], uint64(number))
}

const (
	// latencyWarmSeconds is how long messages are sent before they count.
	latencyWarmSeconds = 2

	latencyMost   = 10 * time.Minute
	latencyDigits = 3
)

// latencies is every latency of some messages but for the first ones, warm, which are not
// counted. It is for one goroutine at a time.
type latencies struct {
	warm      int
	histogram *hdrhistogram.Histogram // microseconds
	fault     error
}

func newLatencies(warm int) *latencies {
	return &latencies{warm: warm, histogram: hdrhistogram.New(1, latencyMost.Microseconds(), latencyDigits)}
}

// add notes that message number, which was due at a time, was seen at another.
func (l *latencies) add(number int, due, at int64) {
	if number <= l.warm || l.fault != nil {
		return
	}
	if at < due {
		l.fault = fmt.Errorf("message %d was seen %v before it was due: the clock was set", number, time.Duration(due-at))
		return
	}
	if err := l.histogram.RecordValue((at - due) / 1000); err != nil {
		l.fault = fmt.Errorf("the latency of message %d: %w", number, err)
	}
}

// summary is what a process says of its latencies.
func (l *latencies) summary() *latency {
	at := func(percentile float64) float64 { return float64(l.histogram.ValueAtQuantile(percentile)) }
	return &latency{
		Count: l.histogram.TotalCount(),
		P50:   at(50), P99: at(99), P999: at(99.9), Most: float64(l.histogram.Max()),
	}
}

// latency is how long it took, in microseconds.
type latency struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_us"`
	P99   float64 `json:"p99_us"`
	P999  float64 `json:"p99_9_us"`
	Most  float64 `json:"max_us"`
}

// timings is what a sample knows of latency; what is nil is not known.
type timings struct {
	Receive *latency `json:"receive,omitempty"` // from when a message was due until the consumer had it
	Confirm *latency `json:"confirm,omitempty"` // from when it was due until it was confirmed
	Late    *latency `json:"late,omitempty"`    // from when it was due until it was handed to the client
}

// arrivals expects timed bodies in order.
type arrivals struct {
	*latencies
	count int
}

// add takes a delivery that was received at a time.
func (a *arrivals) add(body []byte, at int64) error {
	if len(body) != timedBytes {
		return fmt.Errorf("delivery %d has %d bytes, expected %d", a.count+1, len(body), timedBytes)
	}
	a.count++
	if number := binary.BigEndian.Uint64(body[8:]); number != uint64(a.count) {
		return fmt.Errorf("delivery %d is message %d", a.count, number)
	}
	a.latencies.add(a.count, int64(binary.BigEndian.Uint64(body)), at)
	return a.fault
}

// timings are what the receiver reports.
func (a *arrivals) timings() *timings { return &timings{Receive: a.summary()} }

// departures is what a sender knows of its messages.
type departures struct {
	*schedule
	late     *latencies
	confirms *latencies // another goroutine's, until everything is confirmed
}

func newDepartures(t task) *departures {
	return &departures{schedule: newSchedule(t), late: newLatencies(t.Warm), confirms: newLatencies(t.Warm)}
}

// next waits for the next messages, at most that many, and returns the number of the last.
func (d *departures) next(sent, most int) int {
	last := min(d.wait(sent), sent+most)
	now := time.Now().UnixNano()
	for i := sent + 1; i <= last; i++ {
		d.late.add(i, d.due(i), now)
	}
	return last
}

// confirmed notes that message i was confirmed at a time.
func (d *departures) confirmed(i int, at int64) { d.confirms.add(i, d.due(i), at) }

// err is what went wrong with the measuring, once everything is confirmed.
func (d *departures) err() error {
	if d.late.fault != nil {
		return d.late.fault
	}
	return d.confirms.fault
}

func (d *departures) timings() *timings {
	return &timings{Confirm: d.confirms.summary(), Late: d.late.summary()}
}
