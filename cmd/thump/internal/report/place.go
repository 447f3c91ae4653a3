package report

import (
	"fmt"
	"strings"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// place is what the report calls the queue, stream or super stream of a run, and
// whatever it says differently about one of them. Only placeOf asks which it is.
type place struct {
	noun    string // "queue", "stream", "super stream"
	name    string // with the kind, if it is known: "classic queue"
	through string // "one queue", "a super stream of 3 partitions"
	more    string // what there could have been more of: "more queues or more nodes"

	// The settings: the title of the place's row, and what follows its name, the
	// number of publishers and that of consumers.
	row                         string
	kind, publishing, consuming []string

	readers  int    // how often each message is received
	by       string // " by 3 consumers", where that is more than once
	each     string // "each for 3 consumers"
	received string // what was done with the messages: "received, checked and acked"
	backlog  string // what was still to be received when the last message was sent
	order    string // "out of order"
	notTold  string // what lost messages could not be told from
	confirm  string // what a confirm says
	survives string // what a confirmed message survives, in two words
}

func placeOf(r *result.Run) place {
	switch r.Settings.Kind {
	case result.Stream:
		return streamOf(r)
	case result.SuperStream:
		return superStreamOf(r)
	case result.Exchange:
		p := queueOf(r)
		p.row, p.kind = "exchange", withKeys(&r.Settings)
		return p
	default:
		return queueOf(r)
	}
}

func queueOf(r *result.Run) place {
	s := &r.Settings
	p := place{
		noun: "queue", name: strings.TrimSpace(string(s.Kind) + " queue"),
		through: "one queue", more: "more queues or more nodes",
		row: "queue", kind: []string{string(s.Kind)},
		publishing: []string{"confirms on", "window " + whole(float64(s.Window))},
		consuming:  []string{"acks after receipt", "prefetch " + whole(float64(s.Prefetch))},
		readers:    1, received: "received, checked and acked",
		backlog: fmt.Sprintf("%s waiting in the queue (%s)", were(result.Value(r.BacklogAtSendEnd)), backlogShare(r)),
		order:   "out of order",
		notTold: "that are still in the queue",
	}
	several(&p, s)
	switch {
	case s.Kind == result.UnknownKind:
		p.kind[len(p.kind)-1] = "as it is"
	case s.Durable == nil:
	case *s.Durable:
		p.kind = append(p.kind, "durable")
	default:
		p.kind = append(p.kind, "transient")
	}
	if !s.Confirms {
		p.publishing = []string{"confirms off"}
	}
	if s.AutoAck {
		p.consuming, p.received = []string{"automatic acks"}, "received and checked, with automatic acks,"
	}
	if s.Poll {
		p.consuming = append(p.consuming[:1:1], polling(s))
	}
	p.confirm, p.survives = queueConfirm(r)
	if s.Exchange != "" {
		p.kind = append(p.kind, throughExchange(s))
	}
	return p
}

// several says what is different of several queues, and of copies.
func several(p *place, s *result.Settings) {
	if s.Queues > 1 {
		p.row, p.through = "queues", fmt.Sprintf("%d queues", s.Queues)
		p.kind = append([]string{fmt.Sprintf("%d of them", s.Queues)}, p.kind...)
		p.order, p.notTold = "out of order (within a queue)", "that are still in the queues"
		p.backlog = strings.Replace(p.backlog, "in the queue", "in the queues", 1)
	}
	if s.Copies > 1 {
		p.readers = s.Copies
		p.by, p.each = fmt.Sprintf(" in %d copies of each", s.Copies), fmt.Sprintf("each in %d copies", s.Copies)
		p.backlog = strings.Replace(p.backlog, ")", " on average)", 1)
	}
}

// withKeys says which routing keys send's messages have; nothing where it was not told several.
func withKeys(s *result.Settings) []string {
	if s.RoutingKeys == "" {
		return nil
	}
	return []string{"routing keys " + s.RoutingKeys}
}

// throughExchange says through which exchange, and with which keys.
func throughExchange(s *result.Settings) string {
	text := fmt.Sprintf("through the %s exchange %s", s.ExchangeType, s.Exchange)
	if s.RoutingKeys != "" {
		text += " with the routing keys " + s.RoutingKeys
	}
	if s.ExchangeExisted {
		text += ", which was there before: other queues that are bound to it get the messages, too"
	}
	return text
}

func streamOf(r *result.Run) place {
	s := &r.Settings
	p := place{
		noun: "stream", name: "stream", through: "one stream", more: "more streams or more nodes", row: "stream",
		publishing: []string{batches(s)},
		consuming:  []string{"reading everything"},
		readers:    max(1, s.Consumers), received: "received and checked",
		backlog: fmt.Sprintf("the consumer still had %s to read (%s)", messages(result.Value(r.BacklogAtSendEnd)), backlogShare(r)),
		order:   "out of order",
		notTold: "that it had not read yet",
	}
	if s.StreamMaxBytes > 0 {
		p.kind = []string{"keeps " + spaces(size(s.StreamMaxBytes))}
	}
	if s.Compression != "none" {
		p.publishing = append(p.publishing, s.Compression+" (not for AMQP readers)")
	}
	if s.PublisherName != "" {
		p.publishing = append(p.publishing, fmt.Sprintf("named %q", s.PublisherName))
	}
	p.publishing = append(p.publishing, "window "+whole(float64(s.Window)))
	if p.readers > 1 {
		p.consuming = []string{"each reading everything"}
		p.by, p.each = fmt.Sprintf(" by %d consumers", p.readers), fmt.Sprintf("each for %d consumers", p.readers)
		p.received = fmt.Sprintf("received and checked, by %d consumers that each read all messages,", p.readers)
		p.backlog = fmt.Sprintf("the consumers still had %s to read (%s on average)", messages(result.Value(r.BacklogAtSendEnd)), backlogShare(r))
	}
	if s.Offset != "" {
		p.consuming = append(p.consuming, "from "+s.Offset)
	}
	if s.Until != "" {
		p.consuming = append(p.consuming, "until "+s.Until)
	}
	if s.ConsumerName != "" {
		p.consuming = append(p.consuming, fmt.Sprintf("named %q", s.ConsumerName))
	}
	p.confirm, p.survives = streamConfirm()
	return p
}

func superStreamOf(r *result.Run) place {
	partitions := fmt.Sprintf("a super stream of %s", plural(uint64(r.Settings.Partitions), "partition"))
	p := streamOf(r)
	p.noun, p.name, p.through, p.more = "super stream", "super stream", partitions, "more nodes"
	p.kind = append(append([]string{partitions}, p.kind...), withKeys(&r.Settings)...)
	p.order += " (within a partition)"
	return p
}

// batches says how messages share entries.
func batches(s *result.Settings) string {
	if s.SubEntry == 1 {
		return "an entry per message"
	}
	return fmt.Sprintf("sub-entry batches of up to %s", whole(float64(s.SubEntry)))
}

// backlogShare is the backlog as a part of all that was sent.
func backlogShare(r *result.Run) string {
	return percent(result.Value(r.BacklogAtSendEnd), result.Value(r.Sent))
}

// PlaceName is what a run went through: "classic queue".
func PlaceName(r *result.Run) string { return placeOf(shown(r)).name }
