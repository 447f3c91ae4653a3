// Package report says what a run showed, in words for people. Its functions are
// pure: the same result gives the same text, on any machine and at any time.
package report

import (
	"fmt"
	"strings"

	"github.com/thumpmq/thump/internal/result"
)

// What the tutorial measured: a Python producer, and then a Python consumer,
// through the queue hello, without confirms and with automatic acks.
const (
	tutorialMessages       = 1_000_000
	tutorialSendSeconds    = 27.96
	tutorialReceiveSeconds = 250.67
)

// Text returns "Results and analysis" of a run: the tutorial's five findings as
// this run measured them, with the tutorial's own figures beside them, and the
// verdict in the last line.
func Text(r *result.Result) string {
	var b strings.Builder
	b.WriteString("Results and analysis\n")
	findings := []struct {
		title string
		lines []string
	}{
		{"Producer performance", producer(r)},
		{"Consumer performance", consumer(r)},
		{"Asynchronous nature", asynchronous(r)},
		{"Scalability", scalability(r)},
		{"Reliability", reliability(r)},
	}
	for i, f := range findings {
		fmt.Fprintf(&b, "\n%d. %s\n", i+1, f.title)
		for _, line := range f.lines {
			b.WriteString(wrap(line, "   "))
		}
	}
	b.WriteByte('\n')
	if r.Verdict == result.Failed && r.Reason != nil {
		b.WriteString(wrap("The run failed: "+*r.Reason+".", ""))
	}
	b.WriteString(Verdict(r) + "\n")
	return b.String()
}

// Verdict returns the run's verdict and the counts behind it, in one line.
func Verdict(r *result.Result) string {
	counts := []string{known(r.Sent) + " sent"}
	if r.Settings.Confirms {
		counts = append(counts, known(r.Confirmed)+" confirmed")
	}
	received := known(r.Received) + " received"
	if s := &r.Settings; s.Streams() && s.Consumers > 1 {
		received += fmt.Sprintf(" by %d consumers", s.Consumers)
	}
	counts = append(counts, received, known(r.Lost)+" lost", known(r.Duplicated)+" duplicated")
	for _, c := range []struct {
		count *uint64
		name  string
	}{
		{r.Corrupted, "corrupted"},
		{r.Unexpected, "unexpected"},
	} {
		if result.Value(c.count) > 0 {
			counts = append(counts, known(c.count)+" "+c.name)
		}
	}
	return string(r.Verdict) + ": " + strings.Join(counts, ", ")
}
