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
	row("queue", "%s", strings.Join(queueWords(s), ", "))
	if r.Command != "receive" {
		bodies := fmt.Sprintf(`"Message 1" to "Message %d"`, s.Count)
		if s.Body != "tutorial" {
			bodies = s.Body + " each"
		}
		row("messages", "%s, %s", whole(float64(s.Count)), bodies)
		confirms := fmt.Sprintf("confirms on, window %s", whole(float64(s.Window)))
		if !s.Confirms {
			confirms = "confirms off"
		}
		row("publishers", "%d, %s", s.Publishers, confirms)
	} else if s.Count > 0 {
		row("messages", "%s at most", whole(float64(s.Count)))
	}
	if r.Command != "send" {
		acks := fmt.Sprintf("acks after receipt, prefetch %s", whole(float64(s.Prefetch)))
		if s.AutoAck {
			acks = "automatic acks"
		}
		row("consumers", "%d, %s", s.Consumers, acks)
	}
	if r.Command == "run" {
		order := "sending and receiving at once"
		if s.Sequential {
			order = "all sent before the first is received"
		}
		row("order", "%s", order)
	}
	return b.String()
}

func queueWords(s result.Settings) []string {
	words := []string{s.Queue}
	if s.Kind == "" {
		return append(words, "as it is")
	}
	words = append(words, s.Kind)
	if s.Durable != nil && *s.Durable {
		words = append(words, "durable")
	} else if s.Durable != nil {
		words = append(words, "transient")
	}
	return words
}
