package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

const (
	// historyMost is how many samples the widest sparkline has.
	historyMost = 120
	// Widths in characters of the columns of a live view.
	liveName   = 9
	liveNumber = 11
	// plainSpark is for terminals that may not have blockSpark.
	blockSpark = "▁▂▃▄▅▆▇█"
	plainSpark = "_.-~=+*#"
)

// live is what a terminal shows of the samples of a run, below its bars: rates and depth as
// sparklines of the last minutes, latencies, and what both sides use.
type live struct {
	levels   []rune
	sent     []float64 // messages a second, in each of the last intervals
	received []float64
	depth    []float64
	last     *result.Sample // nil as long as there is none

	// The latencies of the last interval that had some: a view whose height changes is restless.
	confirm, receive *result.Percentiles
}

func newLive() *live { return &live{levels: []rune(sparkLevels(os.Getenv))} }

// sparkLevels are the characters for sparklines, from the lowest, which the locale has.
func sparkLevels(env func(string) string) string {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := env(name); locale != "" {
			if folded := strings.ToLower(strings.ReplaceAll(locale, "-", "")); strings.Contains(folded, "utf8") {
				return blockSpark
			}
			return plainSpark
		}
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		return blockSpark
	}
	return plainSpark
}

// add takes a sample, unless it has it already.
func (l *live) add(s *result.Sample) {
	if s == nil || l.last != nil && l.last.Seconds == s.Seconds {
		return
	}
	before := &result.Sample{}
	if l.last != nil {
		before = l.last
	}
	l.last = s
	if s.ConfirmLatency != nil {
		l.confirm = s.ConfirmLatency
	}
	if s.ReceiveLatency != nil {
		l.receive = s.ReceiveLatency
	}
	elapsed := s.Seconds - before.Seconds
	if elapsed < 0.5 { // the last one of a run may be too short for a rate
		return
	}
	l.sent = latest(l.sent, float64(s.Sent-min(s.Sent, before.Sent))/elapsed)
	l.received = latest(l.received, float64(s.Received-min(s.Received, before.Received))/elapsed)
	depth := math.NaN()
	if s.Broker != nil && s.Broker.Ready != nil {
		depth = float64(*s.Broker.Ready)
	}
	l.depth = latest(l.depth, depth)
}

// latest adds a value to the latest ones.
func latest(values []float64, value float64) []float64 {
	values = append(values, value)
	return values[max(0, len(values)-historyMost):]
}

// lines are the lines of the view, each of at most width characters. sends and receives say
// which sides the command has.
func (l *live) lines(width int, sends, receives bool) []string {
	if l.last == nil {
		return nil
	}
	var lines []string
	add := func(name string, values []float64) {
		if line := l.spark(name, values, width); line != "" {
			lines = append(lines, line)
		}
	}
	if sends {
		add("sent/s", l.sent)
	}
	if receives {
		add("recv/s", l.received)
	}
	add("waiting", l.depth)
	for _, parts := range [][]string{latencyParts("confirm", l.confirm), latencyParts("receive", l.receive), usageParts(l.last)} {
		if len(parts) > 1 {
			lines = append(lines, fitted(parts, width))
		}
	}
	return lines
}

// fitted is a line of a name and what fits of the parts after it.
func fitted(parts []string, width int) string {
	line := fmt.Sprintf("%-*s", liveName, parts[0])
	for i, part := range parts[1:] {
		if i > 0 {
			part = "  " + part
		}
		if utf8.RuneCountInString(line+part) >= width {
			break
		}
		line += part
	}
	return clipped(strings.TrimRight(line, " "), width)
}

// spark is a line with a sparkline: its name, the latest value, and those before it, from nothing
// to the largest. A value that is not known is a blank. It is "" where none is known.
func (l *live) spark(name string, values []float64, width int) string {
	values = values[max(0, len(values)-max(0, width-1-liveName-liveNumber-1)):]
	most, known := 0.0, false
	for _, v := range values {
		if !math.IsNaN(v) {
			most, known = max(most, v), true
		}
	}
	if !known {
		return ""
	}
	number := "?"
	if v := values[len(values)-1]; !math.IsNaN(v) {
		number = grouped(v)
	}
	var line strings.Builder
	fmt.Fprintf(&line, "%-*s%*s ", liveName, name, liveNumber, number)
	for _, v := range values {
		switch {
		case math.IsNaN(v):
			line.WriteByte(' ')
		case most == 0:
			line.WriteRune(l.levels[0])
		default:
			top := float64(len(l.levels) - 1)
			line.WriteRune(l.levels[int(math.Round(v/most*top))])
		}
	}
	return clipped(line.String(), width)
}

// latencyParts are the percentiles of a second; none where there are none.
func latencyParts(name string, p *result.Percentiles) []string {
	if p == nil {
		return nil
	}
	return []string{name, "p50 " + brief(p.P50), "p99 " + brief(p.P99), "max " + brief(p.Max)}
}

// usageParts are what both sides use; what is not known is left out.
func usageParts(s *result.Sample) []string {
	parts := []string{"uses"}
	add := func(name string, cpu *float64, memory *uint64) {
		if cpu != nil {
			name += fmt.Sprintf(" %.1f CPU", *cpu)
		}
		if memory != nil {
			name += fmt.Sprintf(" %.0f MB", float64(*memory)/1e6)
		}
		if cpu != nil || memory != nil {
			parts = append(parts, name)
		}
	}
	add("thump", s.Client.CPU, s.Client.MemoryBytes)
	b := s.Broker
	if b == nil {
		return parts
	}
	add("broker", b.CPU, b.MemoryBytes)
	if n := result.Value(b.Flow); n > 0 {
		parts = append(parts, fmt.Sprintf("%d in flow", n))
	}
	if len(b.Alarms) > 0 {
		parts = append(parts, "alarm: "+strings.Join(b.Alarms, ", "))
	}
	return parts
}

// brief writes a latency with two or three digits: "85 ms", "1.2 ms", "420 µs".
func brief(seconds float64) string {
	switch d := time.Duration(seconds * float64(time.Second)); {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	default:
		return fmt.Sprintf("%.0f us", d.Seconds()*1e6)
	}
}

// grouped writes a number, rounded, with commas: 1,000,000.
func grouped(x float64) string {
	text := fmt.Sprintf("%.0f", x)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// clipped is what of a line fits width. The last column stays empty: a full line makes
// some terminals begin another.
func clipped(line string, width int) string {
	if utf8.RuneCountInString(line) < width {
		return line
	}
	return fmt.Sprintf("%.*s", max(width-1, 0), line)
}
