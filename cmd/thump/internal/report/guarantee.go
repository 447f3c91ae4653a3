package report

import (
	"fmt"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
	"github.com/thumpmq/thump/internal/version"
)

// Guarantee says what a confirm and an ack of this run are worth: which failures the
// messages survive. A rate means little without it.
//
// What confirms are worth was measured by tracing the brokers' system calls: quorum
// queues fsync before they confirm; classic queues did so until 3.12 and no longer
// do; streams never do.
func Guarantee(r *result.Run) []string {
	r = shown(r)
	p := placeOf(r)
	name := p.name
	if r.Broker.Version != "" {
		name += " on RabbitMQ " + r.Broker.Version
	}
	confirm := fmt.Sprintf("A confirm from this %s means that %s", name, p.confirm)
	if !r.Settings.Confirms {
		confirm = fmt.Sprintf("Without confirms RabbitMQ promises nothing. What came back from this %s was counted; none of it was guaranteed.", name)
	}
	lines := []string{confirm}
	if r.Settings.AutoAck {
		lines = append(lines, "With automatic acks RabbitMQ drops a message as soon as it is sent to the consumer: if the consumer had died, the messages on their way to it would have been lost.")
	}
	return lines
}

// queueConfirm is what a confirm from the queue says, and what a confirmed message
// survives, in two words.
func queueConfirm(r *result.Run) (says, survives string) {
	s := &r.Settings
	durable := s.Durable == nil || *s.Durable
	switch {
	case !s.Confirms:
		return "", "not known"
	case s.Kind == result.Quorum:
		return "a majority of the queue's replicas had written the message to disk and fsynced it: it survives a crash and a power failure.", "power failure"
	case !durable:
		return "the queue has the message in memory: it does not survive a restart of the broker.", "no restart"
	case s.Kind == result.Classic && version.Before(r.Broker.Version, 3, 13):
		return "a consumer had acked the message already, or that the queue's one node had written it to disk and fsynced it (without fsync if the queue is of version 2): it survives a crash of the broker.", "broker crash"
	case s.Kind == result.Classic:
		return "a consumer had acked the message already, or that the queue's one node had handed it to the operating system, without fsync: it survives a crash of the broker, but perhaps not a power failure.", "broker crash"
	default:
		return "the queue has taken the message. What the message survives depends on the queue, which existed before the run.", "not known"
	}
}

func streamConfirm() (says, survives string) {
	return "a majority of the stream's replicas had handed the message to their operating systems (it is in memory, in the page cache), without fsync: it survives a crash of the broker, but perhaps not a power failure of a majority at once. Reading removes nothing: the stream keeps the message for as long as its retention says.", "broker crash"
}
