package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// columns are the heads of a scenario's table.
func columns(s scenario) []string {
	heads := []string{
		"peer", "messages", "msg/s", "least - most", "thump is",
		"send", "receive", "client", "broker", "sum", "thump uses", "RSS MB",
	}
	switch {
	case s.Rate > 0:
		return latencyColumns()
	case s.Stub:
		heads[slices.Index(heads, "broker")] = stubTitle
		return append(heads, "per core")
	}
	return heads
}

// writeTable prints a run for people: a table per scenario, a line per peer.
func writeTable(out io.Writer, r *record) error {
	var b strings.Builder
	place := "with a stub in RabbitMQ's place"
	if slices.ContainsFunc(r.scenarios, needsBroker) {
		place = "on one RabbitMQ " + r.Broker.Version
	}
	fmt.Fprintf(&b, "thump beside its peers %s, %d rounds in turn; medians. Window %d, prefetch %d.",
		place, r.Settings.Rounds, r.Settings.Window, r.Settings.Prefetch)
	if slices.ContainsFunc(r.scenarios, streams) {
		fmt.Fprintf(&b, " Of streams: window %d, %d messages in a sub-entry batch.", r.Settings.StreamWindow, r.Settings.SubEntry)
	}
	b.WriteString("\n")
	b.WriteString("send, receive, client (both), broker, sum (client and broker): CPU µs per message. \"thump is\": thump's rate over the peer's. " +
		"\"thump uses\": its client CPU over the peer's.\n")
	if slices.ContainsFunc(r.scenarios, func(s scenario) bool { return s.Stub }) {
		b.WriteString("stub: its CPU, where it is in the broker's place. per core: messages that a second of client CPU moves.\n")
	}
	for _, p := range r.Peers {
		if p.Name == baselineTitle {
			fmt.Fprintf(&b, "baseline: %s. thump and thump-again: this build, %s.\n", p.Version, r.Machine.GoVersion)
		}
	}
	for _, s := range r.scenarios {
		fmt.Fprintf(&b, "\n%s: %s\n", s.Name, s.Title)
		if s.Rate > 0 {
			writeLatencyLegend(&b, r.Settings.LatencySeconds)
		}
		rows := [][]string{columns(s)}
		for _, c := range r.Cells {
			if c.Scenario == s.Name {
				rows = append(rows, row(s, c))
			}
		}
		writeRows(&b, rows)
		for _, c := range r.Comparisons {
			if c.Scenario == s.Name {
				writeComparison(&b, &c)
			}
		}
		writeSpent(&b, s, r.Causes)
		for _, c := range r.Checking {
			if c.Scenario == s.Name {
				fmt.Fprintf(&b, "  The check of every body takes %.0f %% of thump's rate, and %s of its %s µs a message (%.0f %%).\n",
					100*c.RateShare, micros(c.CPUMicros), micros(ratio(c.CPUMicros, c.CPUShare)), 100*c.CPUShare)
			}
		}
	}
	b.WriteString("\n")
	for _, p := range r.Peers {
		if p.Missing != "" {
			fmt.Fprintf(&b, "MISSING %s: %s\n", p.Name, p.Missing)
		}
	}
	for _, c := range r.Cells {
		if c.Error != "" {
			fmt.Fprintf(&b, "FAILED %s in %q: %s\n", c.Peer, c.Scenario, c.Error)
		}
		for _, s := range c.Rounds {
			if s.BackInQueue > 0 {
				fmt.Fprintf(&b, "BACK IN THE QUEUE after %s in %q: %d messages of %d that it had received and acked\n",
					c.Peer, c.Scenario, s.BackInQueue, s.Count)
			}
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func row(in scenario, c *cell) []string {
	s := c.Summary
	switch {
	case len(c.Rounds) == 0:
		return []string{c.Peer, thousands(float64(c.Count)), "failed"}
	case in.Rate > 0:
		return latencyRow(c)
	}
	cells := []string{
		c.Peer,
		thousands(float64(c.Count)),
		thousands(s.RatePerSecond),
		thousands(s.RatePerSecondLeast) + " - " + thousands(s.RatePerSecondMost),
		orDash(s.ThumpRateRatio, "%.2fx"),
		micros(s.SendCPUMicros),
		micros(s.ReceiveCPUMicros),
		micros(s.ClientCPUMicros),
		microsOrDash(s.BrokerCPUMicros, 0),
		microsOrDash(s.BrokerCPUMicros, s.ClientCPUMicros),
		orDash(s.ThumpCPURatio, "%.2fx"),
		orDash(float64(s.RSSBytesPeak)/(1<<20), "%.0f"),
	}
	if in.Stub {
		cells = append(cells, thousands(ratio(1e6, s.ClientCPUMicros)))
	}
	return cells
}

// orDash formats v, or is a dash if v is 0, which means unknown.
func orDash(v float64, format string) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

// microsOrDash formats the broker's CPU time plus another, or is a dash if the
// broker's is unknown.
func microsOrDash(broker *float64, plus float64) string {
	if broker == nil {
		return "-"
	}
	return micros(*broker + plus)
}

// micros formats µs per message: a dash for 0, and more digits below 0.1, which
// messages of a stream cost.
func micros(v float64) string {
	if math.Abs(v) < 0.1 {
		return orDash(v, "%.4f")
	}
	return orDash(v, "%.2f")
}

// thousands rounds v and puts commas in it: 1,234,567.
func thousands(v float64) string {
	digits := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// writeRows aligns columns: the first to the left, the others to the right.
func writeRows(b *strings.Builder, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, text := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len(text))
		}
	}
	for _, row := range rows {
		for i, text := range row {
			padding := strings.Repeat(" ", widths[i]-len(text))
			if i == 0 {
				b.WriteString("  " + text + padding)
			} else {
				b.WriteString("  " + padding + text)
			}
		}
		b.WriteString("\n")
	}
}
