package report

import (
	"fmt"
	"strings"

	"github.com/thumpmq/thump/internal/result"
)

// Settings returns the effective settings of a command, for the start of its
// output. It needs the record's Command, Settings and Broker only.
func Settings(r *result.Result) string {
	s := r.Settings
	var b strings.Builder
	fmt.Fprintf(&b, "thump %s\n", r.Command)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-11s %s\n", name, fmt.Sprintf(format, args...))
	}
	broker := strings.TrimSpace(r.Broker.Product + " " + r.Broker.Version)
	if r.Broker.Private {
		broker += ", private,"
	}
	row("broker", "%s at %s", broker, s.URL)
	row(rowName(&s), "%s", strings.Join(placeWords(&s), ", "))
	if r.Command != "receive" {
		bodies := fmt.Sprintf(`"Message 1" to "Message %d"`, s.Count)
		if s.Body != "tutorial" {
			bodies = s.Body + " each"
		}
		row("messages", "%s, %s", whole(float64(s.Count)), bodies)
		row("publishers", "%d, %s", s.Publishers, strings.Join(publisherWords(&s), ", "))
	} else if s.Count > 0 {
		row("messages", "%s at most", whole(float64(s.Count)))
	}
	if r.Command != "send" {
		row("consumers", "%d, %s", s.Consumers, strings.Join(consumerWords(r), ", "))
	}
	if r.Command == "run" {
		order := "sending and receiving at once"
		if s.Sequential {
			order = "all sent before the first is received"
		}
		row("order", "%s", order)
	}
	if s.DiskBytes != nil {
		row("disk", "%s", spaces(diskWords(&s)))
	}
	return b.String()
}

// spaces makes spaces of the places where a line must not be broken.
func spaces(text string) string { return strings.ReplaceAll(text, unit, " ") }

func rowName(s *result.Settings) string {
	if s.Streams() {
		return "stream"
	}
	return "queue"
}

func placeWords(s *result.Settings) []string {
	words := []string{s.Queue}
	switch {
	case s.Kind == "super-stream":
		words = append(words, fmt.Sprintf("a super stream of %s", plural(uint64(s.Partitions), "partition")))
	case s.Kind == "":
		return append(words, "as it is")
	case !s.Streams():
		words = append(words, s.Kind)
	}
	if s.StreamMaxBytes > 0 {
		words = append(words, "keeps "+spaces(size(s.StreamMaxBytes)))
	}
	if s.Durable != nil && *s.Durable {
		words = append(words, "durable")
	} else if s.Durable != nil {
		words = append(words, "transient")
	}
	return words
}

func publisherWords(s *result.Settings) []string {
	if !s.Streams() {
		if !s.Confirms {
			return []string{"confirms off"}
		}
		return []string{"confirms on", "window " + whole(float64(s.Window))}
	}
	words := []string{"an entry per message"}
	if s.SubEntry != 1 {
		words = []string{fmt.Sprintf("sub-entry batches of up to %s", whole(float64(s.SubEntry)))}
	}
	if s.Compression != "none" {
		words = append(words, s.Compression+" (not for AMQP readers)")
	}
	if s.PublisherName != "" {
		words = append(words, fmt.Sprintf("named %q", s.PublisherName))
	}
	return append(words, "window "+whole(float64(s.Window)))
}

func consumerWords(r *result.Result) []string {
	s := &r.Settings
	if !s.Streams() {
		if s.AutoAck {
			return []string{"automatic acks"}
		}
		return []string{"acks after receipt", "prefetch " + whole(float64(s.Prefetch))}
	}
	words := []string{"reading everything"}
	if s.Consumers > 1 {
		words = []string{"each reading everything"}
	}
	if r.Command == "receive" {
		words = append(words, "from "+s.Offset)
	}
	if s.Until != "" {
		words = append(words, "until "+s.Until)
	}
	if s.ConsumerName != "" {
		words = append(words, fmt.Sprintf("named %q", s.ConsumerName))
	}
	return words
}

// diskWords say what the stream will take on the broker's disk.
func diskWords(s *result.Settings) string {
	text := "about " + size(*s.DiskBytes)
	if s.Compression != "none" {
		text = "at most " + size(*s.DiskBytes)
	}
	if s.DiskFreeBytes != nil {
		return text + " of the broker's " + size(*s.DiskFreeBytes) + " that are free"
	}
	return text + " on the broker's disk; how much is free there is not known"
}
