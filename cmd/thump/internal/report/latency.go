package report

import (
	"fmt"
	"math"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// confirmed says how long it took from publish to confirm; nothing where that is not known.
func confirmed(r *result.Run) []string {
	return latency("From publish to confirm", r.ConfirmLatency)
}

// received says how long it took from publish to receive; nothing where that is not known.
func received(r *result.Run) []string {
	l := r.ReceiveLatency
	lines := latency("From publish to receive", l)
	if lines != nil && l.ClockUncertaintySeconds != nil {
		text := fmt.Sprintf("The clocks of sender and receiver are %s apart, which is subtracted, and known to within %s",
			took(math.Abs(result.Value(l.ClockOffsetSeconds))), took(*l.ClockUncertaintySeconds))
		if l.ClockDriftSeconds != nil {
			text += fmt.Sprintf("; while messages came that changed by %s, and what was subtracted with it", took(math.Abs(*l.ClockDriftSeconds)))
		}
		if l.Early > 0 {
			text += fmt.Sprintf("; by that %s before they were sent", messages(l.Early)+" came")
		}
		lines = append(lines, text+".")
	}
	if n := result.Value(r.Untimed); n > 0 {
		lines = append(lines, fmt.Sprintf("Without a latency: %s that did not say when they were sent, or by a clock that nobody answered for (both commands need --latency, at the same time).", messages(n)))
	}
	return lines
}

// Latency returns what is known of how long a command's messages took, a line for each thing;
// nothing where nothing is.
func Latency(r *result.Run) []string {
	r = shown(r)
	lines := append(append(schedule(r), confirmed(r)...), received(r)...)
	for i := range lines {
		lines[i] = spaces(lines[i])
	}
	return lines
}

func latency(what string, l *result.Latency) []string {
	if l == nil {
		return nil
	}
	return []string{fmt.Sprintf("%s: half within %s, 99"+unit+"%% within %s, 99.9"+unit+"%% within %s, 99.99"+unit+"%% within %s, the slowest %s.",
		what, took(l.P50), took(l.P99), took(l.P999), took(l.P9999), took(l.Max))}
}

// took writes a latency with three digits, like "85.2 ms".
func took(seconds float64) string {
	value, name := seconds*1e6, "µs"
	switch {
	case seconds >= 1:
		value, name = seconds, "s"
	case seconds >= 1e-3:
		value, name = seconds*1e3, "ms"
	}
	digits := 2
	switch {
	case name == "µs" || value >= 100:
		digits = 0
	case value >= 10:
		digits = 1
	}
	return fmt.Sprintf("%.*f"+unit+"%s", digits, value, name)
}

// schedule says how the rate was kept that was asked for; nothing where none was.
func schedule(r *result.Run) []string {
	s := &r.Settings
	if s.Rate == "" || r.LateSeconds == nil {
		return nil
	}
	text := fmt.Sprintf("Asked for: %s. No message was more than %s late", pacing(s), took(*r.LateSeconds))
	if r.ConfirmLatency != nil && r.ConfirmLatency.FromIntended {
		text += "; latencies count from when each was due"
	}
	lines := []string{text + "."}
	if n := result.Value(r.NotSent); n > 0 {
		lines = append(lines, fmt.Sprintf("The rate was more than was possible: %s that were due had not been sent when the time was over.", messages(n)))
	}
	return lines
}

// pacing says what rate was asked for, and for how long; "" for none.
func pacing(s *result.Settings) string {
	var text string
	if s.Rate != "" {
		text = s.Rate + " messages a second"
		if s.Arrivals == "poisson" {
			text += ", at random"
		}
	}
	add := func(more string, seconds float64) {
		if seconds == 0 {
			return
		}
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf(more, time.Duration(seconds*float64(time.Second)))
	}
	add("for %v", s.DurationSeconds)
	add("the first %v left out of rates and latencies", s.WarmUpSeconds)
	return text
}
