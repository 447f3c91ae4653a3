package report

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/thumpmq/thump/internal/result"
)

// Guarantee says what a confirm and an ack of this run are worth: which
// failures the messages survive. A rate means little without it.
//
// What confirms are worth was measured by tracing the brokers' system calls:
// quorum queues fsync before they confirm; classic queues did until 3.12, and
// have not since; streams never do.
func Guarantee(r *result.Result) []string {
	lines := []string{confirmGuarantee(r)}
	if r.Settings.AutoAck {
		lines = append(lines, "With automatic acks RabbitMQ forgets a message as it leaves for the consumer: had the consumer died, what was on its way would have been gone.")
	}
	return lines
}

// survives is what a message that was confirmed in this run survives, in two
// words.
func survives(r *result.Result) string {
	s := &r.Settings
	switch {
	case !s.Confirms || s.Kind == "":
		return "not known"
	case s.Kind == "quorum":
		return "power failure"
	case s.Durable != nil && !*s.Durable:
		return "no restart"
	default:
		return "broker crash"
	}
}

func confirmGuarantee(r *result.Result) string {
	s := r.Settings
	queue := strings.TrimSpace(s.Kind + " queue")
	if s.Streams() {
		queue = place(&s)
	}
	if r.Broker.Version != "" {
		queue += " on RabbitMQ " + r.Broker.Version
	}
	if !s.Confirms {
		return fmt.Sprintf("Without confirms nothing was promised: that all came back from this %s is what was counted, not what RabbitMQ answered for.", queue)
	}
	confirm := fmt.Sprintf("A confirm from this %s means that ", queue)
	switch {
	case s.Streams():
		return confirm + "a majority of the stream's replicas had handed the message to their operating systems (it is in memory, in the page cache), without fsync: it survives a crash of the broker, and perhaps not a power failure of a majority at once. Reading takes nothing away: the stream keeps the message as long as its retention says."
	case s.Kind == "quorum":
		return confirm + "a majority of the queue's replicas had written the message to disk and fsynced it: it survives a crash and a power failure."
	case s.Durable != nil && !*s.Durable:
		return confirm + "the queue has the message in memory: it does not survive a restart of the broker."
	case s.Kind == "classic" && before(r.Broker.Version, 3, 13):
		return confirm + "a consumer had acked the message already, or that the queue's one node had written it to disk and fsynced it (not fsynced if the queue is of version 2): it survives a crash of the broker."
	case s.Kind == "classic":
		return confirm + "a consumer had acked the message already, or that the queue's one node had handed it to the operating system, without fsync: it survives a crash of the broker, and perhaps not a power failure."
	default:
		return confirm + "the queue has taken the message. What it survives depends on the queue, which was there before."
	}
}

// before says whether version is known and lower than major.minor.
func before(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(second)
	if errA != nil || errB != nil {
		return false
	}
	return a < major || a == major && b < minor
}
