package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/thumpmq/thump/cmd/thump/internal/result"
)

// work is what consumers do with a message besides acking it, for the settings; nothing where
// that is all.
func work(s *result.Settings) []string {
	var words []string
	if s.Work != "" {
		words = append(words, "each message takes "+s.Work)
	}
	if s.ConsumeRate > 0 {
		words = append(words, fmt.Sprintf("%s messages a second at most", Rate(s.ConsumeRate)))
	}
	if s.RequeueShare > 0 {
		words = append(words, fmt.Sprintf("%g %% requeued", s.RequeueShare*100))
	}
	if s.RejectShare > 0 {
		words = append(words, fmt.Sprintf("%g %% rejected", s.RejectShare*100))
	}
	return words
}

// polling says how consumers ask for messages, for the settings.
func polling(s *result.Settings) string {
	return fmt.Sprintf("polling, again after %v where the queue was empty", time.Duration(s.PollIntervalSeconds*float64(time.Second)))
}

// polled says how often consumers asked for a message, and how often in vain; "" where they did not poll.
func polled(r *result.Run) string {
	gets := result.Value(r.Gets)
	if gets == 0 {
		return ""
	}
	asked := fmt.Sprintf("The consumers asked %s times for a message (--poll)", whole(float64(gets)))
	if r.Settings.Consumers == 1 {
		asked = strings.Replace(asked, "consumers", "consumer", 1)
	}
	empty := result.Value(r.EmptyGets)
	if empty == 0 {
		return asked + ", and the queue was never empty."
	}
	return asked + fmt.Sprintf(", and %s of these came back empty (%s).", whole(float64(empty)), percent(empty, gets))
}

// GivenBack says how often consumers asked, how many messages expired, and how many deliveries consumers
// gave back or rejected, as was asked for.
func GivenBack(r *result.Run) []string {
	var lines []string
	if text := polled(r); text != "" {
		lines = append(lines, text)
	}
	if n := result.Value(r.Expired); n > 0 {
		lines = append(lines, fmt.Sprintf("%s expired in the queue before a consumer had them, as --ttl asks, and came to another queue.", messages(n)))
	}
	if n := result.Value(r.Requeued); n > 0 {
		text := " given back to the queue before, as --requeue asks, and came again."
		if r.Command == "receive" { // which may have ended before
			text = " given back to the queue, as --requeue asks."
		}
		lines = append(lines, were(n)+text)
	}
	if n := result.Value(r.Dropped); n > 0 {
		lines = append(lines, were(n)+" rejected after that, as --reject asks.")
	}
	return lines
}
