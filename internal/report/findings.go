package report

import (
	"fmt"
	"strings"

	"github.com/thumpmq/thump/internal/result"
)

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
	if text := wire(r); text != "" {
		lines = append(lines, text)
	}
	return append(lines, beside("sent", tutorialSendSeconds, "without confirms", r.SendRatePerSecond))
}

// wire says what the messages to a stream took on the wire.
func wire(r *result.Result) string {
	bytes, sent := result.Value(r.BytesOnWire), result.Value(r.Sent)
	if bytes == 0 || sent == 0 {
		return ""
	}
	text := fmt.Sprintf("They took %s on the wire, %.1f"+unit+"bytes each, in ", size(bytes), float64(bytes)/float64(sent))
	if s := &r.Settings; s.SubEntry == 1 {
		text += "an entry per message"
	} else {
		text += fmt.Sprintf("sub-entry batches of up to %s", whole(float64(s.SubEntry)))
		if s.Compression != "none" {
			text += ", compressed with " + s.Compression + ": AMQP readers cannot read them"
		}
	}
	return text + "."
}

func consumer(r *result.Result) []string {
	done := "received, checked and acked"
	switch s := &r.Settings; {
	case s.Streams() && s.Consumers > 1:
		done = fmt.Sprintf("received and checked, by %d consumers that each read all messages,", s.Consumers)
	case s.Streams():
		done = "received and checked"
	case s.AutoAck:
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
		return fmt.Sprintf("%s %s, too few to time.", messages(*count), strings.TrimSuffix(done, ","))
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
	s := &r.Settings
	if r.BacklogAtSendEnd == nil || r.SendSeconds == nil || result.Value(r.Received) == 0 {
		return []string{"This run did not get far enough to tell."}
	}
	backlog, place := *r.BacklogAtSendEnd, place(s)
	if s.Sequential {
		return []string{fmt.Sprintf("All %s were in the %s before the first was received: the producer "+
			"needed no consumer, and had left when the consumer began.", messages(backlog), place)}
	}
	sent := result.Value(r.Sent)
	tail := max(0, result.Value(r.TotalSeconds)-*r.SendSeconds)
	consumers, were := "consumer", "was"
	if s.Consumers > 1 {
		consumers, were = "consumers", "were"
	}
	text := fmt.Sprintf("When the last message was sent, %s were waiting in the %s (%s)", messages(backlog), place, percent(backlog, sent))
	if s.Streams() {
		average := ""
		if s.Consumers > 1 {
			average = " on average"
		}
		text = fmt.Sprintf("When the last message was sent, the %s had %s still to read (%s%s)", consumers, messages(backlog), percent(backlog, sent), average)
	}
	if result.Value(r.Received) < sent*uint64(readers(s)) {
		return []string{text + "; the run ended before all were received."}
	}
	text += fmt.Sprintf(", and the %s %s done %s later.", consumers, were, duration(tail))
	if backlog*100 < sent {
		return []string{text + fmt.Sprintf(" The two worked at the same time and at the same pace; --sequential shows the %s holding everything.", place)}
	}
	return []string{text + fmt.Sprintf(" The %s held what the %s had not got to yet, and the producer did not wait for it.", place, consumers)}
}

// readers is how often each message is received: a stream's consumers all read
// all of them.
func readers(s *result.Settings) int {
	if s.Streams() {
		return max(1, s.Consumers)
	}
	return 1
}

func scalability(r *result.Result) []string {
	s := &r.Settings
	through, more := "one "+place(s), "More queues or more nodes"
	switch s.Kind {
	case "stream":
		more = "More streams or more nodes"
	case "super-stream":
		through, more = fmt.Sprintf("a super stream of %s", plural(uint64(s.Partitions), "partition")), "More nodes"
	}
	moved := result.Value(r.Unique) / uint64(readers(s))
	consumers := plural(uint64(s.Consumers), "consumer")
	if readers(s) > 1 {
		consumers += ", each of whom read all,"
	}
	text := fmt.Sprintf("%s and %s moved %s through %s", plural(uint64(s.Publishers), "publisher"), consumers, messages(moved), through)
	if total := result.Value(r.TotalSeconds); total > 0 {
		text += fmt.Sprintf(" in %s: %s a second from end to end", duration(total), whole(float64(moved)/total))
	}
	lines := []string{text + "."}
	cpu := "Processor time: thump " + processor(r.ClientCPUSeconds, r) + ", RabbitMQ " + processor(r.BrokerCPUSeconds, r) + "."
	lines = append(lines, cpu)
	if r.ClientRSSPeakBytes != nil {
		lines = append(lines, fmt.Sprintf("thump's memory at its peak: %.0f"+unit+"MB.", float64(*r.ClientRSSPeakBytes)/1e6))
	}
	return append(lines, more+" were not part of this run.")
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
		more = append(more, brief(*seconds/float64(n))+" a message")
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
	s := &r.Settings
	basis, expected := "confirmed", r.Confirmed
	if !s.Confirms {
		basis, expected = "sent", r.Sent
	}
	whole := messages(result.Value(expected)) + " " + basis
	if n := readers(s); n > 1 {
		whole += fmt.Sprintf(", for each of %d consumers to get,", n)
	} else {
		whole += ","
	}
	order := "out of order"
	if s.Kind == "super-stream" {
		order += " (within a partition)"
	}
	lines := []string{fmt.Sprintf("Of %s %s came back, each body checked: %s lost, %s duplicated, %s corrupted, %s unexpected, %s %s.",
		whole, known(r.Unique), known(r.Lost), known(r.Duplicated), known(r.Corrupted), known(r.Unexpected), known(r.Reordered), order)}
	if r.Lost == nil && s.Streams() {
		lines = append(lines, "The run ended before it could tell lost messages from those that it had not read yet.")
	} else if r.Lost == nil {
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
