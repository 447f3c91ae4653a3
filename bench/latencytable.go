package main

import (
	"fmt"
	"strings"
)

// medianTimings is the medians of every figure over the rounds, or nil where there are none.
func medianTimings(rounds []sample) *timings {
	var receive, confirm, late []*latency
	for _, s := range rounds {
		if s.Timings == nil {
			return nil
		}
		receive = append(receive, s.Timings.Receive)
		confirm = append(confirm, s.Timings.Confirm)
		late = append(late, s.Timings.Late)
	}
	return &timings{Receive: medianLatency(receive), Confirm: medianLatency(confirm), Late: medianLatency(late)}
}

// medianLatency is the medians of every figure, or nil where none is known. Count is of all.
func medianLatency(of []*latency) *latency {
	var out latency
	var p50, p99, p999, most []float64
	for _, l := range of {
		if l == nil {
			continue
		}
		out.Count += l.Count
		p50, p99, p999, most = append(p50, l.P50), append(p99, l.P99), append(p999, l.P999), append(most, l.Most)
	}
	if len(p50) == 0 {
		return nil
	}
	out.P50, out.P99, out.P999, out.Most = median(p50), median(p99), median(p999), median(most)
	return &out
}

// receiveP99 is 0 where it is not known.
func (s *summary) receiveP99() float64 {
	if s.Timings == nil || s.Timings.Receive == nil {
		return 0
	}
	return s.Timings.Receive.P99
}

// writeLatencyLegend says what the columns of a scenario with a rate are.
func writeLatencyLegend(b *strings.Builder, seconds int) {
	fmt.Fprintf(b, "Milliseconds from when a message was due, over %d s of each round: until it was received; until it was confirmed; "+
		"\"late\": until it was handed to the client. \"thump is\": thump's p99 until received over the peer's.\n", seconds)
}

func latencyColumns() []string {
	return []string{
		"peer", "messages", "msg/s", "p50", "p99", "p99.9", "max", "thump is",
		"confirm p50", "p99", "p99.9", "late p99", "client", "broker",
	}
}

func latencyRow(c *cell) []string {
	s := c.Summary
	receive, confirm, late := orNone(s.Timings.Receive), orNone(s.Timings.Confirm), orNone(s.Timings.Late)
	return []string{
		c.Peer, thousands(float64(c.Count)), thousands(s.RatePerSecond),
		millis(receive.P50), millis(receive.P99), millis(receive.P999), millis(receive.Most),
		orDash(s.ThumpP99Ratio, "%.2fx"),
		millis(confirm.P50), millis(confirm.P99), millis(confirm.P999), millis(late.P99),
		micros(s.ClientCPUMicros), microsOrDash(s.BrokerCPUMicros, 0),
	}
}

// orNone has zeros where nothing is known.
func orNone(l *latency) *latency {
	if l == nil {
		return &latency{}
	}
	return l
}

// millis formats microseconds as milliseconds: a dash for 0.
func millis(us float64) string { return orDash(us/1000, "%.2f") }
