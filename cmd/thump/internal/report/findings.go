package report

import (
	"fmt"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

func producer(r *result.Run) []string {
	done, rate := "sent and confirmed", r.Confirmed
	if !r.Settings.Confirms {
		done, rate = "sent", r.Sent
	}
	lines := []string{throughput(r, rate, done, r.SendSeconds, r.SendRatePerSecond)}
	lines = append(append(lines, schedule(r)...), confirmed(r)...)
	if bad := result.Value(r.Rejected) + result.Value(r.Returned) + result.Value(r.Unknown); bad > 0 {
		lines = append(lines, fmt.Sprintf("Not confirmed: %s rejected, %s returned, %s unknown.",
			known(r.Rejected), known(r.Returned), known(r.Unknown)))
	}
	if text := wire(r); text != "" {
		lines = append(lines, text)
	}
	return append(lines, beside("sent", tutorialSendSeconds, "without confirms", r.SendRatePerSecond))
}

// wire says how much the messages to a stream took on the wire; "" for a queue.
func wire(r *result.Run) string {
	bytes, sent := result.Value(r.BytesOnWire), result.Value(r.Sent)
	if bytes == 0 || sent == 0 {
		return ""
	}
	s := &r.Settings
	text := fmt.Sprintf("They took %s on the wire, %.1f"+unit+"bytes each, in %s", size(bytes), float64(bytes)/float64(sent), batches(s))
	if s.SubEntry != 1 && s.Compression != "none" {
		text += ", compressed with " + s.Compression + ": AMQP readers cannot read them"
	}
	return text + "."
}

func consumer(r *result.Run, p *place) []string {
	lines := []string{throughput(r, r.Received, p.received, r.ReceiveSeconds, r.ReceiveRatePerSecond)}
	lines = append(append(lines, GivenBack(r)...), received(r)...)
	return append(lines, beside("received", tutorialReceiveSeconds, "with automatic acks", r.ReceiveRatePerSecond))
}

func throughput(r *result.Run, count *uint64, done string, seconds, rate *float64) string {
	warmUp := r.Settings.WarmUpSeconds
	switch {
	case result.Value(count) == 0:
		return "No message was " + strings.TrimSuffix(done, ",") + "."
	case warmUp > 0 && rate == nil && seconds != nil:
		return fmt.Sprintf("%s %s in %s, and none after the warm-up of %s: there is no rate.", messages(*count), done, duration(*seconds), duration(warmUp))
	case warmUp > 0 && rate != nil:
		return fmt.Sprintf("%s %s in %s; after the warm-up of %s %s a second.", messages(*count), done, duration(*seconds), duration(warmUp), whole(*rate))
	case rate == nil:
		return fmt.Sprintf("%s %s, too few to time.", messages(*count), strings.TrimSuffix(done, ","))
	}
	return fmt.Sprintf("%s %s in %s: %s a second.", messages(*count), done, duration(*seconds), whole(*rate))
}

// beside puts the tutorial's figure next to the run's. They come from different
// machines, so the sentence says whose each is.
func beside(done string, seconds float64, how string, rate *float64) string {
	tutorialRate := tutorialMessages / seconds
	text := fmt.Sprintf("The tutorial, on its own machine, %s %s messages %s in %s: %s a second.",
		done, whole(tutorialMessages), how, duration(seconds), whole(tutorialRate))
	if rate == nil {
		return text
	}
	return text + fmt.Sprintf(" This run's rate is %s times that.", times(*rate/tutorialRate))
}

func asynchronous(r *result.Run, p *place) []string {
	s := &r.Settings
	if r.BacklogAtSendEnd == nil || r.SendSeconds == nil || result.Value(r.Received)+result.Value(r.Expired) == 0 {
		return []string{"This run did not get far enough to tell."}
	}
	backlog, sent := *r.BacklogAtSendEnd, result.Value(r.Sent)
	if s.Sequential {
		return []string{fmt.Sprintf("All %s were in the %s before the first was received: the producer "+
			"needed no consumer, and had finished when the consumer began.", messages(backlog), p.noun)}
	}
	text := "When the last message was sent, " + p.backlog
	if result.Value(r.Received)+result.Value(r.Expired) < sent*uint64(p.readers) {
		return []string{text + "; the run ended before all were received."}
	}
	consumers, were := "consumer", "was"
	if s.Consumers > 1 {
		consumers, were = "consumers", "were"
	}
	later := max(0, result.Value(r.TotalSeconds)-*r.SendSeconds)
	text += fmt.Sprintf(", and the %s %s done %s later.", consumers, were, duration(later))
	if backlog*100 < sent {
		return []string{text + fmt.Sprintf(" Both sides worked at the same time and at the same pace; with --sequential the %s holds everything.", p.noun)}
	}
	return []string{text + fmt.Sprintf(" The %s held what the %s had not received yet, and the producer did not wait for it.", p.noun, consumers)}
}

func scalability(r *result.Run, p *place) []string {
	s := &r.Settings
	moved := result.Value(r.Unique) / uint64(p.readers)
	consumers := plural(uint64(s.Consumers), "consumer")
	if p.readers > 1 && s.Copies == 0 {
		consumers += ", each reading all of them,"
	}
	text := fmt.Sprintf("%s and %s moved %s through %s", plural(uint64(s.Publishers), "publisher"), consumers, messages(moved), p.through)
	if total := result.Value(r.TotalSeconds); total > 0 {
		text += fmt.Sprintf(" in %s: %s a second from end to end", duration(total), whole(float64(moved)/total))
	}
	lines := []string{
		text + ".",
		"Processor time: thump " + processor(r.ClientCPUSeconds, r) + ", RabbitMQ " + processor(r.BrokerCPUSeconds, r) + ".",
	}
	if r.ClientRSSPeakBytes != nil {
		lines = append(lines, fmt.Sprintf("thump's peak memory: %.0f"+unit+"MB.", float64(*r.ClientRSSPeakBytes)/1e6))
	}
	if _, text := Limited(r); text != "" {
		lines = append(lines, text)
	}
	return append(lines, "This run did not try "+p.more+".")
}

// processor says how much CPU time one side took, how many cores that kept busy, and
// how much it is per message.
func processor(seconds *float64, r *result.Run) string {
	if seconds == nil {
		return "not known"
	}
	text := duration(*seconds)
	var more []string
	// The start of the process is part of its time. With few messages it is nearly
	// all of it.
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

func reliability(r *result.Run, p *place) []string {
	basis, expected := "confirmed", r.Confirmed
	if !r.Settings.Confirms {
		basis, expected = "sent", r.Sent
	}
	sent := messages(result.Value(expected)) + " " + basis + ","
	if p.readers > 1 {
		sent += " " + p.each + ","
	}
	order := known(r.Reordered) + " " + p.order
	if r.Reordered == nil && r.Settings.Priorities != "" {
		order = "their order not checked, because of the priorities"
	}
	back := known(r.Unique) + " came back"
	if n := result.Value(r.Expired); n > 0 {
		back += " and " + whole(float64(n)) + " expired"
	}
	lines := []string{fmt.Sprintf("Of %s %s, each body checked: %s lost, %s duplicated, %s corrupted, %s unexpected, %s.",
		sent, back, known(r.Lost), known(r.Duplicated), known(r.Corrupted), known(r.Unexpected), order)}
	if survived := Survived(r); survived != "" {
		lines = append(lines, strings.ToUpper(survived[:1])+survived[1:]+".")
	}
	if r.Lost == nil {
		lines = append(lines, "The run ended before it could tell lost messages from those "+p.notTold+".")
	}
	if len(r.LostMessages) > 0 {
		lines = append(lines, "Lost: "+strings.Join(r.LostMessages, ", ")+".")
	}
	if left := result.Value(r.LeftInQueue); left > 0 {
		lines = append(lines, were(left)+" left in the queue.")
	}
	return append(lines, Guarantee(r)...)
}
