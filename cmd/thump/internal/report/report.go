// Package report says in words what a run showed. Its functions are pure: the same
// record gives the same text, on any machine and at any time.
package report

import (
	"fmt"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// What the tutorial measured: a Python producer, and after it a Python consumer,
// through the queue hello, without confirms and with automatic acks.
const (
	tutorialMessages       = 1_000_000
	tutorialSendSeconds    = 27.96
	tutorialReceiveSeconds = 250.67
)

// Finding is one of the five findings: a title, and sentences. A no-break space stands between
// a number and its unit.
type Finding struct {
	Title string
	Lines []string
}

// Findings are the tutorial's five findings as the run measured them.
func Findings(r *result.Run) []Finding {
	r = shown(r)
	p := placeOf(r)
	return []Finding{
		{"Producer performance", producer(r)},
		{"Consumer performance", consumer(r, &p)},
		{"Asynchronous nature", asynchronous(r, &p)},
		{"Scalability", scalability(r, &p)},
		{"Reliability", reliability(r, &p)},
	}
}

// Text returns "Results and analysis" of a run: the tutorial's five findings as this
// run measured them, with the tutorial's own figures beside them. The last line is
// the verdict.
func Text(r *result.Run) string {
	r = shown(r)
	var b strings.Builder
	b.WriteString("Results and analysis\n")
	for i, f := range Findings(r) {
		fmt.Fprintf(&b, "\n%d. %s\n", i+1, f.Title)
		for _, line := range f.Lines {
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

// Verdict returns the verdict of a run and the counts that it rests on, and which outages
// it has survived, in one line.
func Verdict(r *result.Run) string {
	r = shown(r)
	counts := []string{known(r.Sent) + " sent"}
	if r.Settings.Confirms {
		counts = append(counts, known(r.Confirmed)+" confirmed")
	}
	add := func(count *uint64, name string) {
		if result.Value(count) > 0 {
			counts = append(counts, known(count)+" "+name)
		}
	}
	add(r.Rejected, "rejected")
	add(r.Returned, "returned")
	add(r.Unknown, "unknown")
	counts = append(counts, known(r.Received)+" received"+placeOf(r).by)
	add(r.Expired, "expired")
	counts = append(counts, known(r.Lost)+" lost", known(r.Duplicated)+" duplicated"+explained(r))
	add(r.Corrupted, "corrupted")
	add(r.Unexpected, "unexpected")
	return string(r.Verdict) + ": " + strings.Join(counts, ", ") + outagesOf(r)
}

// explained says of how many duplicates the reason is known; "" of none.
func explained(r *result.Run) string {
	switch unexplained := result.Value(r.Unexplained()); unexplained {
	case result.Value(r.Duplicated):
		return ""
	case 0:
		return " (explained)"
	default:
		return fmt.Sprintf(" (%s not explained)", whole(float64(unexplained)))
	}
}

// outagesOf says how many outages the run had; "" if none.
func outagesOf(r *result.Run) string {
	outages := result.Value(r.Outages)
	if outages == 0 {
		return ""
	}
	longest := spaces(duration(result.Value(r.LongestOutageSeconds)))
	switch {
	case r.AwayAtEnd && outages == 1:
		return "; ended in an outage of " + longest
	case r.AwayAtEnd:
		return fmt.Sprintf("; ended in the last of %s outages of up to %s", known(r.Outages), longest)
	case outages == 1:
		return "; survived an outage of " + longest
	default:
		return fmt.Sprintf("; survived %s outages of up to %s", known(r.Outages), longest)
	}
}
