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
	counts = append(counts, known(r.Received)+" received", known(r.Lost)+" lost", known(r.Duplicated)+" duplicated")
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

func producer(r *result.Result) []string {
	done, rate := "sent and confirmed", r.Confirmed
	if !r.Settings.Confirms {
		done, rate = "sent", r.Sent
	}
	lines := []string{throughput(rate, done, r.SendSeconds, r.SendRatePerSecond)}
	if bad := result.Value(r.Rejected) + result.Value(r.Returned) + result.Value(r.Unknown); bad > 0 {
		lines = append(lines, fmt.Sprintf("Not confirmed: %s rejected, %s returned, %s unknown.",
			known(r.Rejected), known(r.Returned), known(r.Unknown)))
	}
	return append(lines, beside("sent", tutorialSendSeconds, "without confirms", r.SendRatePerSecond))
}

func consumer(r *result.Result) []string {
	done := "received, checked and acked"
	if r.Settings.AutoAck {
		done = "received and checked, with automatic acks,"
	}
	return []string{
		throughput(r.Received, done, r.ReceiveSeconds, r.ReceiveRatePerSecond),
		beside("received", tutorialReceiveSeconds, "with automatic acks", r.ReceiveRatePerSecond),
	}
}

func throughput(count *uint64, done string, seconds, rate *float64) string {
	if result.Value(count) == 0 {
		return "No message was " + strings.TrimSuffix(done, ",") + "."
	}
	if rate == nil {
		return fmt.Sprintf("%s %s, too few to time.", messages(*count), done)
	}
	return fmt.Sprintf("%s %s in %s: %s a second.", messages(*count), done, duration(*seconds), whole(*rate))
}

// beside puts the tutorial's figure next to the run's. The two come from
// different machines, so the sentence says whose each is.
func beside(done string, seconds float64, how string, rate *float64) string {
	tutorialRate := tutorialMessages / seconds
	text := fmt.Sprintf("The tutorial, on its own machine, %s %s messages %s in %s: %s a second.",
		done, whole(tutorialMessages), how, duration(seconds), whole(tutorialRate))
	if rate == nil {
		return text
	}
	return text + fmt.Sprintf(" This run's rate is %s times that.", times(*rate/tutorialRate))
}

func asynchronous(r *result.Result) []string {
	if r.BacklogAtSendEnd == nil || r.SendSeconds == nil || result.Value(r.Received) == 0 {
		return []string{"This run did not get far enough to tell."}
	}
	backlog := *r.BacklogAtSendEnd
	if r.Settings.Sequential {
		return []string{fmt.Sprintf("All %s were in the queue before the first was received: the producer "+
			"needed no consumer, and had left when the consumer began.", messages(backlog))}
	}
	sent := result.Value(r.Sent)
	tail := max(0, result.Value(r.TotalSeconds)-*r.SendSeconds)
	text := fmt.Sprintf("When the last message was sent, %s were waiting in the queue (%s)", messages(backlog), percent(backlog, sent))
	if result.Value(r.Received) < sent {
		return []string{text + "; the run ended before all were received."}
	}
	text += fmt.Sprintf(", and the consumer was done %s later.", duration(tail))
	if backlog*100 < sent {
		return []string{text + " The two worked at the same time and at the same pace; --sequential shows the queue holding everything."}
	}
	return []string{text + " The queue held what the consumer had not got to yet, and the producer did not wait for it."}
}

func scalability(r *result.Result) []string {
	s := r.Settings
	text := fmt.Sprintf("%s and %s moved %s through one queue",
		plural(uint64(s.Publishers), "publisher"), plural(uint64(s.Consumers), "consumer"), messages(result.Value(r.Unique)))
	if total := result.Value(r.TotalSeconds); total > 0 {
		text += fmt.Sprintf(" in %s: %s a second from end to end", duration(total), whole(float64(result.Value(r.Unique))/total))
	}
	lines := []string{text + "."}
	cpu := "Processor time: thump " + processor(r.ClientCPUSeconds, r) + ", RabbitMQ " + processor(r.BrokerCPUSeconds, r) + "."
	lines = append(lines, cpu)
	if r.ClientRSSPeakBytes != nil {
		lines = append(lines, fmt.Sprintf("thump's memory at its peak: %.0f"+unit+"MB.", float64(*r.ClientRSSPeakBytes)/1e6))
	}
	return append(lines, "More queues or more nodes were not part of this run.")
}

// processor says how much CPU time one side took, how many cores that kept
// busy, and what it comes to for a message.
func processor(seconds *float64, r *result.Result) string {
	if seconds == nil {
		return "not visible from here"
	}
	text := duration(*seconds)
	var more []string
	// The start of a process is in its time too: with a few messages it is all
	// there is.
	if n := max(result.Value(r.Sent), result.Value(r.Received)); n >= 1000 {
		more = append(more, fmt.Sprintf("%.1f"+unit+"µs a message", *seconds*1e6/float64(n)))
	}
	if total := result.Value(r.TotalSeconds); total > 0 {
		more = append(more, fmt.Sprintf("%.1f"+unit+"cores", *seconds/total))
	}
	if len(more) == 0 {
		return text
	}
	return text + " (" + strings.Join(more, ", ") + ")"
}

func reliability(r *result.Result) []string {
	basis := "confirmed"
	expected := r.Confirmed
	if !r.Settings.Confirms {
		basis, expected = "sent", r.Sent
	}
	lines := []string{fmt.Sprintf("Of %s %s, %s came back, each body checked: %s lost, %s duplicated, %s corrupted, %s unexpected, %s out of order.",
		messages(result.Value(expected)), basis, known(r.Unique), known(r.Lost), known(r.Duplicated), known(r.Corrupted), known(r.Unexpected), known(r.Reordered))}
	if r.Lost == nil {
		lines = append(lines, "The run ended before it could tell lost messages from those that are still in the queue.")
	}
	if len(r.LostMessages) > 0 {
		lines = append(lines, "Lost: "+strings.Join(r.LostMessages, ", ")+".")
	}
	if left := result.Value(r.LeftInQueue); left > 0 {
		lines = append(lines, fmt.Sprintf("%s were left in the queue.", messages(left)))
	}
	return append(lines, Guarantee(r)...)
}
